"""How figures look, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from saltation.schemes import SCHEMES

# Colours of Okabe & Ito (2008), told apart with every kind of colour vision; with dashes and
# markers of their own, and dark enough, they are also told apart in grey.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f6000")
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
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": _DASHES[place % len(_DASHES)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 4.5,
        "linewidth": 1.6,
    }


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    figure.savefig(paths[0])
    figure.savefig(paths[1], metadata={"Date": None})
    return paths


def epochs_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per recorded epoch, with its trial's settings."""
    return pd.DataFrame(
        [
            {"trial": r["id"], "status": r["status"]} | r["settings"] | epoch
            for r in records
            for epoch in r["epochs"]
        ]
    )
