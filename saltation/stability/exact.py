"""Exponents of neurons as what they are, differential equations with jumps, without a time step.

Between spikes a perturbation follows the flow's linearisation. A spike moves in time as the
perturbation moves, and the jump multiplies it by the saltation matrix. Source: Aizerman &
Gantmakher, "On the stability of periodic motions", J. Appl. Math. Mech. 22, 1958; Leine &
Nijmeijer, "Dynamics and bifurcations of non-smooth mechanical systems", 2004.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.layers import SpikingLayer
from saltation.neurons import Neuron
from saltation.reference.passage import ENDLESS, Unsolved, Vector
from saltation.stability.closed_form import ClosedForm
from saltation.stability.integrated import Integrated, derivative
from saltation.stability.result import Lyapunov

# Spikes of one neuron in one step from which on its solution is taken not to get on.
_MOST = 10_000


def true_exponents(
    neuron: Neuron | SpikingLayer, x: Tensor, *, transient: int = 0, seed: int = 0
) -> Lyapunov:
    """Lyapunov exponents of single neurons along the exact solution, with exact spike times.

    ``du/dt = f(u, x)`` between spikes, ``u -> R(u)`` where v reaches the threshold. A perturbation
    follows ``dy/dt = Df y``, and at a spike becomes ``S y`` with the saltation matrix

        S = DR + (f+ - DR f-) g / (g f-),

    g the row that picks v, f- and f+ the velocities just before and after. For a scalar neuron S
    is ``f+ / f-``. Neither the scheme nor a surrogate has a part in this: of the neuron's ``dt``
    only the duration of each input is taken, which may be many time constants.

    A spike at the very end of a step belongs to that step and its input. A state that begins above
    threshold, or on it and not about to fall, spikes at once, however it is perturbed, so that
    S = DR: a hard reset then takes all of a perturbation of v away, the exponent is -inf,
    ``settings`` has the number of such losses as ``vanished``, and a ``transient`` leaves them out.

    LIF and CUBA-LIF are solved in closed form, to rounding. Others are integrated with a relative
    tolerance of 1e-12; a potential within 1e-11 of threshold is as good as there.

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
        number of spikes. None is ever put at a floor.

    Raises
    ------
    SaltationError
        If the neuron is no ODE or its input comes as impulses; if the input is not ``[T, B]`` or
        not finite; if a solution does not stay finite; if a neuron touches its threshold so that
        rounding decides whether it spikes, where no derivative exists (f- = 0); if its spikes have
        no end, or are more than 10,000 in a step.

    References
    ----------
    Aizerman & Gantmakher, 1958; Leine & Nijmeijer, 2004.
    """
    model = neuron.neuron if isinstance(neuron, SpikingLayer) else neuron
    if not isinstance(model, Neuron):
        raise SaltationError(f"true exponents are those of a neuron, got {type(neuron).__name__}")
    if not model.schemes or model.refractory or type(model).threshold is not Neuron.threshold:
        raise SaltationError(
            "true exponents are those of a differential equation with a fixed threshold and no "
            f"refractory time, got {model}"
        )
    if model.tensors:
        raise SaltationError(
            f"true exponents are those of one neuron, got a layer whose {model.tensors[0]} is a "
            "tensor"
        )
    if getattr(model, "beta", None) is not None or model.jump not in ("hard", "soft"):
        raise SaltationError(
            "true exponents are those of a differential equation with jumps 'hard' or 'soft' at "
            f"its spikes: give tau and not beta, got {model}"
        )
    if model.input != "held":
        raise SaltationError(
            f"true exponents are those of a neuron with input held over the step, got {model}"
        )
    if x.ndim != 2 or not x.is_floating_point() or x.numel() == 0:
        raise SaltationError(
            f"the input must be a floating-point tensor [T, B], got {x.dtype} {list(x.shape)}"
        )
    if not 0 <= transient < len(x):
        raise SaltationError(f"transient must be from 0 to {len(x) - 1}, got {transient}")
    currents = x.detach().cpu().double().numpy()
    if not np.isfinite(currents).all():
        wrong = float(currents[~np.isfinite(currents)][0])
        raise SaltationError(f"the input must be finite, got {wrong}")
    rest = model.rest(torch.zeros((), dtype=torch.float64))
    start = np.array([float(part) for part in rest])
    drawn = np.random.default_rng(seed).normal(size=(len(start), len(start)))
    frame = np.linalg.qr(drawn)[0]
    runs = [Run(model, column, start, frame, name=b) for b, column in enumerate(currents.T)]
    growth = torch.from_numpy(np.stack([run.growth for run in runs], 2))[transient:]
    steps = len(growth)
    vanished = sum(run.vanished for run in runs)
    return Lyapunov(
        exponents=growth.sum(0) / (steps * model.dt),
        growth=growth,
        spans=(1,) * steps,
        norms=torch.ones(steps, 1, len(runs), dtype=growth.dtype),
        layers=(model.title,),
        transient=transient,
        floored=0,
        settings={
            "estimator": "true",
            "spikes": sum(run.spikes for run in runs),
            **({"vanished": vanished} if vanished else {}),
        },
        unit="unit of time",
    )


class Run:
    """One neuron along its exact solution, with perturbations that stay orthonormal.

    Parameters
    ----------
    model, currents, start, frame
        Input of every step ``[T]``; the state ``[n]`` and orthonormal perturbations ``[n, n]``,
        column by column, that it begins with.
    name
        Of the neuron, for errors.

    Attributes
    ----------
    state
        ``[n]``, at the end.
    growth
        ``[T, n]``: logarithm of each vector's growth over a step, spikes included.
    spikes, vanished
        Their number, and how often a jump took away all of a vector.
    """

    def __init__(
        self, model: Neuron, currents: Vector, start: Vector, frame: Vector, name: int = 0
    ) -> None:
        self._model = model
        self._between = ClosedForm(model) if ClosedForm.applies(model) else Integrated(model)
        self.state, self._frame = start, frame
        self.growth = np.zeros((len(currents), len(start)))
        self.spikes = self.vanished = 0
        for t, x in enumerate(currents.tolist()):
            try:
                if t == 0:
                    self._begin(x)
                self._step(t, x)
            except Unsolved as reason:
                raise SaltationError(
                    f"{model.title} neuron {name} in step {t} {reason} (state "
                    f"{[float(f'{part:.6g}') for part in self.state]}, input {x:g}, threshold "
                    f"{model.v_threshold:g}, jump '{model.jump}')"
                ) from None

    def _begin(self, x: float) -> None:
        """Spikes of a state that begins at or above threshold: at once, however it is perturbed."""
        while self._over(x):
            after = self._reset(self.state)
            if after[0] >= self.state[0]:
                raise ENDLESS
            self._multiply(0, derivative(self._reset, self.state))
            self.state = after
            self._count(0)

    def _over(self, x: float) -> bool:
        """Whether the potential is above threshold, or on it and not about to fall."""
        above = float(self.state[0]) - self._model.v_threshold
        if above:
            return above > 0
        velocity, jacobian = self._model.linearised(x, self.state)
        turn = jacobian[0] @ velocity
        return bool((velocity[0] or turn) >= 0)

    def _count(self, before: int) -> None:
        if self.spikes - before > _MOST:
            raise Unsolved(f"spikes more than {_MOST} times; if it is meant to, take shorter steps")

    def _step(self, t: int, x: float) -> None:
        left, before = self._model.dt, self.spikes
        carry = 0.0
        while left > 0:
            passage = self._between.passage(self.state, self._frame, x, left)
            self.growth[t] += passage.logs
            self.state, self._frame = passage.state, passage.frame
            if not passage.spiked:
                return
            # Compensated (Kahan, 1965): else rounding would shift the last of many spikes.
            spent = passage.spent + carry
            rest = left - spent
            carry = spent - (left - rest)
            left = rest
            self._spike(t, x)
            self._count(before)

    def _spike(self, t: int, x: float) -> None:
        """The jump at a crossing, and the saltation matrix."""
        u, after = self.state, self._reset(self.state)
        if after[0] >= self._model.v_threshold:
            raise ENDLESS
        slope = derivative(self._reset, u)
        before, later = self._velocity(u, x), self._velocity(after, x)
        # S differs from DR in the column of v alone; there two of its terms cancel.
        slope[:, 0] = (later - slope[:, 1:] @ before[1:]) / before[0]
        self._multiply(t, slope)
        self.state = after

    def _multiply(self, t: int, matrix: Vector) -> None:
        """Perturbations after a jump, orthonormal again, and their growth."""
        self.spikes += 1
        self._frame, r = np.linalg.qr(matrix @ self._frame)
        size = np.abs(np.diag(r))
        rest = size[:-1].prod()
        if rest > 0:  # The volume has the digits of the last that the others would leave it.
            size[-1] = abs(np.linalg.det(matrix)) / rest
        self.vanished += int((size == 0).sum())
        with np.errstate(divide="ignore"):
            self.growth[t] += np.log(size)

    def _velocity(self, u: Any, x: float) -> Any:
        return self._model.rates(x, u)

    def _reset(self, u: Any) -> Any:
        return np.array(self._model.apply_jump(self._model.State(*u), 1.0))
