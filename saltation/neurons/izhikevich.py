"""Izhikevich's quadratic integrate-and-fire with adaptation, in SpikingJelly's parameters.

ODE         tau   dv/dt = a0 (v - v_rest) (v - v_c) - w + x
            tau_w dw/dt = a (v - v_rest) - w
condition   v >= v_threshold
jump        v = v_reset (hard), v - v_threshold (soft) or v (none);  w = w + b

Source: Izhikevich, "Simple model of spiking neurons", IEEE Trans. Neural Networks, 2003; the
normal form used here: Gerstner et al., "Neuronal Dynamics", 2014, chapter 6.

The steps below are bare arithmetic on ``v``, ``w``, ``x`` and coefficients that all come from one
tuple, so that the same functions serve torch tensors of any dtype and compiled loops: a literal
would widen the arithmetic of a float32 loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import positive
from saltation.neurons.base import Neuron, Spike


class IzhikevichState(NamedTuple):
    """State of `IzhikevichNeuron`: potential ``v`` and adaptation ``w``, each ``[B, ...]``."""

    v: Tensor
    w: Tensor


class Coefficients(NamedTuple):
    """All numbers one step needs."""

    z: float  # dt / tau
    z_w: float  # dt / tau_w
    a0: float
    a: float
    v_rest: float
    v_c: float
    half: float
    two: float
    sixth: float
    # Entries of the Jacobian: products, so that loops of any precision round them alike.
    z_a0: float
    j_wv: float  # z_w a
    cross: float  # -z z_w a, the product of the entries off the diagonal


def _dv(v: Any, w: Any, x: Any, c: Coefficients) -> Any:
    """The change ``dt dv/dt`` of the potential."""
    return c.z * (c.a0 * (v - c.v_rest) * (v - c.v_c) - w + x)


def _dw(v: Any, w: Any, c: Coefficients) -> Any:
    """The change ``dt dw/dt`` of the adaptation."""
    return c.z_w * (c.a * (v - c.v_rest) - w)


def euler(v: Any, w: Any, x: Any, c: Coefficients) -> tuple[Any, Any]:
    """Both from the old ``(v, w)``."""
    return v + _dv(v, w, x, c), w + _dw(v, w, c)


def symplectic(v: Any, w: Any, x: Any, c: Coefficients) -> tuple[Any, Any]:
    """``w`` from the old ``v``, then ``v`` from the old ``v`` and the new ``w``."""
    w = w + _dw(v, w, c)
    return v + _dv(v, w, x, c), w


def symplectic_v(v: Any, w: Any, x: Any, c: Coefficients) -> tuple[Any, Any]:
    """``v`` from the old ``(v, w)``, then ``w`` from the new ``v``."""
    v = v + _dv(v, w, x, c)
    return v, w + _dw(v, w, c)


def rk2(v: Any, w: Any, x: Any, c: Coefficients) -> tuple[Any, Any]:
    """Heun's method."""
    v1, w1 = _dv(v, w, x, c), _dw(v, w, c)
    v2, w2 = _dv(v + v1, w + w1, x, c), _dw(v + v1, w + w1, c)
    return v + c.half * (v1 + v2), w + c.half * (w1 + w2)


def rk4(v: Any, w: Any, x: Any, c: Coefficients) -> tuple[Any, Any]:
    """The classical Runge-Kutta method."""
    v1, w1 = _dv(v, w, x, c), _dw(v, w, c)
    vm, wm = v + c.half * v1, w + c.half * w1
    v2, w2 = _dv(vm, wm, x, c), _dw(vm, wm, c)
    vm, wm = v + c.half * v2, w + c.half * w2
    v3, w3 = _dv(vm, wm, x, c), _dw(vm, wm, c)
    vm, wm = v + v3, w + w3
    v4, w4 = _dv(vm, wm, x, c), _dw(vm, wm, c)
    return (
        v + c.sixth * (v1 + c.two * (v2 + v3) + v4),
        w + c.sixth * (w1 + c.two * (w2 + w3) + w4),
    )


STEPS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "euler": euler,
    "symplectic": symplectic,
    "symplectic_v": symplectic_v,
    "rk2": rk2,
    "rk4": rk4,
}

