"""A neuron from spike to spike and from one change of its input to the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from saltation.errors import SaltationError
from saltation.neurons import Neuron
from saltation.reference.closed_form import Leaky
from saltation.reference.crossing import integrate
from saltation.reference.equations import Equations
from saltation.reference.inputs import Pulses
from saltation.reference.passage import ENDLESS, Unsolved, Vector, check_finite

# A step of the solver may be wrong by so much of the tolerance, and no more than is rounded.
_SHARE, _FINEST = 0.01, 1e-13
# From so many spikes on a solution is taken not to get on.
_MOST = 1_000_000

# The state ``[n, K]`` at times ``[K]`` since the beginning of a piece.
Curve = Callable[[Vector], Vector]


class Run:
    """One neuron on its way.

    Attributes
    ----------
    spikes, times, states
        As in a `Solution`, so far.
    starts, curves
        When the pieces of the solution begin, and what they are.
    """

    def __init__(self, model: Neuron, state: Vector, rtol: float) -> None:
        self._model, self._trust = model, rtol
        self._rtol = max(_SHARE * rtol, _FINEST)
        # Without the steps that a refractory time is counted in.
        self._jumping = model.with_values({"refractory": 0.0})
        self._equations = Equations(self._jumping)
        plain = type(model).threshold is Neuron.threshold
        self._leaky = Leaky(self._jumping) if plain and Leaky.applies(self._jumping) else None
        self._state, self._time, self._held = state, 0.0, 0.0
        self.spikes: list[float] = []
        self.times, self.states = [0.0], [state]
        self.starts: list[float] = []
        self.curves: list[Curve] = []
        self._size = self._sizes()

    def through(self, pulses: Pulses, end: float) -> None:
        """Up to the end of time."""
        current = pulses.current
        stops = np.unique(np.concatenate([current.times, pulses.times, [end]]))
        stops = stops[stops <= end]
        piece = np.searchsorted(current.times, stops, "right") - 1
        begin = np.searchsorted(pulses.times, stops, "left")
        until = np.searchsorted(pulses.times, stops, "right")
        x = 0.0
        try:
            for k, stop in enumerate(stops.tolist()):
                self._advance(x, stop)
                x = float(current.values[piece[k]])
                if until[k] > begin[k]:
                    self._kick(x, float(pulses.charges[begin[k] : until[k]].sum()))
                self._at_once(x)
        except Unsolved as reason:
            state = ", ".join(f"{part:.6g}" for part in self._state)
            raise SaltationError(
                f"{self._model.title} at time {self._time:g} {reason} (state {state}, input {x:g}, "
                f"jump '{self._model.jump}')"
            ) from None
        last = self._state
        self._piece(self._time, lambda s: np.tile(last[:, None], len(s)))

    def _advance(self, x: float, stop: float) -> None:
        while self._time < stop:
            if self._held > self._time:
                self._wait(x, min(self._held, stop))
                if self._held <= self._time:
                    self._at_once(x)
                continue
            spent, spiked = self._stretch(x, stop - self._time)
            # Not the sum: the last of many stretches ends where it should.
            self._move_to(self._time + spent if spiked else stop, self._state)
            if spiked:
                self._spike(x)

    def _stretch(self, x: float, time: float) -> tuple[float, bool]:
        """From below the threshold to the next spike, within ``time``."""
        u, start = self._state, self._time
        leaky = self._leaky
        if leaky is not None:
            self._state, spent, spiked = leaky.solve(u, x, time)
            self._piece(start, lambda s: np.stack([leaky.state(u, x, t) for t in s.tolist()], 1))
            return spent, spiked
        watch = _Watch(self._equations, x, self._trust * self._size[0])
        arrival = self._integrated(x, u, time, watch)
        self._state = arrival.y.copy()
        above = float(watch.gap(self._state))
        if arrival.spiked:
            self._state[0] -= above
        elif above >= 0:  # creeping towards it, by rounding
            self._state[0] = np.nextafter(self._state[0] - above, -np.inf)
        return arrival.spent, arrival.spiked

    def _wait(self, x: float, stop: float) -> None:
        """The potential held, the others on their way."""
        arrival = self._integrated(x, self._state, stop - self._time, None)
        self._move_to(stop, arrival.y)

    def _integrated(self, x: float, u: Vector, time: float, watch: _Watch | None) -> Any:
        equations, held = self._equations, watch is None

        def rate(_: float, y: Vector) -> Vector:
            f = equations.velocity(x, y)
            if held:
                f[0] = 0.0
            return f

        atol = self._rtol * self._size
        arrival = integrate(rate, u, time, watch, self._rtol, atol)
        for begin, end, curve in arrival.pieces:
            # A piece's own time starts with it; the solver's with the stretch.
            self._piece(self._time + begin, partial(_later, curve, begin))
            if end < arrival.spent:
                self.times.append(self._time + end)
                self.states.append(curve(end))
        np.maximum(self._size, np.abs(arrival.y), out=self._size)
        return arrival

    def _piece(self, start: float, curve: Curve) -> None:
        self.starts.append(start)
        self.curves.append(curve)

    def _move_to(self, time: float, state: Vector) -> None:
        self._time, self._state = time, state
        self.times.append(time)
        self.states.append(state)

    def _spike(self, x: float) -> None:
        """The jump, where the potential crosses its threshold."""
        after = self._jump()
        if self._equations.gap(after) >= 0 and not self._model.refractory:
            raise ENDLESS
        self._land(after)

    def _at_once(self, x: float) -> None:
        """Spikes of a state that is at or above its threshold."""
        while self._held <= self._time and (above := self._equations.gap(self._state)) >= 0:
            after = self._jump()
            if self._equations.gap(after) >= above and not self._model.refractory:
                raise ENDLESS
            self._land(after)

    def _jump(self) -> Vector:
        state = type(self._jumping).State(*self._state.tolist())
        after = np.array([float(part) for part in self._jumping.apply_jump(state, 1.0)])
        check_finite(after)
        return after

    def _land(self, after: Vector) -> None:
        self.spikes.append(self._time)
        if len(self.spikes) > _MOST:
            raise Unsolved(f"has spiked more than {_MOST:,} times; take a shorter t_end")
        if self._model.refractory:
            self._held = self._time + self._model.refractory
        np.maximum(self._size, np.abs(after), out=self._size)
        self._move_to(self._time, after)

    def _kick(self, x: float, charge: float) -> None:
        """The limit of a short current: ``du/dq = df/dx``, for the time of the charge."""
        held = self._held > self._time

        def gain(u: Vector) -> Vector:
            g = self._equations.gain(x, u)
            if held:
                g[0] = 0.0
            return g

        u = self._state
        first = gain(u)
        other = self._equations.gain(x + 1.0 + abs(x), u)
        if not np.allclose(other[held:], first[held:], rtol=1e-12, atol=0):
            raise Unsolved("takes no pulses: its velocity is not linear in the current")
        after = u + charge * first
        middle = gain((u + after) / 2)
        if not all(np.allclose(g, first, rtol=1e-12, atol=0) for g in (middle, gain(after))):
            way = integrate(
                lambda _, y: charge * gain(y), u, 1.0, None, self._rtol, self._rtol * self._size
            )
            after = way.y
        check_finite(after)
        np.maximum(self._size, np.abs(after), out=self._size)
        self._move_to(self._time, after)

    def _sizes(self) -> Vector:
        """The magnitude of every variable, which absolute tolerances are taken of."""
        n, u = self._equations.count, self._state
        size = np.abs(u)
        size[0] = max(size[0], abs(float(self._model.v_threshold)), abs(float(self._model.v_reset)))
        # As far as a few short steps from here lead, of those that start at zero.
        h = self._model.dt / 16
        with np.errstate(all="ignore"):
            for _ in range(n + 1):
                u = u + h * self._equations.velocity(1.0, u)
                size = np.fmax(size, np.where(np.isfinite(u), np.abs(u), 0.0))
        return np.where(size > 0, size, 1.0)


def _later(curve: Curve, begin: float, s: Vector) -> Vector:
    return curve(begin + s)


class _Watch:
    """The potential against the threshold, under one current."""

    def __init__(self, equations: Equations, x: float, tolerance: float) -> None:
        self._equations, self._x, self.tolerance = equations, x, tolerance

    def gap(self, states: Vector) -> Any:
        return self._equations.gap(states)

    def speed(self, states: Vector) -> Any:
        return self._equations.speed(self._x, states)

    def turn(self, state: Vector) -> float:
        return self._equations.turn(self._x, state)
