"""Means over seeds with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over seeds with Student's interval of 95 %.

    ``mean ± t(n - 1) s / √n``, s being the standard deviation of the n values. (Student, "The
    probable error of a mean", Biometrika 6, 1908.) From one value ``half`` is NaN.

    Attributes
    ----------
    mean
        NaN where there is no value.
    half
        Half the width.
    n
        Number of values.
    """

    mean: float
    half: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Interval:
        """The interval of some values."""
        x = np.array(list(values), dtype=float)
        if len(x) < 2:
            return cls(float(x[0]) if len(x) else math.nan, math.nan, len(x))
        from scipy.stats import t  # the import takes long

        quantile = float(t.ppf((1 + LEVEL) / 2, len(x) - 1))
        return cls(float(x.mean()), quantile * float(x.std(ddof=1)) / math.sqrt(len(x)), len(x))

    @property
    def sign(self) -> int:
        """1 or -1 if all of the interval lies above or below 0; 0 if it does not, or is not known.

        Values that are all the same have an interval of no width, which says so too.
        """
        if math.isnan(self.half) or abs(self.mean) <= self.half:
            return 0
        return 1 if self.mean > 0 else -1

    def __str__(self) -> str:
        if self.n == 0:
            return "none"
        return f"{self.mean:+.1f}" + ("" if math.isnan(self.half) else f" ± {self.half:.1f}")
