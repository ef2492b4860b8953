"""How errors of a scheme fall with its step: against solutions without one.

Four errors: of the state before the first spike, of spike times, of their number, and of the rate.
The order is the slope of the logarithm of an error against that of dt.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.errors import SaltationError
from saltation.neurons import Neuron
from saltation.reference import simulate
from saltation.surrogate import Sigmoid

Vector = NDArray[np.float64]

LEVEL = 0.95
# Relative errors below are those of the reference and of rounding.
FLOOR = {"state": 1e-12, "times": 1e-9}
# Of the time to the first spike: how long the state before it is compared.
_BEFORE = 0.6
# Currents that are tried, from small to large, and how they are spread where one is found.
_TRIED = 0.05 * 2.0 ** np.arange(0, 14)
_SPREAD = (1.5, 2.0)
_RTOL = 1e-11
_SPIKE = Sigmoid()
# Places on the way to there, from which a variable's range is taken.
_LOOKS = 17


class Order(NamedTuple):
    """The slope of log error against log dt, with Student's interval of 95 %.

    Attributes
    ----------
    value, low, high
        NaN where there are too few errors above rounding; the interval is NaN for two of them.
    n
        Number of steps that it is fitted to.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        half = (self.high - self.low) / 2
        return f"{self.value:.2f}" if math.isnan(half) else f"{self.value:.2f} ± {half:.2f}"


class Exact(NamedTuple):
    """Solutions of one neuron under several constant currents.

    Attributes
    ----------
    currents
        ``[N]``.
    times
        Of each, its spikes ``[K]`` up to ``t_end``.
    t_end
        Where the solutions end.
    solutions
        They themselves.
    """

    currents: Vector
    times: list[Vector]
    t_end: float
    solutions: list[Any]

    @property
    def first(self) -> float:
        """The earliest spike of all."""
        return float(min(times[0] for times in self.times))


class Errors(NamedTuple):
    """Errors of a neuron with its scheme and dt.

    Attributes
    ----------
    dt
        Length of a step.
    state
        Largest error of any variable at the step that ends next to a fixed time before the first
        spike, as part of that variable's range; NaN where the step is longer than this time.
    times
        Mean distance of a spike from its own, in the unit of time; NaN if their numbers differ by
        more than the last.
    counts
        Mean difference of the number of spikes.
    rate
        Mean relative error of the rate between first and last spike.
    seconds
        Of CPU time for one unit of time.
    """

    dt: float
    state: float
    times: float
    counts: float
    rate: float
    seconds: float


def solutions(model: Neuron, spikes: int = 3, longest: float = 60.0, count: int = 8) -> Exact:
    """Solutions under currents that make the neuron spike, found by trying larger and larger ones.

    Parameters
    ----------
    model
        The neuron.
    spikes
        How many are wanted of each.
    longest
        Up to when they must be there.
    count
        Number of currents, evenly from 1.5 to 2 times the first that does.

    Raises
    ------
    SaltationError
        If no current from 0.05 to 410 does.
    """
    for x in _TRIED:
        try:
            found = simulate(model, float(x), longest, 1e-6).spike_times
        except SaltationError:  # touches the threshold, or does not stay finite
            continue
        if len(found) >= spikes:
            currents = x * np.linspace(*_SPREAD, count)
            return exact(model, currents, float(found[spikes - 1]))
    raise SaltationError(
        f"no constant current from {_TRIED[0]:g} to {_TRIED[-1]:g} makes {model.title} spike "
        f"{spikes} times within {longest:g}; give the currents"
    )


def exact(model: Neuron, currents: Sequence[float] | Vector, t_end: float) -> Exact:
    """Solutions under given constant currents up to ``t_end``.

    Raises
    ------
    SaltationError
        If there is a current without a spike.
    """
    solutions = [simulate(model, float(x), t_end, _RTOL) for x in currents]
    times = [one.spike_times for one in solutions]
    for x, found in zip(currents, times, strict=True):
        if not len(found):
            raise SaltationError(
                f"{model.title} does not spike under a current of {x:g} until {t_end:g}"
            )
    return Exact(np.asarray(currents, np.float64), times, t_end, solutions)


def steps_before(known: Exact, counts: Sequence[int]) -> list[float]:
    """Lengths of steps of which so many each make up the time before the first spike at which
    states are compared."""
    return [_BEFORE * known.first / n for n in counts]


