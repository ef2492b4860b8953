"""Parameters that a docstring describes together, each with its own type and default.

A parser of numpydoc gives all of a group the type and the default of the first, and of
``a, b : float, default 1, 2`` it takes ``1, 2`` for the default of each.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^Parameters\n-{3,}\n.*?(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)
# Names, what stands behind them, and the description, which is indented.
_GROUP = re.compile(
    r"^(\*{0,2}\w+(?:, \*{0,2}\w+)+)( : .+)?\n((?:[ \t]+\S.*\n?|\n)*)", re.MULTILINE
)
_DEFAULTS = re.compile(r"(.+, default )(.+)")


class Groups(griffe.Extension):
    """Make an entry of its own for each."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of everything that has a docstring."""
        if obj.docstring:
            obj.docstring.value = apart(obj.docstring.value)


def apart(text: str) -> str:
    """The text of a docstring with every parameter described by itself."""
    return _SECTION.sub(lambda found: _GROUP.sub(_entries, found[0]), text)


def _entries(found: re.Match[str]) -> str:
    names = found[1].split(", ")
    kinds = _kinds(found[2] or "", len(names))
    description = found[3] if found[3].endswith("\n") else found[3] + "\n"
    return "".join(f"{name}{kind}\n{description}" for name, kind in zip(names, kinds, strict=True))


def _kinds(kind: str, names: int) -> list[str]:
    """What stands behind each: the type, and its own of as many defaults as there are names."""
    told = _DEFAULTS.fullmatch(kind)
    defaults = re.split(r", | and ", told[2]) if told else []
    if told and len(defaults) == names:
        return [told[1] + default for default in defaults]
    return [kind] * names