# Degree of the Taylor polynomial of phi_1 and the norm it is used up to: 0.25**12 / 13! < 1e-17.
TAYLOR = tuple(1 / math.factorial(k + 1) for k in range(12))
_TAYLOR_NORM = 0.25
# The Jacobian is evaluated within this many times the neuron's own range of potentials. Any
# Jacobian leaves the method consistent, and a fixed range fixes the number of squarings.
_RANGE = 32.0


class ExponentialCoefficients(NamedTuple):
    """What the exponential step needs beside `Coefficients`."""

    v_bound: float  # the Jacobian is evaluated at v clipped to [-v_bound, v_bound]
    scale: float  # 2 ** -squarings
    squarings: int
    taylor: tuple[float, ...] = TAYLOR


def doubled(
    p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any
) -> tuple[Any, Any, Any, Any]:
    """From ``phi_1(S) = p0 I + p1 S`` and ``E = e0 I + e1 S`` to those of 2S, in powers of S."""
    return (
        p0 + half * (p0 * e0 - p1 * e1 * d),
        p1 + half * (p0 * e1 + p1 * e0 + p1 * e1 * t),
        e0 * e0 - e1 * e1 * d + two * e0,
        two * e0 * e1 + e1 * e1 * t + two * e1,
    )


def doubled_times(
    times: int, p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any
) -> tuple[Any, Any, Any, Any]:
    """`doubled` so many times; compiled loops put a chain of calls in its place."""
    for _ in range(times):
        p0, p1, e0, e1 = doubled(p0, p1, e0, e1, t, d, half, two)
    return p0, p1, e0, e1


def phi(trace: Any, det: Any, e: ExponentialCoefficients, half: Any, two: Any) -> tuple[Any, Any]:
    """``phi_1(M) = M^-1 (exp(M) - 1) = p I + q M`` of 2 x 2 matrices, by scaling and squaring.

    By Cayley and Hamilton every function of M is ``p I + q M``, so the algorithm (Al-Mohy & Higham,
    2009, in its plainest form) runs on pairs of numbers and needs only M's trace and determinant.
    With S = 2^-k M and E = exp(S) - I, doubling is ``phi_1(2S) = phi_1(S) (I + E / 2)`` and
    ``E(2S) = E^2 + 2 E``, which loses no digits for small S.
    """
    t, d = e.scale * trace, e.scale * e.scale * det
    p0, p1 = e.taylor[-2], e.taylor[-1]
    for coefficient in e.taylor[-3::-1]:
        p0, p1 = coefficient - p1 * d, p0 + p1 * t
    e0, e1 = -p1 * d, p0 + p1 * t
    p0, p1, _, _ = doubled_times(e.squarings, p0, p1, e0, e1, t, d, half, two)
    return p0, e.scale * p1


def exponential(
    v: Any, w: Any, x: Any, v_clipped: Any, c: Coefficients, e: ExponentialCoefficients
) -> tuple[Any, Any]:
    """Rosenbrock-Euler: ``y + phi_1(dt J(y)) dt f(y)``, J the Jacobian at the start of the step."""
    j_vv = c.z_a0 * (c.two * v_clipped - c.v_rest - c.v_c)
    j_vw, j_wv, j_ww = -c.z, c.j_wv, -c.z_w
    p, q = phi(j_vv + j_ww, j_vv * j_ww - c.cross, e, c.half, c.two)
    dv, dw = _dv(v, w, x, c), _dw(v, w, c)
    return (
        v + p * dv + q * (j_vv * dv + j_vw * dw),
        w + p * dw + q * (j_wv * dv + j_ww * dw),
    )


