"""Errors of a neuron on a grid against its exact solution: of its rate and of its spike times.

On a grid a spike is noticed at the end of its step, so through spikes every scheme is of first
order. Errors are measured from spike to spike: after each spike of the exact solution, and from its
beginning, the grid starts with the exact state and runs to its next spike. So no error is carried
on, and one spike that is missed does not shift all that follow. The rate under a constant current
is that of the grid left to itself: adaptation makes up for part of an interval's error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from saltation.errors import SaltationError, positive
from saltation.neurons import Neuron
from saltation.numerics.drives import (
    Vector,
    changed,
    is_constant,
    on_grid,
    rate_of,
    scaled,
    spikes_on_grid,
    usual,
)
from saltation.reference import Pulses, simulate
from saltation.reference.inputs import driven_by

# Under a constant current all intervals are alike, and where one is a whole number of steps the
# grid happens to be right. So currents near it are looked at too: it times these.
NEAR = (1.0, 0.95, 0.9625, 0.975, 0.9875, 1.0125, 1.025, 1.0375, 1.05)
# Spikes that a constant current is followed for, and those near it.
_SPIKES, _NEAR_SPIKES = 12, 4
# Fewer say nothing of a rate.
_FEWEST = 3
# The grid has this many of the longest interval for its next spike.
_WAIT = 1.5
_MOST = 50_000_000  # steps times intervals


class Errors(NamedTuple):
    """Relative errors under one input.

    Attributes
    ----------
    rate, time
        As in `Accuracy`.
    """

    rate: float
    time: float

    @property
    def worst(self) -> float:
        """The larger one."""
        return max(abs(self.rate), self.time)

    @property
    def least(self) -> float:
        """The smaller one."""
        return min(abs(self.rate), self.time)


class Accuracy(NamedTuple):
    """How far a neuron on a grid is from its equations.

    Attributes
    ----------
    rate_error
        Relative error of the spikes per time, under the worst of the given inputs and the constant
        ones near them; positive if it spikes too often.
    time_error
        Mean distance of a spike from its time, counted from the spike before, in units of the mean
        interval; under the worst of them.
    worst
        The larger of both.
    given
        Of the given inputs themselves, the one with the largest errors.
    spikes
        Of the exact solutions under the given inputs.
    """

    rate_error: float
    time_error: float
    worst: float
    given: Errors
    spikes: int


class Intervals(NamedTuple):
    """The intervals of exact solutions under one input, or under one near it.

    Attributes
    ----------
    drive
        The input.
    starts, states, lengths
        ``[K]``, ``[K, n]`` and ``[K]``: when each interval begins, the state there after the jump,
        and how long it is.
    """

    drive: Pulses
    starts: Vector
    states: Vector
    lengths: Vector


class Yardstick:
    """Exact solutions of a neuron under inputs and others near them, to measure grids by.

    Parameters
    ----------
    neuron : Neuron or layer
        Any model with a velocity, of numbers alone. Scheme and dt have no part in the solutions.
    inputs : sequence, optional
        As `saltation.reference.simulate` takes them. By default two constant currents, 1.3 and 2
        times the smallest that keeps the neuron spiking.
    t_end : float, optional
        Where solutions end. By default after 12 spikes of a constant current; needed for inputs
        that change.

    Raises
    ------
    SaltationError
        If a solution cannot be made, or has fewer than three spikes.
    """

    def __init__(
        self, neuron: Any, inputs: Sequence[Any] | None = None, t_end: float | None = None
    ) -> None:
        model = neuron if isinstance(neuron, Neuron) else getattr(neuron, "neuron", None)
        if not isinstance(model, Neuron):
            raise SaltationError(f"accuracy is that of a neuron, got {type(neuron).__name__}")
        if model.refractory:
            raise SaltationError(
                f"accuracy of {model.title} is measured without refractory, which is whole steps"
            )
        if model.spike_time != "grid":
            raise SaltationError(
                f"accuracy of {model.title} is measured with spike_time 'grid': with "
                f"'{model.spike_time}' spikes have times within a step, which it does not look at"
            )
        if model.input == "impulse" and not _are_pulses(inputs):
            raise SaltationError(
                f"{model.title} with input 'impulse' takes charges: give Pulses without a current"
            )
        self.model = model
        self.inputs = list(usual(model) if inputs is None else inputs)
        if not self.inputs:
            raise SaltationError("give at least one input, got none")
        self.known = [self._solved(given, t_end) for given in self.inputs]

    @property
    def interval(self) -> float:
        """The shortest mean interval between spikes."""
        return min(float(one.lengths.mean()) for some in self.known for one in some)

    def __call__(self, scheme: str, dt: float) -> Accuracy:
        """Errors of a scheme and step."""
        model = changed(self.model, scheme=scheme, dt=dt)
        found = [[_errors(model, one) for one in some] for some in self.known]
        every = [errors for some in found for errors in some]
        given = [some[0] for some in found]
        return Accuracy(
            _largest([errors.rate for errors in every]),
            max(errors.time for errors in every),
            max(errors.worst for errors in every),
            max(given, key=lambda errors: errors.worst),
            sum(len(some[0].lengths) for some in self.known),
        )

    def _solved(self, given: Any, t_end: float | None) -> list[Intervals]:
        """The intervals under one input, the first, and under those near it."""
        drive = driven_by(given, self.model, 0.0)
        if not is_constant(drive):
            if t_end is None:
                raise SaltationError(
                    "an input that changes needs t_end, the time up to which it is given"
                )
            end = positive("t_end", t_end)
            return [self._intervals(driven_by(given, self.model, end), end)]
        current = float(drive.current.values[0])
        rate = rate_of(self.model, current)
        if not rate and t_end is None:
            raise SaltationError(
                f"{self.model.title} does not spike on and on under the current {current:g}: give "
                "a stronger one, or t_end"
            )
        end = (_SPIKES + 0.5) / rate if t_end is None else positive("t_end", t_end)
        found = [self._intervals(drive, end)]
        near_end = end if not rate else min(end, (_NEAR_SPIKES + 0.5) / rate)
        for factor in NEAR[1:]:
            found += self._near(scaled(drive, factor), near_end)
        return found

    def _near(self, drive: Pulses, end: float) -> list[Intervals]:
        try:
            return [self._intervals(drive, end)]
        except SaltationError:  # too weak to spike, or it grazes the threshold
            return []

    def _intervals(self, drive: Pulses, end: float) -> Intervals:
        solution = simulate(self.model, drive, end)
        spikes = solution.spike_times
        if len(spikes) < _FEWEST:
            raise SaltationError(
                f"{self.model.title} spikes {len(spikes)} times up to {end:g} under this input; an "
                f"error takes at least {_FEWEST}: give a stronger one, or a later t_end"
            )
        starts = np.concatenate([[0.0], spikes[:-1]])
        states = np.concatenate([solution.states[:1], solution(starts[1:])])
        lengths = np.diff(spikes, prepend=0.0)
        some = lengths > 0  # two spikes of one pulse
        return Intervals(drive, starts[some], states[some], lengths[some])


def _are_pulses(inputs: Sequence[Any] | None) -> bool:
    """Whether charges alone arrive."""
    return inputs is not None and all(
        isinstance(one, Pulses) and not np.any(one.current.values) for one in inputs
    )


def _largest(errors: list[float]) -> float:
    return max(errors, key=abs)


def _errors(model: Neuron, known: Intervals) -> Errors:
    """Errors of a neuron with a scheme and dt under one input."""
    dt, mean = model.dt, float(known.lengths.mean())
    steps = math.ceil(_WAIT * float(known.lengths.max()) / dt) + 1
    if steps * len(known.lengths) > _MOST:
        raise SaltationError(
            f"dt = {dt:g} makes {steps} steps of each of {len(known.lengths)} intervals: too many"
        )
    x = np.stack([on_grid(known.drive, start, dt, steps) for start in known.starts.tolist()], 1)
    spikes = spikes_on_grid(model, x, known.states)
    if spikes is None:
        return Errors(-1.0, math.inf)
    # Where there is none, the next spike is beyond what was waited for.
    took = dt * np.where(spikes.any(0), spikes.argmax(0) + 1, steps)
    time = float(np.abs(took - known.lengths).mean()) / mean
    if is_constant(known.drive):
        return Errors(_rate(model, known), time)
    return Errors(float(known.lengths.sum() / took.sum()) - 1, time)


def _rate(model: Neuron, known: Intervals) -> float:
    """Error of the rate of the grid left to itself from the beginning, under a constant current.

    Up to the last spike of the exact solution, or where the grid does not have as many in twice the
    time, of their number.
    """
    exact = known.starts + known.lengths
    steps = math.ceil(2 * float(exact[-1]) / model.dt)
    spikes = spikes_on_grid(model, on_grid(known.drive, 0.0, model.dt, steps)[:, None])
    found = np.flatnonzero(spikes[:, 0]) if spikes is not None else np.array([])
    if len(found) < len(exact):
        return len(found) / (2 * len(exact)) - 1
    return float(exact[-1] / (model.dt * (found[len(exact) - 1] + 1))) - 1


def accuracy(
    neuron: Any, inputs: Sequence[Any] | None = None, t_end: float | None = None
) -> Accuracy:
    """Errors in rate and spike times of a neuron with its scheme and dt, against its equations.

    After every spike of the exact solution the grid starts with the exact state, and its next spike
    is compared; rates under a constant current are those of the grid left to itself. The grid gets
    the mean of the input over each step, and is computed as networks compute it, in float32. Under
    a constant current the errors are those of the worst of nine: it times 0.95, 0.9625, ..., 1.05,
    for a grid is right by luck where an interval is a whole number of steps. Of several inputs, the
    worst.

    Parameters
    ----------
    neuron : Neuron or layer
        Any model with a velocity, of numbers alone.
    inputs : sequence, optional
        Each a number, the current; ``(times, values)`` or `saltation.reference.Steps`, or
        `saltation.reference.Pulses`. By default two constant currents, 1.3 and 2 times the smallest
        that keeps the neuron spiking.
    t_end : float, optional
        Up to when, in the unit of the time constants. By default 12 spikes of a constant current;
        needed for inputs that change.

    Returns
    -------
    Accuracy
        With ``rate_error`` and ``time_error``.

    Raises
    ------
    SaltationError
        If the model has no exact solution, or hardly spikes under an input.

    Examples
    --------
    >>> st.accuracy(st.LIF(tau=2.0, dt=0.1), [1.5]).rate_error
    """
    yardstick = Yardstick(neuron, inputs, t_end)
    return yardstick(yardstick.model.scheme, yardstick.model.dt)
