"""Leaky neurons between spikes in closed form: LIF, and LIF behind a synaptic current.

With rates a and b, ``dv/dt = f_v`` and ``di/dt = f_i`` at the beginning, and c the gain of i in
dv/dt, after a time s

    v = v(0) + f_v psi_a + c f_i D      psi_r = (1 - exp(-r s)) / r
    i = i(0) + f_i psi_b                K = (exp(-a s) - exp(-b s)) / (b - a),  D its integral
    dv/dt = f_v exp(-a s) + c f_i K

dv/dt is zero at most once, so v rises in one interval at most, and its spikes are found however
short they are above threshold. Source: Rotter & Diesmann, Biol. Cybern. 81, 1999.
"""

from __future__ import annotations

import math

import numpy as np

from saltation.neurons import Neuron
from saltation.reference.passage import TOUCHES, Vector, at_end, below, check_finite

# Rounding of a potential, in units of the terms that add up to it.
_ROUNDING = 64 * np.finfo(np.float64).eps


class Leaky:
    """The solution of a neuron whose Jacobian is upper triangular and the same everywhere.

    Parameters
    ----------
    model
        With one variable or two, v first; see `applies`.
    """

    def __init__(self, model: Neuron) -> None:
        self._model = model
        self._threshold = float(model.v_threshold)
        jacobian = model.jacobian
        self.a = -float(jacobian[0, 0])
        self.b, self.c = self.a, 0.0
        if len(jacobian) == 2:
            self.b, self.c = -float(jacobian[1, 1]), float(jacobian[0, 1])

    @staticmethod
    def applies(model: Neuron) -> bool:
        """Whether the model is of this kind."""
        if not model.linear or len(model.jacobian) > 2:
            return False
        return bool(
            (np.tril(model.jacobian, -1) == 0).all() and (np.diag(model.jacobian) < 0).all()
        )

    def solve(self, u: Vector, x: float, time: float) -> tuple[Vector, float, bool]:
        """From state ``u`` below threshold with input ``x``: the state at the end, before the jump,
        the time it takes, and whether it ends with a spike.
        """
        f_v, f_i = self._velocity(u, x)
        arrival = self._arrival(float(u[0]), f_v, self.c * f_i, time)
        s = time if arrival is None else arrival
        end = self.state(u, x, s)
        end[0] = below(float(end[0]), self._threshold) if arrival is None else self._threshold
        check_finite(end)
        return end, s, arrival is not None

    def state(self, u: Vector, x: float, s: float) -> Vector:
        """The state after ``s``, without a spike."""
        f_v, f_i = self._velocity(u, x)
        end = u.copy()
        end[0] = self._potential(float(u[0]), f_v, self.c * f_i, s)
        if len(u) == 2:
            end[1] += f_i * psi(self.b, s)
        return end

    def _velocity(self, u: Vector, x: float) -> tuple[float, float]:
        velocity = [float(part) for part in self._model.velocity(x, *u.tolist())]
        check_finite(velocity)
        return velocity[0], velocity[-1]

    def _potential(self, v: float, f_v: float, kick: float, s: float) -> float:
        return v + f_v * psi(self.a, s) + (kick * _twice(self.a, self.b, s) if kick else 0.0)

    def _speed(self, f_v: float, kick: float, s: float) -> float:
        return f_v * math.exp(-self.a * s) + kick * _once(self.a, self.b, s)

    def _arrival(self, v: float, f_v: float, kick: float, time: float) -> float | None:
        """When v, below threshold, reaches it within ``time``."""
        start, end, peaks = self._rise(f_v, kick, time)
        if start >= end:
            return None
        # Without a peak to come it rises for ever, towards v + f_v / a + kick / (a b).
        missing = self._threshold - v
        far = f_v + kick / self.b - self.a * missing
        if not peaks and self._rise(f_v, kick, math.inf)[1] == math.inf and far <= 0:
            return None
        gap = self._potential(v, f_v, kick, end) - self._threshold
        speed = self._speed(f_v, kick, end)
        # What adds up to the potential, and how far it gets in the time that a step is rounded by.
        terms = [abs(v), abs(self._threshold), abs(f_v) * psi(self.a, end)]
        terms += [abs(kick) * _twice(self.a, self.b, end), abs(speed) * self._model.dt]
        tolerance = _ROUNDING * sum(terms)
        if peaks:
            if abs(gap) <= tolerance:
                raise TOUCHES
            if gap < 0:
                return None
        elif not at_end(gap, speed, time, tolerance):
            return None
        elif gap <= tolerance:
            return end
        if not kick:
            return min(math.log1p(missing * self.a / far) / self.a, end)
        from scipy.optimize import brentq  # slow to import

        def above(s: float) -> float:
            return self._potential(v, f_v, kick, s) - self._threshold

        return float(brentq(above, start, end, xtol=1e-300, rtol=1e-15, maxiter=2000))

    def _rise(self, f_v: float, kick: float, time: float) -> tuple[float, float, bool]:
        """Where v rises within ``time``, from and to, and whether it has its maximum there."""
        turn = self._turn(f_v, kick)
        if f_v > 0 or (f_v == 0 and kick > 0):
            return 0.0, min(turn, time), turn <= time and turn < math.inf
        return min(turn, time), time, False

    def _turn(self, f_v: float, kick: float) -> float:
        """The time after 0 at which dv/dt is zero, or infinity."""
        if f_v == 0 or kick == 0 or (f_v > 0) == (kick > 0):
            return math.inf
        ratio, gap = -f_v / kick, self.b - self.a
        if ratio * gap >= 1:
            return math.inf
        return -math.log1p(-ratio * gap) / gap if gap else ratio


def psi(rate: float, s: float) -> float:
    """``(1 - exp(-rate s)) / rate``, the integral of the decay."""
    return -math.expm1(-rate * s) / rate if rate * s else s


def _once(a: float, b: float, s: float) -> float:
    """``K = (exp(-a s) - exp(-b s)) / (b - a)``."""
    return math.exp(-min(a, b) * s) * psi(abs(b - a), s)


def _twice(a: float, b: float, s: float) -> float:
    """The integral ``D`` of K from 0 to s."""
    fast = max(a, b)
    if fast * s >= 1:
        return (psi(min(a, b), s) - _once(a, b, s)) / fast
    # The difference would lose the digits of a short time; a series has them.
    total, power, mean = 0.0, s * s / 2, 1.0
    b_power, order = 1.0, 0
    while abs(power * mean) > 1e-18 * total:
        total += power * mean
        order += 1
        b_power *= b
        mean = a * mean + b_power
        power *= -s / (order + 2)
    return total
