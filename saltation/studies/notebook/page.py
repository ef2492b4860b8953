"""The one report of the notebook's parts, beside the numbers it printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from saltation.errors import StoreError
from saltation.studies.engine.config import CONFIG
from saltation.studies.notebook.cells import Result, grid_of, outside, result_of
from saltation.studies.notebook.parts import PRESETS
from saltation.studies.notebook.verdict import INSIDE, OUTSIDE
from saltation.studies.report import REPORT, Grid, write_page
from saltation.studies.report.figures import InlineFigure, inline

PAGE = "report.html"


class Section(NamedTuple):
    """A part of the notebook on the page."""

    title: str
    grid: Grid
    changed: list[str]
    missing: list[str]
    seconds: str
    figure: InlineFigure | None
    link: str


def results_in(folder: Path) -> list[Result]:
    """The parts of the notebook that are in a folder, in its order.

    Raises
    ------
    ConfigError, StoreError
        If one cannot be read.
    """
    return [
        result_of(part, folder / part.name)
        for part in PRESETS["notebook"]
        if (folder / part.name / CONFIG).is_file()
    ]


def in_a_line(results: list[Result]) -> str:
    """How many printed numbers our seeds meet, in a line."""
    counts = Counter(cell.verdict for result in results for cell in result.cells)
    seconds = sum(result.seconds for result in results)
    inside, out = counts[INSIDE], counts[OUTSIDE]
    return (
        f"{inside} of {inside + out} printed numbers are inside seed noise; training and tests "
        f"took {seconds:.0f} s, summed over trials"
    )


def write_notebook(folder: Path) -> Path | None:
    """Write ``report.html`` into the folder of the parts; nothing if none is there.

    Returns
    -------
    Its path.

    Raises
    ------
    StoreError
        If it cannot be written.
    ConfigError
        If a part's study cannot be read.
    """
    results = results_in(folder)
    if not results:
        return None
    try:
        return write_page(
            folder / PAGE,
            "notebook.html.j2",
            title="The notebook, run whole",
            summary=in_a_line(results),
            outside=[line for result in results for line in outside(result)],
            sections=[_section(result, folder, n) for n, result in enumerate(results)],
        )
    except OSError as error:
        raise StoreError(f"the report of {folder} was not written: {error}") from error


def _section(result: Result, folder: Path, number: int) -> Section:
    part = result.part
    drawn = folder / part.name / "figures" / "accuracy.svg"
    several = len(part.settings["dt"]) > 1 and drawn.is_file()
    return Section(
        part.title,
        grid_of(result),
        result.changed,
        result.missing,
        f"{result.seconds:.0f} s",
        inline(drawn, f"part{number}-") if several else None,
        f"{part.name}/{REPORT}",
    )
