"""Which scheme and dt keep a tolerance, with the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from saltation import inline
from saltation.errors import SaltationError, choose, number
from saltation.numerics.accuracy import Accuracy, Yardstick
from saltation.numerics.cost import cost_of
from saltation.numerics.drives import changed

# Steps to an octave of the ladder of dt.
_RUNGS = 8
# Halvings after which no dt is taken to keep the tolerance.
_DEEP = 14


class Evidence(NamedTuple):
    """What was found of one scheme.

    Attributes
    ----------
    scheme
        Its name.
    dt
        The largest step that keeps the tolerance; None if none was found.
    dt_limit
        Up to which it is stable at rest.
    here, twice
        Errors at dt and at twice dt.
    is_sharp
        Whether twice dt breaks the tolerance under the given inputs themselves. If not, the errors
        of scheme and grid cancel there, for these inputs.
    cost
        Operations per unit of time, in additions; None if they cannot be counted.
    """

    scheme: str
    dt: float | None
    dt_limit: float
    here: Accuracy | None
    twice: Accuracy | None
    is_sharp: bool
    cost: float | None


class Recommendation(NamedTuple):
    """The cheapest scheme with its largest dt, and the evidence of all.

    Attributes
    ----------
    neuron
        Title of the model.
    scheme, dt
        What to take.
    tolerance
        Relative, of rates and spike times.
    inputs
        That were looked at.
    evidence
        Of every scheme, the cheapest first.
    """

    neuron: str
    scheme: str
    dt: float
    tolerance: float
    inputs: list[Any]
    evidence: list[Evidence]

    def __str__(self) -> str:
        best = self.evidence[0]
        here, twice = best.here, best.twice
        lines = [
            f"{self.neuron}: scheme '{self.scheme}', dt = {self.dt:g} keeps rates and spike times "
            f"within {100 * self.tolerance:g} %"
        ]
        if here is not None:
            lines.append(f"at dt = {self.dt:g}: {in_words(here)}")
        if twice is not None:
            lines.append(f"at twice that: {in_words(twice)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As it prints, in a notebook."""
        return inline.text(str(self))


def in_words(found: Accuracy) -> str:
    """Both errors in percent."""
    rate, time = percent(found.rate_error, sign=True), percent(found.time_error)
    unit = "" if math.isinf(found.time_error) else " of an interval"
    return f"rate {rate}, spike times {time}{unit}"


def percent(error: float, *, sign: bool = False) -> str:
    """A relative error in percent."""
    if math.isinf(error):
        return "lost"
    value, plus = 100 * error, "+" if sign else ""
    return f"{value:{plus}.0f} %" if abs(value) >= 9.95 else f"{value:{plus}.2g} %"


def recommend(
    neuron: Any,
    tolerance: float = 0.01,
    inputs: Sequence[Any] | None = None,
    t_end: float | None = None,
    schemes: Sequence[str] | None = None,
) -> Recommendation:
    """The cheapest scheme and the largest dt whose rates and spike times keep a tolerance.

    For every scheme steps are tried on a ladder of eighths of an octave, from the mean interval
    between spikes or the scheme's limit down. A dt keeps the tolerance if all errors of `accuracy`
    do, at it and at every rung down to half of it: errors on a grid are ragged, and a dt that is
    right by luck is none to rely on. Of those the largest is taken at twice which both errors of
    the given inputs themselves break the tolerance, or else one of them; schemes that have none,
    because their errors and the grid's cancel, come after the others. The cheapest scheme is that
    with the fewest operations per unit of time, among equals the one with the smaller error.

    Parameters
    ----------
    neuron : Neuron or layer
        Any model with a velocity, of numbers alone; its own scheme and dt do not matter.
    tolerance : float, default 0.01
        Relative, of rates, and of spike times in units of the mean interval.
    inputs, t_end
        As in `accuracy`.
    schemes : sequence of str, optional
        Which to look at. By default all that the model has.

    Raises
    ------
    SaltationError
        If no scheme keeps the tolerance down to a 16,000th of an interval, or a solution cannot be
        made.

    Examples
    --------
    >>> st.recommend(st.Izhikevich(), tolerance=0.01)
    """
    bound = number("tolerance", tolerance)
    if not 1e-4 <= bound <= 0.5:
        raise SaltationError(f"tolerance must be from 0.0001 to 0.5, got {bound:g}")
    yardstick = Yardstick(neuron, inputs, t_end)
    model = yardstick.model
    names = list(model.schemes if schemes is None else schemes)
    for name in names:
        choose(f"scheme of {model.title}", name, model.schemes)
    found = [_evidence(yardstick, name, bound) for name in names]
    found.sort(key=_order)
    best = found[0]
    if best.dt is None:
        raise SaltationError(
            f"no scheme of {model.title} keeps {100 * bound:g} % under these inputs, down to "
            f"{2.0**-_DEEP:.1e} of an interval between spikes"
        )
    return Recommendation(model.title, best.scheme, best.dt, bound, yardstick.inputs, found)


