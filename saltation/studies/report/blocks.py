"""What a study prints in the terminal, as paragraphs and tables of a page."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text


class Column(NamedTuple):
    """Head of a table's column, whether it is one of numbers, whether it stays in view when a wide
    table is moved, and whether its cells, such as paths, are broken where they do not fit."""

    head: str
    number: bool = False
    kept: bool = False
    broken: bool = False


class Grid(NamedTuple):
    """A table: its columns, and rows of cells as text."""

    columns: list[Column]
    rows: list[list[str]]


class Verbatim(str):
    """Lines whose breaks and spaces count."""


Block = str | Verbatim | Grid


def blocks(shown: RenderableType) -> Iterator[Block]:
    """Texts and tables in their order; what is neither becomes lines of text."""
    if isinstance(shown, Group):
        for part in shown.renderables:
            yield from blocks(part)
    elif isinstance(shown, Table):
        columns = [Column(_plain(c.header), c.justify == "right") for c in shown.columns]
        cells = ([_plain(cell) for cell in column.cells] for column in shown.columns)
        yield Grid(columns, [list(row) for row in zip(*cells, strict=True)])
    elif isinstance(shown, Text | str):
        yield _plain(shown)
    else:
        console = Console(file=io.StringIO(), width=100)
        with console.capture() as lines:
            console.print(shown)
        yield Verbatim(lines.get())


def _plain(shown: RenderableType) -> str:
    """The words of a cell."""
    if isinstance(shown, Text):
        return shown.plain
    return Text.from_markup(str(shown)).plain


def in_words(value: Any) -> str:
    """A setting or a result as people read it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value)) or "–"
    return str(value)
