"""Whether the kernels of this machine agree with the reference: ``saltation selftest``.

Spikes, states and outputs must be equal to the bit, gradients within `TOLERANCE` in norm of float64
on the same spikes.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from saltation.errors import StabilityWarning
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
    """Make every check, showing on stderr which one is at work."""
    console = Console(stderr=True)
    everything = list(checks())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rows = []
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=len(everything))
        for number, (name, check) in enumerate(everything, 1):
            progress.update(task, description=name)
            rows.append(perform(name, check))
            progress.advance(task)
            if not console.is_terminal:
                outcome = "ok" if rows[-1].ok else "FAIL"
                line = f"{number}/{len(everything)} {name}: {outcome}, {rows[-1].seconds:.1f} s"
                console.print(line, highlight=False, soft_wrap=True, markup=False)
    return rows


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


def verdict(rows: Sequence[Row]) -> str:
    """The outcome: a line for every check that could not be made, and a last line on all."""
    lines = [f"{row.name}: {row.problem}" for row in rows if row.problem]
    failed = [row.name for row in rows if not row.ok]
    size = f"{sum(row.cases for row in rows)} cases in {sum(row.seconds for row in rows):.0f} s"
    if failed:
        what = f"FAIL: {len(failed)} of {len(rows)} checks"
        return "\n".join([*lines, f"{what}: {', '.join(failed)} ({size})"])
    return f"ok: every kernel agrees with the reference ({size})"