def errors_of(model: Neuron, known: Exact) -> Errors:
    """Errors of the neuron as it steps, in float64, against its solutions."""
    x = torch.from_numpy(known.currents)
    compared = round(_BEFORE * known.first / model.dt)
    steps = math.ceil(known.t_end / model.dt - 1e-9)
    error = math.nan
    if 0 < compared <= steps:
        state = model.rest(x)
        with torch.no_grad():
            for _ in range(compared):
                _, state, _ = model.timed_step(x, state, _SPIKE)
        error = _state_error(state, compared * model.dt, known)
    began = time.process_time()
    found = _stepped(model, x, steps)
    seconds = (time.process_time() - began) / (steps * model.dt)
    return Errors(model.dt, error, *_spike_errors(found, known), seconds)


def _stepped(model: Neuron, x: Any, steps: int) -> list[list[float]]:
    """Spike times of every neuron ``x`` of ``[N]``."""
    if model.input == "impulse":
        raise SaltationError(
            "constant currents are held over steps: take a neuron with input='held', got 'impulse'"
        )
    state = model.rest(x)
    found: list[list[float]] = [[] for _ in range(len(x))]
    with torch.no_grad():
        for t in range(steps):
            spikes, state, theta = model.timed_step(x, state, _SPIKE)
            for k in torch.nonzero(spikes).flatten().tolist():
                found[k].append((t + float(theta[k])) * model.dt)
    return found


def _state_error(state: Any, at: float, known: Exact) -> float:
    """The largest of all currents and variables, as parts of the variables' ranges."""
    ours = np.stack([part.numpy() for part in state], 1)
    along = np.stack([solution(np.linspace(0, at, _LOOKS)) for solution in known.solutions])
    wide = np.ptp(along, axis=(0, 1))
    moved = wide > 1e-9 * wide.max()
    error = np.abs(ours - along[:, -1])[:, moved] / wide[moved]
    return float(error.max())


def _spike_errors(found: list[list[float]], known: Exact) -> tuple[float, float, float]:
    """Errors of times, counts and rates."""
    late: list[float] = []
    counts, rates = [], []
    for ours, theirs in zip(found, known.times, strict=True):
        n = min(len(ours), len(theirs))
        counts.append(abs(len(ours) - len(theirs)))
        # One that is late may fall behind the last step. Of more it is not known which is which.
        complete = counts[-1] <= 1
        late += [abs(a - b) for a, b in zip(ours, theirs, strict=False)] if complete else [math.nan]
        if n > 1 and complete:
            rates.append(abs((theirs[n - 1] - theirs[0]) / (ours[n - 1] - ours[0]) - 1))
        elif len(theirs) > 1:
            rates.append(math.nan)
    rate = float(np.mean(rates)) if rates else math.nan
    return float(np.mean(late)) if late else math.nan, float(np.mean(counts)), rate


def rates(model: Neuron, currents: Vector, t_end: float, stepped: bool = True) -> Vector:
    """Spikes per unit of time under constant currents, ``[N]``: between the first and last spike
    until ``t_end``, 0 with fewer than two; by the neuron's steps, or by its solutions."""
    if stepped:
        x = torch.from_numpy(np.asarray(currents, np.float64))
        times = _stepped(model, x, math.ceil(t_end / model.dt))
    else:
        times = [list(_known(model, float(x), t_end)) for x in currents]
    found = [(len(t) - 1) / (t[-1] - t[0]) if len(t) > 1 else 0.0 for t in times]
    return np.array(found)


def _known(model: Neuron, x: float, t_end: float) -> Vector:
    """Spike times; none where the current holds the potential right at its threshold."""
    try:
        spikes: Vector = simulate(model, x, t_end, 1e-8).spike_times
    except SaltationError:
        return np.array([])
    return spikes


def fitted_order(dts: Sequence[float], errors: Sequence[float], floor: float = 0.0) -> Order:
    """The order that errors fall with, and its interval of 95 % (Student's, of a regression).

    Errors that are not finite, and those not above ``floor``, have no part in it.
    """
    pairs = [(d, e) for d, e in zip(dts, errors, strict=True) if math.isfinite(e) and e > floor]
    if len(pairs) < 2:
        return Order(math.nan, math.nan, math.nan, len(pairs))
    x, y = np.log(np.array(pairs)).T
    from scipy import stats  # the import takes long

    fit = stats.linregress(x, y)
    slope = float(fit.slope)
    if len(pairs) == 2:
        return Order(slope, math.nan, math.nan, 2)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(pairs) - 2) * fit.stderr)
    return Order(slope, slope - half, slope + half, len(pairs))


def order_before(found: Sequence[Errors]) -> Order:
    """The order of the state before the first spike."""
    return fitted_order([e.dt for e in found], [e.state for e in found], FLOOR["state"])


def order_of_times(found: Sequence[Errors]) -> Order:
    """The order of spike times."""
    return fitted_order([e.dt for e in found], [e.times for e in found], FLOOR["times"])
