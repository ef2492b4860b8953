"""The progress of a study in a notebook: one display, which is written over."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from saltation import inline

_PAUSE = 0.2  # seconds between two pictures of it
_KEPT = 12  # lines below the bar


class CellProgress:
    """A bar and the last lines of a study, in the output of the cell that runs it.

    It stands in for a console that can only print.
    """

    def __init__(self) -> None:
        # It is there, because a notebook runs us; it has no types.
        display: Any = import_module("IPython.display").display
        self._lines: list[str] = []
        self._dropped = 0
        self._share, self._words = 0.0, ""
        self._drawn = time.monotonic()
        shown: Any = display
        self._handle = shown(self, display_id=True)

    def print(self, line: str, **_: Any) -> None:
        """Add a line."""
        self._lines.append(line)
        if len(self._lines) > _KEPT:
            self._dropped += 1
            del self._lines[0]
        self._draw()

    def draw(self, share: float, words: str) -> None:
        """Move the bar, at most some times in a second."""
        self._share, self._words = share, words
        if time.monotonic() - self._drawn > _PAUSE:
            self._draw()

    def end(self) -> None:
        """Leave the lines, without the bar."""
        self._words = ""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._handle.update(self)

    def _repr_html_(self) -> str:
        # To three digits: a bar needs no more.
        bar = f'<progress value="{self._share:.3f}" style="width: 20em"></progress>'
        return (bar + inline.text(self._words) if self._words else "") + inline.text(str(self))

    def __repr__(self) -> str:
        more = [f"... {self._dropped} lines before"] if self._dropped else []
        return "\n".join([*more, *self._lines])


def in_notebook() -> bool:
    """Whether this process computes the cells of a notebook."""
    # Whoever has not imported it is not run by it.
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    return shell is not None and hasattr(shell, "kernel")
