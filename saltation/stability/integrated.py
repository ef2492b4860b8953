"""Neurons between spikes, integrated with error control: those that have no closed form.

Perturbations are carried as an orthonormal frame Q and the logarithms of their growth, the
continuous QR decomposition: with A the Jacobian and B = Q' A Q,

    dQ/dt = Q S,  S skew with the lower triangle of B;      d log R_ii / dt = B_ii,

so that nothing underflows, however much a stretch contracts. Source: Dieci, Russell & Van Vleck,
"On the computation of Lyapunov exponents for continuous dynamical systems", SIAM J. Numer. Anal.
34, 1997.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from saltation.neurons import Neuron
from saltation.stability.passage import (
    TOUCHES,
    Passage,
    Unsolved,
    Vector,
    at_end,
    below,
    check_finite,
)

# Derivatives of the neurons' polynomials from one complex step: exact to rounding, however small.
_STEP = 1e-30
_TOLERANCE = 1e-12
# What many steps of that tolerance make of it, and what the solution is trusted to.
_TRUST = 10 * _TOLERANCE
# Within each step of the solver the potential is looked at in so many places for a rise that ends.
_LOOKS = 8
# An explicit solver that has taken as many steps is held back by stability, not by accuracy.
_PATIENCE = 400


class Integrated:
    """The solution of any smooth ODE, with every crossing of the threshold from below.

    A maximum between two steps of the solver is searched for on its polynomial, so that a crossing
    shorter than a step is found too.

    Parameters
    ----------
    model
        Any neuron.
    """

    def __init__(self, model: Neuron) -> None:
        self._model = model
        self._threshold = float(model.v_threshold)
        self._variables = len(model.State._fields)
        self._scale = max(abs(self._threshold), abs(float(model.v_reset))) or 1.0

    def passage(self, u: Vector, frame: Vector, x: float, time: float) -> Passage:
        """From state ``u`` below threshold and orthonormal perturbations, with input ``x``."""
        from scipy.integrate import DOP853, LSODA  # slow to import

        n = self._variables
        below_diagonal = np.tri(n, k=-1)

        def rate(_: float, y: Vector) -> Vector:
            velocity, jacobian = self._linearised(y[:n], x)
            q = y[n:-n].reshape(n, n)
            along = q.T @ jacobian @ q
            lower = along * below_diagonal
            return np.concatenate([velocity, (q @ (lower - lower.T)).ravel(), along.diagonal()])

        y = np.concatenate([u, frame.ravel(), np.zeros(n)])
        check_finite(rate(0.0, y))
        size = np.ones(len(y))
        size[:n] = self._scale
        options: dict[str, Any] = {"rtol": _TOLERANCE, "atol": _TOLERANCE * size}
        solver = DOP853(rate, 0.0, y, time, **options)
        steps = 0
        while solver.status == "running":
            message = solver.step()
            if solver.status == "failed":
                raise Unsolved(f"has a solution that ends: {message}")
            check_finite(solver.y)
            solution = solver.dense_output()
            arrival = self._crossing(solution, x, solver.t_old, solver.t)
            if arrival is not None:
                return self._end(solution(arrival), arrival, True)
            steps += 1
            if steps == _PATIENCE and solver.status == "running":
                solver = LSODA(rate, solver.t, solver.y, time, **options)
        gap = float(solver.y[0]) - self._threshold
        speed = float(self._velocity(solver.y[:n], x)[0])
        spiked = at_end(gap, speed, time, _TRUST * self._scale)
        return self._end(solver.y, time, spiked)

    def _end(self, y: Vector, spent: float, spiked: bool) -> Passage:
        n = self._variables
        state = y[:n].copy()
        state[0] = self._threshold if spiked else below(float(state[0]), self._threshold)
        frame, r = np.linalg.qr(y[n:-n].reshape(n, n))
        # Almost the identity: what the solver's errors did to the lengths is put right.
        return Passage(state, frame * np.sign(np.diag(r)), y[-n:].copy(), spent, spiked)

    def _crossing(
        self, solution: Callable[[Any], Vector], x: float, start: float, end: float
    ) -> float | None:
        """The first time at which v, below threshold at the start, crosses it; within one step."""
        from scipy.optimize import brentq

        def state(t: Any) -> Vector:
            return solution(t)[: self._variables]

        def above(t: float) -> float:
            return float(state(t)[0]) - self._threshold

        def speed(t: float) -> float:
            return float(self._velocity(state(t), x)[0])

        def root(function: Callable[[float], float], low: float, high: float) -> float:
            # At rest the signs are those of rounding, and may be others when looked at alone.
            if function(low) * function(high) >= 0:
                return high
            return float(brentq(function, low, high, xtol=1e-300, rtol=1e-15, maxiter=2000))

        tolerance = _TRUST * self._scale
        times = np.linspace(start, end, _LOOKS + 1)
        states = state(times)
        speeds = self._velocity(states, x)[0]
        reached = states[0] >= self._threshold
        peaks = (speeds[:-1] > 0) & (speeds[1:] < 0)
        for i in np.flatnonzero(reached[1:] | peaks):
            low, high = float(times[i]), float(times[i + 1])
            if not reached[i + 1]:
                high = root(speed, low, high)
                gap = above(high)
                if gap < -tolerance:
                    continue
                if gap <= tolerance:
                    raise TOUCHES
            at = root(above, low, high) if above(low) < 0 else low
            velocity, jacobian = self._linearised(state(at), x)
            # How far above the threshold a peak would be that is crossed with this speed.
            if velocity[0] ** 2 <= 2 * abs(jacobian[0] @ velocity) * tolerance:
                raise TOUCHES
            return at
        return None

    def _velocity(self, u: Any, x: float) -> Any:
        return self._model.rates(x, u)

    def _linearised(self, u: Vector, x: float) -> tuple[Vector, Vector]:
        """Velocity and its Jacobian."""
        return self._model.linearised(x, u)


def derivative(function: Callable[[Any], Any], at: Vector) -> Vector:
    """Jacobian of a function of real polynomials, column by column from a complex step.

    Source: Squire & Trapp, "Using complex variables to estimate derivatives of real functions",
    SIAM Review 40, 1998.
    """
    columns: Vector = function(at[:, None] + 1j * _STEP * np.eye(len(at))).imag / _STEP
    return columns
