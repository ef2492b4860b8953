"""Whether the kernels of this machine agree with the reference: ``saltation selftest``.

Spikes, states and outputs must be equal to the bit, gradients within `TOLERANCE` in norm of float64
on the same spikes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from saltation.errors import StabilityWarning
from saltation.selftest import crew
from saltation.selftest.kernels import Check, checks
from saltation.selftest.row import TOLERANCE, Row

__all__ = ["TOLERANCE", "Row", "checks", "perform", "run", "table", "verdict"]


def perform(name: str, check: Check) -> Row:
    """The row of one check; an error in it is its problem."""
    row = Row(name)
    start = time.perf_counter()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", StabilityWarning)
        try:
            check(row)
        except Exception as error:  # whatever it is, the other checks must still be made
            row.problem = f"{type(error).__name__}: {error}"
    row.seconds = time.perf_counter() - start
    return row


def run() -> list[Row]:
    """Make every check, several at a time, showing on stderr which one is at work."""
    console = Console(stderr=True)
    everything = dict(checks())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    found: dict[str, Row] = {}
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=len(everything))
        for row in _rows(everything, lambda name: progress.update(task, description=name)):
            found[row.name] = row
            progress.advance(task)
            if not console.is_terminal:
                outcome = "ok" if row.ok else "FAIL"
                line = f"{len(found)}/{len(everything)} {row.name}: {outcome}, {row.seconds:.1f} s"
                console.print(line, highlight=False, soft_wrap=True, markup=False)
    return [found[name] for name in everything]


def _rows(everything: dict[str, Check], begun: Callable[[str], None]) -> Iterator[Row]:
    """The rows as they are done; ``begun`` is told of every check."""
    processes = min(torch.get_num_threads(), _MOST, len(everything) // _WORTH)
    if processes > 1:
        yield from crew.rows(_in_order(everything), _performed, processes, begun)
        return
    for name, check in everything.items():
        begun(name)
        yield perform(name, check)


# Processes, each of which takes half a GiB, and checks that one is worth.
_MOST, _WORTH = 4, 8


def _in_order(everything: dict[str, Check]) -> list[str]:
    """The names, of every kind of check one first: these compile different kernels, and processes
    that began with checks of one kind would all compile the same."""
    kinds: dict[Any, list[str]] = {}
    for name, check in everything.items():
        kinds.setdefault(getattr(check, "func", check), []).append(name)
    firsts = [names[0] for names in kinds.values()]
    return [*firsts, *(name for names in kinds.values() for name in names[1:])]


def _performed(name: str) -> Row:
    return perform(name, dict(checks())[name])


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal."""
    shown = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        caption="differ: numbers that must equal the reference's to the bit and do not; "
        "error: the largest of a gradient, relative to its norm",
        caption_justify="left",
    )
    shown.add_column("check", no_wrap=True)
    shown.add_column("ran", overflow="fold")
    for column in ("cases", "differ", "error", "s", ""):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.name,
            f"{row.ran} ({row.reason})" if row.reason else row.ran,
            str(row.cases),
            str(row.differ),
            f"{row.error:.0e}" if row.error else "0",
            f"{row.seconds:.1f}",
            "ok" if row.ok else "FAIL",
        )
    return shown


def verdict(rows: Sequence[Row], seconds: float) -> str:
    """The outcome after so long: a line for every check that could not be made, and a last line
    on all."""
    lines = [f"{row.name}: {row.problem}" for row in rows if row.problem]
    failed = [row.name for row in rows if not row.ok]
    size = f"{sum(row.cases for row in rows)} cases in {seconds:.0f} s"
    if failed:
        what = f"FAIL: {len(failed)} of {len(rows)} checks"
        return "\n".join([*lines, f"{what}: {', '.join(failed)} ({size})"])
    return f"ok: every kernel agrees with the reference ({size})"