@dataclass(frozen=True)
class IzhikevichNeuron(Neuron):
    """Izhikevich neuron: quadratic potential with adaptation.

    ``tau dv/dt = a0 (v - v_rest) (v - v_c) - w + x``, ``tau_w dw/dt = a (v - v_rest) - w``; spike
    where ``v >= v_threshold``; then ``v = v_reset``, ``w = w + b`` (Izhikevich, 2003, in
    SpikingJelly's parameters). v starts at v_reset, w at w_rest.

    Parameters
    ----------
    tau, tau_w : float, default 2
        Time constants of potential and adaptation, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential`` (Rosenbrock-Euler), ``symplectic`` (w first), ``symplectic_v``
        (v first; SpikingJelly's), ``rk2`` or ``rk4``. In all of them w is updated before the spike
        is tested.
    v_c, a0, v_rest : float, default 0.8, 1, -0.1
        Critical potential, steepness and resting potential of the quadratic.
    a, b : float, default 0.02, 0.2
        Coupling of w to v below threshold, and the jump of w at a spike.
    v_threshold, v_reset, w_rest : float, default 1, 0, 0
        Threshold, reset and initial potential, initial adaptation.
    jump : str, default "hard"
        ``hard``, ``soft`` or ``none`` for the potential; w jumps by b in ``hard`` and ``soft``.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.
    """

    tau: float = 2.0
    dt: float = 1.0
    scheme: str = "exponential"
    v_c: float = 0.8
    a0: float = 1.0
    v_rest: float = -0.1
    tau_w: float = 2.0
    a: float = 0.02
    b: float = 0.2
    v_threshold: float = 1.0
    v_reset: float = 0.0
    w_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "izhikevich"
    title = "Izhikevich"
    State = IzhikevichState
    schemes = (*STEPS, "exponential")
    jumps = ("hard", "soft", "none")

    def __post_init__(self) -> None:
        for k in ("tau", "tau_w", "dt"):
            positive(f"Izhikevich {k}", getattr(self, k))
        super().__post_init__()

    @classmethod
    def why_not(cls, scheme: str) -> str:
        return "it is implicit, and the model is nonlinear"

    @cached_property
    def coefficients(self) -> Coefficients:
        z, z_w = self.dt / self.tau, self.dt / self.tau_w
        return Coefficients(
            z=z,
            z_w=z_w,
            a0=self.a0,
            a=self.a,
            v_rest=self.v_rest,
            v_c=self.v_c,
            half=0.5,
            two=2.0,
            sixth=1 / 6,
            z_a0=z * self.a0,
            j_wv=z_w * self.a,
            cross=-z * (z_w * self.a),
        )

    @cached_property
    def exponential_coefficients(self) -> ExponentialCoefficients:
        c = self.coefficients
        scale = max(abs(u) for u in (self.v_rest, self.v_c, self.v_threshold, self.v_reset))
        bound = _RANGE * scale
        j_vv = c.z * abs(c.a0) * (2 * bound + abs(c.v_rest) + abs(c.v_c))
        norm = max(j_vv + c.z, c.z_w * (1 + abs(c.a)))
        squarings = max(0, math.ceil(math.log2(norm / _TAYLOR_NORM)))
        return ExponentialCoefficients(bound, 2.0**-squarings, squarings)

    @property
    def jacobian(self) -> NDArray[Any]:
        """At the resting state ``(v_rest, 0)``, a fixed point for every choice of parameters."""
        return np.array(
            [
                [self.a0 * (self.v_rest - self.v_c) / self.tau, -1 / self.tau],
                [self.a / self.tau_w, -1 / self.tau_w],
            ]
        )

    def velocity(self, x: Any, state: IzhikevichState) -> IzhikevichState:
        v, w = state
        return IzhikevichState(
            (self.a0 * (v - self.v_rest) * (v - self.v_c) - w + x) / self.tau,
            (self.a * (v - self.v_rest) - w) / self.tau_w,
        )

    def rest(self, like: Tensor) -> IzhikevichState:
        return IzhikevichState(
            torch.full_like(like, self.v_reset), torch.full_like(like, self.w_rest)
        )

    def integrate(self, x: Tensor, state: IzhikevichState, spike: Spike) -> IzhikevichState:
        v, w = state
        if self.scheme == "exponential":
            e = self.exponential_coefficients
            clipped = v.clamp(-e.v_bound, e.v_bound)
            return IzhikevichState(*exponential(v, w, x, clipped, self.coefficients, e))
        return IzhikevichState(*STEPS[self.scheme](v, w, x, self.coefficients))

    def apply_jump(self, h: IzhikevichState, s: Tensor) -> IzhikevichState:
        w = h.w if self.jump == "none" else h.w + s * self.b
        return IzhikevichState(self.jump_potential(h.v, s), w)
