"""Where the commands write."""

from __future__ import annotations

from rich.console import Console

console = Console()


def say(line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
