"""What the exact solution of a neuron does up to its next spike, and when that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Unsolved(Exception):
    """The solution cannot be followed; the message goes on from "LIF neuron 0 in step 0"."""


TOUCHES = Unsolved(
    "touches its threshold without a clear crossing: whether that is a spike is lost in rounding, "
    "and a spike of no velocity has no derivative"
)
ENDLESS = Unsolved("spikes without end: the jump leaves it at or above its threshold")


def at_end(gap: float, speed: float, time: float, tolerance: float) -> bool:
    """Whether a potential that rises to ``gap`` above the threshold (below 0: under it) at the end
    of ``time`` spikes there or before.

    Within the ``tolerance`` of the solution it does if it arrives with some speed, so that the
    spike is at the end as nearly as can be told. One that creeps towards a threshold that it never
    reaches has none.
    """
    if abs(gap) > tolerance:
        return gap > 0
    return speed * time > 1e6 * tolerance


def check_finite(values: Sequence[float] | Vector) -> None:
    """Refuse to go on from what is not finite."""
    if not np.isfinite(values).all():
        raise Unsolved("has a solution that is not finite")


def below(v: float, threshold: float) -> float:
    """``v`` without what rounding put at or above the threshold."""
    return min(v, float(np.nextafter(threshold, -np.inf)))
