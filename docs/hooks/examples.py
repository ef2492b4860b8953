"""Examples that stand in the text of a docstring, as code: Markdown would make quotes of them."""

from __future__ import annotations

import re
from typing import Any

import griffe

_LINES = re.compile(r"(?:^>>>.*\n?(?:^(?!\s*$).*\n?)*)+", re.MULTILINE)


class Examples(griffe.Extension):
    """Put every stretch of lines that begins with ``>>>`` into a block of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of everything that has a docstring."""
        if obj.docstring:
            obj.docstring.value = as_code(obj.docstring.value)


def as_code(text: str) -> str:
    """The text of a docstring with its examples fenced, outside of sections of their own."""
    if "Examples\n---" in text:
        return text
    return _LINES.sub(lambda found: f"```pycon\n{_plain(found[0])}\n```\n", text)


def _plain(lines: str) -> str:
    return re.sub(r" *# doctest:.*", "", lines.rstrip("\n"))
