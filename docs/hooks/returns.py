"""What a function returns, where its docstring says so in a sentence and names no type.

A parser of numpydoc takes the sentence, line by line, for types, which are set as code.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Returns|Yields)\n-{3,}\n((?:.+\n?)+)", re.MULTILINE)
_TYPE = re.compile(r"[\w.]+")


class Returns(griffe.Extension):
    """Make such a sentence the description of the type that the function is annotated with."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of everything that has a docstring."""
        if obj.docstring:
            obj.docstring.value = as_description(obj.docstring.value)


def as_description(text: str) -> str:
    """The text of a docstring with sentences as descriptions; types, alone or described, stay."""
    return _SECTION.sub(_described, text)


def _described(found: re.Match[str]) -> str:
    lines = found[2].splitlines()
    if any(line.startswith(" ") for line in lines) or _TYPE.fullmatch(found[2].strip()):
        return found[0]
    sentence = "".join(f"    {line}\n" for line in lines)
    return f"{found[1]}\n-------\n:\n{sentence}"
