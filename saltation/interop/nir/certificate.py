"""How far a scheme and a step are from a graph's equations.

Every kind of neurons in the graph is driven by constant currents, alone. Below threshold the
potential is compared at the same times, above it the first spike and the rate. What they are
compared with is the exact solution between spikes, whose crossings of the threshold are found by
halving steps.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from saltation.errors import DataError, choose, positive
from saltation.interop.nir.graph import NEURONS, graph_of
from saltation.interop.nir.maps import PEERS, Map, RefusedByError, Values, of_scheme
from saltation.interop.nir.nodes import parameters
from saltation.schemes import SCHEMES

# Currents, in those that just reach threshold: one below it, and some above.
_BELOW, _ABOVE = 0.9, (1.2, 2.0, 4.0)
_PARTS, _HALVINGS = 50, 24  # exact steps in the shortest time constant, and of such a step
_LONG = 20  # time constants for which rates are counted
_MOST, _SPIKES = 50_000, 32  # steps, and spikes, of one run


class Row(NamedTuple):
    """What one library's step of one node's neurons does.

    Attributes
    ----------
    node, who
        The node, and saltation or a peer.
    dt
        Length of the step.
    words
        What the step is, or why there is none.
    potential
        Largest difference of the potential below threshold, of the way from rest to threshold.
    first_spike
        Mean of first spike time minus the exact one, in steps.
    rate
        Mean of the relative difference of the rate.
    """

    node: str
    who: str
    dt: float
    words: str
    potential: float = math.nan
    first_spike: float = math.nan
    rate: float = math.nan


@dataclass(frozen=True)
class Certificate:
    """Distances of discretisations from a graph's equations; printed as a table.

    Attributes
    ----------
    rows : list of Row
        For every node of neurons: saltation's scheme first, then what others compute from it.
    scheme, dt
        Of saltation.
    """

    scheme: str
    dt: float
    rows: list[Row] = field(default_factory=list)

    def __str__(self) -> str:
        head = ("node", "who", "dt", "potential", "first spike", "rate", "step")
        lines = [head]
        for row in self.rows:
            known = not math.isnan(row.potential)
            numbers = (
                f"{row.potential:.2%}" if known else "",
                f"{row.first_spike:+.2f} dt" if not math.isnan(row.first_spike) else "",
                f"{row.rate:+.2%}" if not math.isnan(row.rate) else "",
            )
            lines.append((row.node, row.who, f"{row.dt:g}", *numbers, row.words))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(c.ljust(w) for c, w in zip(one, widths, strict=True)).rstrip()
            for one in lines
        ]
        return "\n".join(
            [
                f"Steps of '{self.scheme}' with dt = {self.dt:g} against the graph's equations: "
                "potential below threshold, first spike and rate above it",
                *table,
            ]
        )


def certificate(graph: str | Path | Any, *, scheme: str, dt: float) -> Certificate:
    """How far ``scheme`` and ``dt`` are from the equations of a NIR graph, and others' steps too.

    Of neurons that differ within a node, the one with the shortest time constant is looked at.

    Parameters
    ----------
    graph : path or nir.NIRGraph
        A file, or a graph in memory.
    scheme, dt
        As for `load`.

    Raises
    ------
    DataError
        As in `load`, or if the graph has no neurons.
    SaltationError
        If scheme or dt are none, or a model in the graph has no such scheme.

    Examples
    --------
    >>> print(st.nir.certificate("braille.nir", scheme="euler", dt=1e-4))
    """
    choose("scheme", scheme, SCHEMES)
    dt = positive("dt", dt)
    found = graph_of(graph)
    rows: list[Row] = []
    seen: dict[Any, str] = {}
    for name, node in found.nodes.items():
        if node.kind not in NEURONS:
            continue
        values = _fastest(node.fields)
        key = (node.kind, tuple(sorted(values.items())))
        if key in seen:
            rows.append(Row(name, "all", dt, f"as node '{seen[key]}'"))
            continue
        seen[key] = name
        rows += _rows(name, node.kind, values, scheme, dt)
    if not rows:
        raise DataError(f"{found.source} has no neurons that spike: there is nothing to certify")
    return Certificate(scheme, dt, rows)


def _fastest(fields: dict[str, Any]) -> Values:
    """The parameters of the neuron with the shortest time constant."""
    arrays = {n: np.asarray(a, np.float64) for n, a in fields.items()}
    times = [a for n, a in arrays.items() if n.startswith("tau")]
    place = 0
    if times:
        shortest = np.min([np.broadcast_to(t, np.shape(times[0])) for t in times], axis=0)
        place = int(np.argmin(shortest))
    return {
        name: float(a.reshape(-1)[min(place, a.size - 1)])
        for name, a in {"v_reset": np.zeros(1), "w_in": np.ones(1), **arrays}.items()
    }


def _rows(name: str, kind: str, values: Values, scheme: str, dt: float) -> list[Row]:
    exact = _Exact(kind, values, dt)
    rows = [_compared(name, "saltation", _map(kind, values, scheme, dt), exact)]
    for who, made in PEERS.items():
        try:
            theirs = made(kind, values, dt)
        except RefusedByError as why:
            rows.append(Row(name, who, dt, f"not imported: {why}"))
        else:
            rows.append(_compared(name, who, theirs, exact))
    return rows


def _map(kind: str, values: Values, scheme: str, dt: float) -> Map:
    arrays = {n: np.asarray(v) for n, v in values.items() if n != "w_in" or kind == "CubaLIF"}
    model, own = parameters(kind, arrays, scheme)
    with warnings.catch_warnings(), torch.device("cpu"):
        warnings.simplefilter("ignore")
        return of_scheme(model(**own, scheme=scheme, dt=dt), values, SCHEMES[scheme].title)


class _Exact:
    """The exact solution of one neuron for a constant current.

    Attributes
    ----------
    reach
        The current that just reaches the threshold, without one that leaks the one that does in
        ``span``; 0 where none is needed.
    way
        From rest to threshold.
    span
        The longest time constant, or `_LONG` steps where there is none.
    """

    def __init__(self, kind: str, values: Values, dt: float) -> None:
        self._kind, self._values = kind, values
        times = [v for n, v in values.items() if n.startswith("tau")]
        self.leaks, self.span = bool(times), max(times, default=_LONG * dt)
        self.way = values["v_threshold"] - values.get("v_leak", values["v_reset"])
        gain = values["r"] * (values["w_in"] if kind == "CubaLIF" else 1.0)
        gain *= 1.0 if self.leaks else self.span
        self.reach = self.way / gain if gain and self.way > 0 else 0.0
        # Time constants may be of any ratio; what is exact may take longer steps.
        self._step = max(min(times, default=self.span) / _PARTS, _LONG * self.span / _MOST)
        self._maps = [self.over(self._step / 2**k) for k in range(_HALVINGS)]

    def over(self, dt: float) -> Map:
        """The exact step of some length."""
        return _map(self._kind, self._values, "exponential", dt)

    def spikes(self, x: float, span: float) -> list[float]:
        """Times of the spikes, `_SPIKES` at most."""
        first, threshold = self._maps[0], self._maps[0].threshold
        state, time = first.start, 0.0
        times: list[float] = []
        while time < span and len(times) < _SPIKES:
            after = first.step(x, state)
            if after[0] <= threshold:
                state, time = after, time + self._step
                continue
            for one in self._maps[1:]:  # up to just before the crossing
                after = one.step(x, state)
                if after[0] <= threshold:
                    state, time = after, time + one.dt
            times.append(time)
            state = (first.jump(state[0]), *state[1:])
        return times


def _compared(name: str, who: str, one: Map, exact: _Exact) -> Row:
    """A map against the exact solution, at currents around the one that just reaches threshold."""
    words = f"{one.words} ({one.notes})" if one.notes else one.words
    row = Row(name, who, one.dt, words)
    if not exact.reach:
        return row._replace(words=f"{words}; it spikes without input, so nothing is compared")
    whole = exact.over(one.dt)
    span = exact.span * (5 if exact.leaks else 1)
    potential = _potentials(one, whole, _BELOW * exact.reach, span) / exact.way
    firsts, rates = [], []
    for level in _ABOVE:
        true = exact.spikes(level * exact.reach, _LONG * exact.span)
        given = _spikes(one, level * exact.reach, _LONG * exact.span)
        firsts.append((given[0] - true[0]) / one.dt if given else math.nan)
        rates.append((_rate(given) - _rate(true)) / _rate(true))
    return row._replace(
        potential=potential, first_spike=float(np.mean(firsts)), rate=float(np.mean(rates))
    )


def _potentials(one: Map, whole: Map, x: float, span: float) -> float:
    """Largest difference of the potential at the ends of the steps."""
    state, other, largest = one.start, whole.start, 0.0
    for _ in range(min(max(1, round(span / one.dt)), _MOST)):
        state, other = one.step(x, state), whole.step(x, other)
        largest = max(largest, abs(state[0] - other[0]))
        if not largest < 1e12:
            return math.inf
    return largest


def _spikes(one: Map, x: float, span: float) -> list[float]:
    """Times of the spikes, at the ends of their steps, `_SPIKES` at most."""
    state: tuple[float, ...] = one.start
    times: list[float] = []
    for step in range(1, min(round(span / one.dt), _MOST) + 1):
        state = one.step(x, state)
        if state[0] > one.threshold:
            times.append(step * one.dt)
            state = (one.jump(state[0]), *state[1:])
            if len(times) == _SPIKES:
                break
        if not math.isfinite(state[0]):
            break
    return times


def _rate(times: list[float]) -> float:
    """Spikes per time, by the intervals between them."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
