"""Whether a printed number can be another draw of what our seeds gave."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from saltation.studies.notebook.parts import Printed

INSIDE, OUTSIDE = "inside", "OUTSIDE"
_LEVEL = 0.95
_FEWEST = 3  # of two the interval is wider than any answer


def interval(ours: Sequence[float], draws: int) -> tuple[float, float]:
    """Where ``draws`` further draws all lie with 95 % probability, of normal ones.

    The prediction interval of Student's t, with Bonferroni's correction for several draws.

    Parameters
    ----------
    ours
        Two or more draws.
    draws
        How many further ones.
    """
    mean, deviation = statistics.fmean(ours), statistics.stdev(ours)
    n = len(ours)
    from scipy.stats import t  # the import takes long

    factor = float(t.ppf(1 - (1 - _LEVEL) / 2 / draws, n - 1))
    reach = factor * deviation * math.sqrt(1 + 1 / n)
    return mean - reach, mean + reach


def verdict(ours: Sequence[float], printed: Printed | None) -> str:
    """``inside`` or ``OUTSIDE`` of the noise of our seeds, or why neither can be said.

    Numbers that round to the printed ones are inside.
    """
    if printed is None:
        return "not printed"
    if len(ours) < _FEWEST:
        return f"fewer than {_FEWEST} seeds: no verdict"
    low, high = interval(ours, printed.draws)
    rounding = printed.digit / 2
    within = low - rounding <= printed.low and printed.high <= high + rounding
    return INSIDE if within else OUTSIDE