def _order(one: Evidence) -> tuple[Any, ...]:
    if one.dt is None or one.here is None:
        return (2,)
    cost = one.cost if one.cost is not None else 1 / one.dt
    return (0 if one.is_sharp else 1, float(f"{cost:.2g}"), one.here.worst)


def _evidence(yardstick: Yardstick, scheme: str, tolerance: float) -> Evidence:
    limit = changed(yardstick.model, scheme=scheme).dt_limit
    if limit <= 0:  # nothing rests: there is no limit to keep to
        limit = math.inf
    known: dict[float, Accuracy | None] = {}

    def errors(dt: float) -> Accuracy | None:
        """None where the model refuses the step."""
        if dt not in known:
            try:
                known[dt] = yardstick(scheme, dt)
            except SaltationError:
                known[dt] = None
        return known[dt]

    def keeps(dt: float) -> bool:
        found = errors(dt)
        return dt <= limit and found is not None and found.worst <= tolerance

    def breaks(dt: float, *, by_all: bool = False) -> bool:
        """Whether the given inputs themselves do not keep it, by one of their errors or by all."""
        found = errors(dt)
        if found is None:
            return True
        return (found.given.least if by_all else found.given.worst) > tolerance

    top = min(yardstick.interval, limit)
    dt = _largest(top, keeps)
    if dt is None:
        return Evidence(scheme, None, limit, None, None, False, None)
    below = [_rounded(dt * 2 ** (-n / 2 / _RUNGS)) for n in range(2 * _RUNGS)]
    sharp = [one for one in below if breaks(2 * one) and keeps(one)]
    dt = next((one for one in sharp if breaks(2 * one, by_all=True)), sharp[0] if sharp else dt)
    cost = cost_of(changed(yardstick.model, scheme=scheme, dt=dt))
    return Evidence(
        scheme,
        dt,
        limit,
        errors(dt),
        errors(2 * dt),
        breaks(2 * dt),
        None if cost is None else cost / dt,
    )


def _largest(top: float, keeps: Any) -> float | None:
    """The largest rung that keeps the tolerance down to half of it."""
    # By octaves to where it is kept, twice in a row.
    octave = next(
        (
            k
            for k in range(_DEEP)
            if keeps(_rung(top, k * _RUNGS)) and keeps(_rung(top, (k + 1) * _RUNGS))
        ),
        None,
    )
    if octave is None:
        return None
    # Then rung by rung from half of that up, as far as all are kept.
    rung = (octave + 1) * _RUNGS
    while rung > 0 and keeps(_rung(top, rung - 1)):
        rung -= 1
    return _rung(top, rung)


def _rung(top: float, number: int) -> float:
    return _rounded(top * 2.0 ** (-number / _RUNGS))


def _rounded(dt: float) -> float:
    """Three digits, not above."""
    unit = 10.0 ** (math.floor(math.log10(dt)) - 2)
    return float(f"{math.floor(dt / unit * (1 + 1e-12)) * unit:.3g}")
