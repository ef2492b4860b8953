"""Integration with error control up to where the potential reaches its threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from saltation.reference.passage import TOUCHES, Unsolved, Vector, at_end, check_finite

# Within each step of the solver the potential is looked at in so many places for a rise that ends.
_LOOKS = 8
# An explicit solver that has taken as many steps is held back by stability, not by accuracy.
_PATIENCE = 400
# Of the time: steps as short as that do not get on.
_SHORTEST = 16 * np.finfo(np.float64).eps
# A crossing found on a polynomial is put right by so many of Newton's steps at most, until one is
# no more than rounding of the time.
_NEWTON = 6
_ROUNDING = 4 * np.finfo(np.float64).eps

Curve = Callable[[Any], Vector]


class Watch(Protocol):
    """The potential less its threshold; states are ``[n]`` or ``[n, N]``."""

    tolerance: float  # of the gap, to which the solution is trusted

    def gap(self, states: Vector) -> Any:
        """How far above the threshold the potential is."""

    def speed(self, states: Vector) -> Any:
        """Its time derivative."""

    def turn(self, state: Vector) -> float:
        """Its second time derivative."""


class Arrival(NamedTuple):
    """Where an integration ended.

    Attributes
    ----------
    y, spent, spiked
        The solution there, the time it took, and whether it ends with a crossing.
    pieces
        The solver's steps: from, to, and the polynomial between.
    """

    y: Vector
    spent: float
    spiked: bool
    pieces: list[tuple[float, float, Curve]]


def integrate(
    rate: Callable[[float, Vector], Vector],
    y: Vector,
    time: float,
    watch: Watch | None,
    rtol: float,
    atol: Vector,
) -> Arrival:
    """Solve ``dy/dt = rate(t, y)`` for ``time``, or until the potential crosses from below.

    A maximum between two steps of the solver is searched for on its polynomial, so that a crossing
    shorter than a step is found too. Of a solution that an explicit solver (Dormand & Prince, of
    order 8) cannot follow because it is stiff, an implicit one takes over.
    """
    from scipy.integrate import DOP853, LSODA  # slow to import

    check_finite(rate(0.0, y))
    solver: Any = DOP853(rate, 0.0, y, time, rtol=rtol, atol=atol)
    pieces: list[tuple[float, float, Curve]] = []
    before = y
    while solver.status == "running":
        solver.step()
        if solver.status == "failed" or solver.t - solver.t_old < _SHORTEST * solver.t:
            raise Unsolved(f"has a solution that ends: it goes to infinity after {solver.t:g}")
        check_finite(solver.y)
        curve = solver.dense_output()
        pieces.append((float(solver.t_old), float(solver.t), curve))
        at = None if watch is None else _crossing(watch, curve, solver.t_old, solver.t)
        if at is not None and watch is not None:
            start, y = pieces.pop()[0], before
            last = _landed(rate, y, start, at, watch, rtol, atol)
            return Arrival(last.y, last.spent, True, [*pieces, *last.pieces])
        before = solver.y
        if len(pieces) == _PATIENCE and solver.status == "running":
            solver = LSODA(rate, solver.t, solver.y, time, rtol=rtol, atol=atol)
    spiked = watch is not None and at_end(
        float(watch.gap(solver.y)), float(watch.speed(solver.y)), time, watch.tolerance
    )
    return Arrival(solver.y, time, spiked, pieces)


def _landed(
    rate: Callable[[float, Vector], Vector],
    y: Vector,
    start: float,
    at: float,
    watch: Watch,
    rtol: float,
    atol: Vector,
) -> Arrival:
    """The step up to a crossing again, which ends there: on its way beyond the threshold a model's
    equations may be others, and its polynomial is less accurate than its end.
    """
    from scipy.integrate import DOP853

    for _ in range(_NEWTON):
        solver: Any = DOP853(rate, start, y, at, rtol=rtol, atol=atol)
        pieces: list[tuple[float, float, Curve]] = []
        while solver.status == "running":
            solver.step()
            pieces.append((float(solver.t_old), float(solver.t), solver.dense_output()))
        late = float(watch.gap(solver.y) / watch.speed(solver.y))
        if abs(late) <= _ROUNDING * at or not start < at - late:
            break
        at -= late
    return Arrival(solver.y, at, True, pieces)


def _crossing(watch: Watch, curve: Curve, start: float, end: float) -> float | None:
    """The first time at which v, below threshold at the start, crosses it; within one step."""
    from scipy.optimize import brentq

    def above(t: float) -> float:
        return float(watch.gap(curve(t)))

    def speed(t: float) -> float:
        return float(watch.speed(curve(t)))

    def root(function: Callable[[float], float], low: float, high: float) -> float:
        # At rest the signs are those of rounding, and may be others when looked at alone.
        if function(low) * function(high) >= 0:
            return high
        return float(brentq(function, low, high, xtol=1e-300, rtol=1e-15, maxiter=2000))

    times = np.linspace(start, end, _LOOKS + 1)
    states = curve(times)
    speeds = watch.speed(states)
    reached = watch.gap(states) >= 0
    peaks = (speeds[:-1] > 0) & (speeds[1:] < 0)
    for i in np.flatnonzero(reached[1:] | peaks):
        low, high = float(times[i]), float(times[i + 1])
        if not reached[i + 1]:
            high = root(speed, low, high)
            gap = above(high)
            if gap < -watch.tolerance:
                continue
            if gap <= watch.tolerance:
                raise TOUCHES
        at = root(above, low, high) if above(low) < 0 else low
        # How far above the threshold a peak would be that is crossed with this speed.
        if speed(at) ** 2 <= 2 * abs(watch.turn(curve(at))) * watch.tolerance:
            raise TOUCHES
        return at
    return None
