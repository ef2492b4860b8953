"""Figures that a notebook shows."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Drawing(Figure):
    """A figure that is shown at the end of a cell, whether or not pyplot was imported.

    Notebooks learn to show matplotlib's own figures only when pyplot is.
    """

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()
