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
from saltation.reference.crossing import integrate
from saltation.reference.passage import Vector, below
from saltation.stability.passage import Passage

# Derivatives of the neurons' polynomials from one complex step: exact to rounding, however small.
_STEP = 1e-30
_TOLERANCE = 1e-12
# What many steps of that tolerance make of it, and what the solution is trusted to.
_TRUST = 10 * _TOLERANCE


class Integrated:
    """The solution of any smooth ODE, with every crossing of the threshold from below.

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
        self.tolerance = _TRUST * self._scale

    def passage(self, u: Vector, frame: Vector, x: float, time: float) -> Passage:
        """From state ``u`` below threshold and orthonormal perturbations, with input ``x``."""
        n, self._x = self._variables, x
        below_diagonal = np.tri(n, k=-1)

        def rate(_: float, y: Vector) -> Vector:
            velocity, jacobian = self._model.linearised(x, y[:n])
            q = y[n:-n].reshape(n, n)
            along = q.T @ jacobian @ q
            lower = along * below_diagonal
            return np.concatenate([velocity, (q @ (lower - lower.T)).ravel(), along.diagonal()])

        y = np.concatenate([u, frame.ravel(), np.zeros(n)])
        size = np.ones(len(y))
        size[:n] = self._scale
        arrival = integrate(rate, y, time, self, _TOLERANCE, _TOLERANCE * size)
        return self._end(arrival.y, arrival.spent, arrival.spiked)

    def gap(self, states: Vector) -> Any:
        """How far above the threshold the potential is; the frame behind it has no part in this."""
        return states[0] - self._threshold

    def speed(self, states: Vector) -> Any:
        return self._model.rates(self._x, states[: self._variables])[0]

    def turn(self, state: Vector) -> float:
        velocity, jacobian = self._model.linearised(self._x, state[: self._variables])
        return float(jacobian[0] @ velocity)

    def _end(self, y: Vector, spent: float, spiked: bool) -> Passage:
        n = self._variables
        state = y[:n].copy()
        state[0] = self._threshold if spiked else below(float(state[0]), self._threshold)
        frame, r = np.linalg.qr(y[n:-n].reshape(n, n))
        # Almost the identity: what the solver's errors did to the lengths is put right.
        return Passage(state, frame * np.sign(np.diag(r)), y[-n:].copy(), spent, spiked)


def derivative(function: Callable[[Any], Any], at: Vector) -> Vector:
    """Jacobian of a function of real polynomials, column by column from a complex step.

    Source: Squire & Trapp, "Using complex variables to estimate derivatives of real functions",
    SIAM Review 40, 1998.
    """
    columns: Vector = function(at[:, None] + 1j * _STEP * np.eye(len(at))).imag / _STEP
    return columns
