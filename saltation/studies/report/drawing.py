"""How figures look, and how they are written."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.schemes import SCHEMES
from saltation.studies.engine.rows import Record

# Colours of Okabe & Ito (2008), told apart with every kind of colour vision, and as many more as
# there are schemes beyond; with dashes and markers of their own, and dark enough, they are also
# told apart in grey.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f6000"),
    *("#332288", "#882255", "#004d40", "#3a3aff", "#999933"),
)
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (3, 1)),
    (0, (1, 3)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_MARKERS = "osD^vP*X"
_PDF: ContextVar[bool] = ContextVar("pdf", default=False)

DT = "time step dt (same unit as tau)"
"""Label of an axis of time steps."""

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "saltation",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 160,
}


def scheme_style(scheme: str) -> dict[str, Any]:
    """Colour, dash and marker of a scheme, the same in every figure."""
    return style_of(list(SCHEMES).index(scheme))


def style_of(place: int) -> dict[str, Any]:
    """Colour, dash and marker of what has this place among those that a figure compares."""
    # Where dashes begin anew, none comes with the marker that it came with before.
    again = place // len(_DASHES)
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": _DASHES[(place + 3 * again) % len(_DASHES)],
        "marker": _MARKERS[(place + again) % len(_MARKERS)],
        "markersize": 4.5,
        "linewidth": 1.6,
    }


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG, within `also_pdf` as PDF too."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = ("png", "svg", "pdf") if _PDF.get() else ("png", "svg")
    paths = [folder / f"{name}.{kind}" for kind in kinds]
    for path, dates in zip(paths, ({}, {"Date": None}, {"CreationDate": None}), strict=False):
        figure.savefig(path, metadata=dates)
    return paths


@contextlib.contextmanager
def also_pdf() -> Iterator[None]:
    """While it is open, figures that are saved become PDF files too."""
    before = _PDF.set(True)
    try:
        yield
    finally:
        _PDF.reset(before)


def note(figure: Figure, text: str) -> None:
    """What a figure shows, in small print over it, in lines as wide as it is."""
    letters = int(17 * figure.get_figwidth())
    figure.suptitle(textwrap.fill(text, letters), x=0.01, ha="left", fontsize=8, color="#555555")


def legend_below(figure: Figure, panels: Iterable[Axes], most: int = 3, **options: Any) -> None:
    """One legend for all panels, under them."""
    handles: dict[str, Any] = {}
    for axes in panels:
        handles |= {label: h for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        # Some 14 letters to an inch, and the line beside them is as wide as six.
        fit = int(14 * figure.get_figwidth() / (6 + max(map(len, handles))))
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=min(most, max(fit, 1), len(handles)),
            **options,
        )


def dt_axis(axes: Axes, values: Iterable[float]) -> None:
    """A logarithmic axis of time steps, with a tick at each that can be told from its neighbour."""
    axes.set_xscale("log")
    shown: list[float] = []
    low, high = axes.get_xlim()
    for value in sorted(values):
        if not shown or math.log(value / shown[-1]) > 0.06 * math.log(high / low):
            shown.append(value)
    axes.set_xticks(shown, [f"{value:.3g}" for value in shown])
    axes.minorticks_off()


def epochs_frame(records: list[Record]) -> pd.DataFrame:
    """One row per recorded epoch, with its trial's settings."""
    return pd.DataFrame(
        [
            {"trial": r["id"], "status": r["status"]} | r["settings"] | epoch
            for r in records
            for epoch in r["epochs"]
        ]
    )
