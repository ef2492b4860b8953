"""Exponents of neurons as what they are, differential equations with jumps, without a time step.

Between spikes a perturbation follows the flow's linearisation. A spike moves in time as the
perturbation moves, and the jump multiplies it by the saltation matrix. Source: Aizerman &
Gantmakher, "On the stability of periodic motions", J. Appl. Math. Mech. 22, 1958; Leine &
Nijmeijer, "Dynamics and bifurcations of non-smooth mechanical systems", 2004.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import SaltationError
from saltation.layers import SpikingLayer
from saltation.neurons import Neuron
from saltation.stability.frames import FLOOR
from saltation.stability.result import Lyapunov

Vector = NDArray[np.float64]

# Derivatives of the neurons' polynomials from one complex step: exact to rounding, however small.
_STEP = 1e-30
_TOLERANCE = 1e-10


def true_exponents(
    neuron: Neuron | SpikingLayer, x: Tensor, *, transient: int = 0, seed: int = 0
) -> Lyapunov:
    """Lyapunov exponents of single neurons along the exact solution, with exact spike times.

    ``du/dt = f(u, x)`` between spikes, ``u -> R(u)`` where v reaches the threshold. A perturbation
    follows ``dy/dt = Df y``, and at a spike becomes ``S y`` with the saltation matrix

        S = DR + (f+ - DR f-) g / (g f-),

    g the row that picks v, f- and f+ the velocities just before and after. For a scalar neuron S
    is ``f+ / f-``. Neither the scheme nor a surrogate has a part in this: of the neuron's ``dt``
    only the duration of each input is taken. A spike that the input merely grazes (f- = 0) has
    no derivative, and S is infinite.

    Parameters
    ----------
    neuron : Neuron or SpikingLayer
        A model with an ODE: LIF by ``tau``, CUBA-LIF, Izhikevich; jumps ``hard`` and ``soft``.
    x : Tensor, [T, B]
        Input current, held constant over every step of length ``dt``; B independent neurons.
    transient : int
        Steps at the beginning that are not counted.
    seed : int
        Of the first perturbations, orthonormal vectors in random directions.

    Returns
    -------
    Lyapunov
        All exponents, as many as the state has variables, per unit of time. ``settings`` has the
        number of spikes.

    Raises
    ------
    SaltationError
        If the neuron is no ODE, the input not ``[T, B]``, or a solution is not finite.

    References
    ----------
    Aizerman & Gantmakher, 1958; Leine & Nijmeijer, 2004.
    """
    model = neuron.neuron if isinstance(neuron, SpikingLayer) else neuron
    if getattr(model, "beta", None) is not None or model.jump not in ("hard", "soft"):
        raise SaltationError(
            "true exponents are those of a differential equation with jumps 'hard' or 'soft' at "
            f"its spikes: give tau and not beta, got {model}"
        )
    if x.ndim != 2 or not x.is_floating_point() or x.numel() == 0:
        raise SaltationError(
            f"the input must be a floating-point tensor [T, B], got {x.dtype} {list(x.shape)}"
        )
    if not 0 <= transient < len(x):
        raise SaltationError(f"transient must be from 0 to {len(x) - 1}, got {transient}")
    rest = model.rest(torch.zeros((), dtype=torch.float64))
    start = np.array([float(part) for part in rest])
    drawn = np.random.default_rng(seed).normal(size=(len(start), len(start)))
    frame = np.linalg.qr(drawn)[0]
    runs = [Run(model, column, start, frame) for column in x.detach().cpu().double().numpy().T]
    growth = torch.from_numpy(np.stack([run.growth for run in runs], 2))[transient:]
    steps = len(growth)
    return Lyapunov(
        exponents=growth.sum(0) / (steps * model.dt),
        growth=growth,
        spans=(1,) * steps,
        norms=torch.ones(steps, 1, len(runs), dtype=growth.dtype),
        layers=(model.title,),
        transient=transient,
        floored=sum(run.floored for run in runs),
        settings={"estimator": "true", "spikes": sum(run.spikes for run in runs)},
        unit="unit of time",
    )


class Run:
    """One neuron, its tangents orthonormal again at the end of every step and at every spike.

    Parameters
    ----------
    model, currents, start, frame
        Input of every step ``[T]``; the state ``[n]`` and orthonormal perturbations ``[n, n]``,
        column by column, that it begins with.

    Attributes
    ----------
    state
        ``[n]``, at the end.
    growth
        ``[T, n]``: logarithm of each vector's growth over a step, spikes included.
    spikes, floored
        Their number, and how often a vector vanished.
    """

    def __init__(self, model: Neuron, currents: Vector, start: Vector, frame: Vector) -> None:
        self.model = model
        self.frame = frame
        u, n = start, len(start)
        self.growth = np.zeros((len(currents), n))
        self.spikes = self.floored = 0
        for t, x in enumerate(currents):
            left = model.dt
            while left > 0:
                u, spent = self._flow(u, x, left)
                self._decompose(t)
                left -= spent
                if left > 0:
                    u = self._jump(u, x)
                    self._decompose(t)
                    self.spikes += 1
        self.state = u

    def _flow(self, u: Vector, x: float, time: float) -> tuple[Vector, float]:
        """The state at the next spike, or after ``time``; how long that took."""
        from scipy.integrate import solve_ivp  # slow to import

        n = len(u)

        def velocity(_: float, y: Vector) -> Vector:
            state, tangents = y[:n], y[n:].reshape(n, n)
            jacobian = _derivative(lambda c: self._velocity(c, x), state)
            return np.concatenate([self._velocity(state, x), (jacobian @ tangents).ravel()])

        def threshold(_: float, y: Vector) -> float:
            return float(y[0] - self.model.v_threshold)

        threshold.terminal, threshold.direction = True, 1  # type: ignore[attr-defined]
        start = np.concatenate([u, self.frame.ravel()])
        run = solve_ivp(
            velocity,
            (0, time),
            start,
            method="DOP853",
            rtol=_TOLERANCE,
            atol=_TOLERANCE,
            events=threshold,
        )
        if run.status < 0 or not np.isfinite(run.y[:, -1]).all():
            raise SaltationError(f"the solution of {self.model.title} ends: {run.message}")
        self.frame = run.y[n:, -1].reshape(n, n)
        spent = float(run.t[-1]) if run.status == 1 else time
        end: Vector = run.y[:n, -1]
        return end, spent

    def _jump(self, u: Vector, x: float) -> Vector:
        after: Vector = np.real(self._reset(u.astype(complex)))
        slope = _derivative(self._reset, u)
        before, later = self._velocity(u, x), self._velocity(after, x)
        with np.errstate(divide="ignore"):
            correction = np.outer(later - slope @ before, np.eye(len(u))[0]) / before[0]
        self.frame = (slope + correction) @ self.frame
        return after

    def _decompose(self, t: int) -> None:
        self.frame, r = np.linalg.qr(self.frame)
        size = np.abs(np.diag(r))
        self.floored += int((size < FLOOR).sum())
        self.growth[t] += np.log(np.maximum(size, FLOOR))

    def _velocity(self, u: Any, x: float) -> Any:
        return np.array(self.model.velocity(x, self.model.State(*u)))

    def _reset(self, u: Any) -> Any:
        return np.array(self.model.apply_jump(self.model.State(*u), 1.0))  # type: ignore[arg-type]


def _derivative(function: Callable[[Any], Any], at: Vector) -> Vector:
    """Jacobian of a function of real polynomials, column by column from a complex step.

    Source: Squire & Trapp, "Using complex variables to estimate derivatives of real functions",
    SIAM Review 40, 1998.
    """
    steps = at + 1j * _STEP * np.eye(len(at))
    columns: Vector = np.stack([np.imag(function(one)) / _STEP for one in steps], 1)
    return columns
