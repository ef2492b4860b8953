"""A neuron as what it is, a differential equation with jumps, solved without a time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from saltation.errors import SaltationError, number, positive
from saltation.neurons import Neuron
from saltation.reference.inputs import driven_by
from saltation.reference.passage import Vector
from saltation.reference.run import Curve, Run


@dataclass(frozen=True)
class Solution:
    """A neuron's exact solution; call it with times to get the states there.

    Attributes
    ----------
    spike_times
        ``[N]``, ascending, float64. Two spikes may be at one time, where a pulse brings the charge
        of both.
    times, states
        ``[K]`` and ``[K, n]``: the solution where the solver stopped; at a jump the same time
        twice, with the states before and after it.
    names
        Of the variables, the potential first.
    """

    spike_times: Vector
    times: Vector
    states: Vector
    names: tuple[str, ...]
    _starts: Vector
    _curves: tuple[Curve, ...]

    def __call__(self, t: Any) -> Vector:
        """States ``[..., n]`` at times ``[...]``; at a jump the one after it.

        Raises
        ------
        SaltationError
            If a time is outside the solution's.
        """
        asked = np.asarray(t, np.float64)
        flat = asked.ravel()
        if flat.size and not ((flat >= 0) & (flat <= self.times[-1])).all():
            wrong = flat[~((flat >= 0) & (flat <= self.times[-1]))][0]
            raise SaltationError(
                f"the solution is known from 0 to {self.times[-1]:g}, asked for {wrong:g}"
            )
        found = np.empty((flat.size, len(self.names)))
        pieces = np.searchsorted(self._starts, flat, "right") - 1
        for piece in np.unique(pieces):
            here = pieces == piece
            found[here] = self._curves[piece](flat[here] - self._starts[piece]).T
        return found.reshape(*asked.shape, len(self.names))


def simulate(
    neuron: Any,
    input: Any,  # noqa: A002  # the word for it
    t_end: float,
    rtol: float = 1e-10,
    *,
    initial: Any = None,
) -> Solution:
    """The exact solution of a neuron: its ODE, its threshold and its jumps, without a time step.

    Between spikes ``du/dt = f(u, x)``; where the potential reaches its threshold from below, the
    state jumps. Scheme, surrogate and step of the neuron have no part in it; only where the input
    is given by steps, they have the neuron's ``dt``. A state that a pulse brings to its threshold
    or above spikes at once, and again as long as its jumps leave it there. During a ``refractory``
    time the potential stays where the jump left it and cannot spike, while other variables go on.

    LIF and CUBA-LIF are solved in closed form, to rounding. Others are integrated by an adaptive
    Runge-Kutta method of order 8 (Dormand & Prince, 1980), an implicit one where they are stiff,
    and crossings are searched for on its polynomials, also between its steps.

    Parameters
    ----------
    neuron : Neuron or layer
        Any model with a velocity, of numbers alone.
    input
        A number, the current; a list, array or tensor ``[T]`` of currents, each held over a step of
        the neuron's ``dt``, or of a neuron with ``input="impulse"`` the charges of pulses at their
        starts; ``(times, values)`` or `Steps`; `Pulses`.
    t_end : float
        Where the solution ends, in the unit of time of the model's time constants.
    rtol : float, default 1e-10
        Relative tolerance of the integration, from 1e-13 to 1e-3.
    initial : optional
        State at time 0, a number for each variable; the model's ``initial`` state if not given.

    Returns
    -------
    Solution
        With ``spike_times``, ``times``, ``states``; called with times it gives the states there.

    Raises
    ------
    SaltationError
        If the model is a discrete map, is given by ``beta``, has tensors as parameters or a jump
        ``soft_delayed`` or ``none``, which mean nothing without a step; if the input or the initial
        state is not finite, or t_end not above 0; if the solution does not stay finite, touches its
        threshold so that rounding decides whether it spikes, or spikes without end.

    References
    ----------
    Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", 1993, II.5 and II.6.

    Examples
    --------
    >>> st.reference.simulate(st.LIF(tau=2.0), 1.5, t_end=10).spike_times
    array([2.19722458, 4.39444915, 6.59167373, 8.78889831])
    """
    model = _checked(neuron)
    end, tolerance = positive("t_end", t_end), number("rtol", rtol)
    if not 1e-13 <= tolerance <= 1e-3:
        raise SaltationError(f"rtol must be from 1e-13 to 1e-3, got {tolerance:g}")
    drive = driven_by(input, model.dt, end, model.input == "impulse")
    run = Run(model, _start(model, initial), tolerance)
    run.through(drive, end)
    return Solution(
        np.array(run.spikes),
        np.array(run.times),
        np.array(run.states),
        tuple(type(model).State._fields),
        np.array(run.starts),
        tuple(run.curves),
    )


def _checked(given: Any) -> Neuron:
    """The model, if it means something without a step."""
    model = given if isinstance(given, Neuron) else getattr(given, "neuron", None)
    if not isinstance(model, Neuron):
        raise SaltationError(f"a reference solution is that of a neuron, got {given!r}")
    reason = _why_not(model)
    if reason:
        raise SaltationError(f"{model.title} has no solution without a step: {reason}")
    return model


def _why_not(model: Neuron) -> str | None:
    if model.is_map:
        return "it is a discrete map, with no velocity"
    if type(model).step is not Neuron.step or type(model).integrate is not Neuron.integrate:
        return "it defines its own step"
    if getattr(model, "beta", None) is not None and model.name == "lif":
        return "beta is a decay per step; give tau"
    if model.tensors:
        return f"{model.tensors[0]} is a tensor, and one neuron has numbers"
    if model.jump == "soft_delayed":
        return "its jump acts one step late; 'soft' acts at once"
    if model.jump == "none":
        return (
            "without a jump every step above the threshold is a spike; for the potential alone "
            "take a threshold that it does not reach"
        )
    return None


def _start(model: Neuron, initial: Any) -> Vector:
    parts = model.initial() if initial is None else initial
    names = type(model).State._fields
    try:
        state = np.array([float(part) for part in parts])
    except (TypeError, ValueError):
        state = np.array([])
    if len(state) != len(names) or not np.isfinite(state).all():
        raise SaltationError(
            f"the initial state of {model.title} is a finite number for each of "
            f"{', '.join(names)}, got {initial!r}"
        )
    return state
