"""The Izhikevich loop, compiled from the very step functions of the model.

Forward calls them on float32. Backward calls them again on complex numbers for their derivative:
every step is a polynomial f, and the imaginary part of f(y + i eps) is eps f'(y) with no rounding
but that of f itself, since eps^2 vanishes beside 1 (Squire & Trapp, "Using complex variables to
estimate derivatives of real functions", SIAM Review, 1998). No derivative is written by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu import jump
from saltation.kernels.cpu.jit import INLINE, compiled, f32, kernel, source_of, spread
from saltation.kernels.cpu.jump import Jump, jump_of, jumped, slopes, spiked, through_jump
from saltation.neurons import izhikevich
from saltation.neurons.izhikevich import STEPS, Coefficients, IzhikevichNeuron
from saltation.surrogate import Surrogate

_SOURCE = source_of(izhikevich, jump)
_LEAST = 1024  # neurons that are worth a thread

for _name in ("_dv", "_dw", "doubled", "phi", "exponential"):
    compiled(getattr(izhikevich, _name))


# One type per scheme, so that numba compiles one loop per scheme from one text.
class Euler(Coefficients):
    """Numbers of an `euler` step."""


class Symplectic(Coefficients):
    """Numbers of a `symplectic` step."""


class SymplecticV(Coefficients):
    """Numbers of a `symplectic_v` step."""


class RK2(Coefficients):
    """Numbers of an `rk2` step."""


class RK4(Coefficients):
    """Numbers of an `rk4` step."""


class Squared(NamedTuple):
    """`ExponentialCoefficients` with the number of squarings as the length of a tuple.

    A length is part of the compiled type, a constant there; only so can the loop be unrolled, and
    the loop around it vectorised.
    """

    v_bound: float
    scale: float
    squarings: tuple[bool, ...]
    taylor: tuple[float, ...]


class Exponential(NamedTuple):
    """Numbers of an `exponential` step."""

    c: Coefficients
    e: Squared


_TYPES: dict[str, type[Coefficients]] = {
    "euler": Euler,
    "symplectic": Symplectic,
    "symplectic_v": SymplecticV,
    "rk2": RK2,
    "rk4": RK4,
}


def _numbers(neuron: IzhikevichNeuron) -> Coefficients | Exponential:
    c: Coefficients = f32(neuron.coefficients)
    if neuron.scheme != "exponential":
        return _TYPES[neuron.scheme](*c)
    bound, scale, squarings, taylor = neuron.exponential_coefficients
    e = f32(Squared(bound, scale, (True,) * squarings, taylor))
    return Exponential(c, e)


def advance(v: Any, w: Any, x: Any, c: Any) -> tuple[Any, Any]:
    """One step of the scheme whose numbers ``c`` are; for compiled code only."""
    raise NotImplementedError


@overload(advance, strict=False, jit_options=INLINE)  # not strict: the annotations differ
def _advance(v: Any, w: Any, x: Any, c: Any) -> Callable[..., Any]:
    for scheme, numbers in _TYPES.items():
        if c.instance_class is numbers:
            return STEPS[scheme]
    clipped = _clipped_complex if isinstance(v, types.Complex) else _clipped

    def exponential(v: Any, w: Any, x: Any, c: Any) -> Any:
        return izhikevich.exponential(v, w, x, clipped(v, c.e.v_bound), c.c, c.e)

    return exponential


@overload(izhikevich.doubled_times, strict=False, jit_options=INLINE)
def _doubled_times(
    times: Any, p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any
) -> Callable[..., Any]:
    chain = _chain(len(times))

    def unrolled(
        times: Any, p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any
    ) -> Any:
        return chain(p0, p1, e0, e1, t, d, half, two)

    return unrolled


@functools.cache
def _chain(times: int) -> Callable[..., Any]:
    """`izhikevich.doubled` so many times, without a loop."""
    if times == 0:

        @compiled
        def nothing(p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any) -> Any:
            return p0, p1, e0, e1

        return nothing
    before = _chain(times - 1)

    @compiled
    def link(p0: Any, p1: Any, e0: Any, e1: Any, t: Any, d: Any, half: Any, two: Any) -> Any:
        p0, p1, e0, e1 = before(p0, p1, e0, e1, t, d, half, two)
        return izhikevich.doubled(p0, p1, e0, e1, t, d, half, two)

    return link


@compiled
def _clipped(v: Any, bound: Any) -> Any:
    """``v.clamp(-bound, bound)``, which lets NaN through."""
    return -bound if v < -bound else (bound if v > bound else v)


@compiled
def _clipped_complex(v: Any, bound: Any) -> Any:
    """The same with its derivative: 0 where it clips."""
    if v.real < -bound:
        return np.complex64(-bound)
    return np.complex64(bound) if v.real > bound else v


@kernel
def _forward(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    w: NDArray[Any],
    s: NDArray[Any],
    h_v: NDArray[Any],
    h_w: NDArray[Any],
    c: Any,
    b: float,
    j: Jump,
    source: int = _SOURCE,
) -> None:
    """Neurons ``start ... stop`` over all steps; ``v``, ``w`` [N] go from the first to the last
    state.

    ``h_v``, ``h_w`` have one row that every step overwrites, or T rows where they are kept.
    """
    size = stop - start
    vs, ws = v[start:stop], w[start:stop]
    for t in range(len(x)):
        row = t % len(h_v)
        xs, ss = x[t, start:stop], s[t, start:stop]
        hvs, hws = h_v[row, start:stop], h_w[row, start:stop]
        for i in range(size):
            hvs[i], hws[i] = advance(vs[i], ws[i], xs[i], c)
        for i in range(size):
            spike = spiked(hvs[i], j)
            ss[i] = spike
            vs[i] = jumped(hvs[i], spike, j)
        for i in range(size):
            ws[i] = hws[i] + ss[i] * b


_PER_EPS = np.float32(2.0**50)
_I_EPS = np.complex64(2.0**-50 * 1j)


@kernel
def _backward(
    start: int,
    stop: int,
    x: NDArray[Any],
    first: tuple[NDArray[Any], NDArray[Any]],
    slope: NDArray[Any],
    h_v: NDArray[Any],
    h_w: NDArray[Any],
    g_s: NDArray[Any],
    g_v: NDArray[Any],
    g_w: NDArray[Any],
    g_x: NDArray[Any],
    scratch: NDArray[Any],
    c: Any,
    b: float,
    j: Jump,
    source: int = _SOURCE,
) -> None:
    """``g_v``, ``g_w`` [N] go from the gradient of the last state to that of the first.

    ``first`` is the state before the first step, ``scratch`` of [3, N].
    """
    size = stop - start
    gvs, gws = g_v[start:stop], g_w[start:stop]
    vs, ws, next_v = scratch[0, start:stop], scratch[1, start:stop], scratch[2, start:stop]
    for back in range(1, len(h_v) + 1):
        t = len(h_v) - back
        xs, gxs, gss = x[t, start:stop], g_x[t, start:stop], g_s[t, start:stop]
        ks, hvs = slope[t, start:stop], h_v[t, start:stop]
        for i in range(size):
            h, k = hvs[i], ks[i]
            gvs[i] = (gss[i] + j.through * b * gws[i]) * k + through_jump(
                gvs[i], h, spiked(h, j), k, j
            )
        if t == 0:
            vs, ws = first[0][start:stop], first[1][start:stop]
        else:
            hvs, hws = h_v[t - 1, start:stop], h_w[t - 1, start:stop]
            for i in range(size):
                vs[i] = jumped(hvs[i], spiked(hvs[i], j), j)
            for i in range(size):
                ws[i] = hws[i] + spiked(hvs[i], j) * b
        for i in range(size):
            dv, dw = advance(vs[i], ws[i], xs[i] + _I_EPS, c)
            gxs[i] = (gvs[i] * dv.imag + gws[i] * dw.imag) * _PER_EPS
        for i in range(size):
            dv, dw = advance(vs[i] + _I_EPS, ws[i], xs[i], c)
            next_v[i] = (gvs[i] * dv.imag + gws[i] * dw.imag) * _PER_EPS
        for i in range(size):
            dv, dw = advance(vs[i], ws[i] + _I_EPS, xs[i], c)
            gws[i] = (gvs[i] * dv.imag + gws[i] * dw.imag) * _PER_EPS
        for i in range(size):
            gvs[i] = next_v[i]


def _jump_of_w(neuron: IzhikevichNeuron) -> Any:
    return np.float32(0.0 if neuron.jump == "none" else neuron.b)


def forward(
    neuron: IzhikevichNeuron, x: Tensor, state: tuple[Tensor, ...], keep: bool
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """See `loop.Model`."""
    steps, size = x.shape
    v, w = (part.clone() for part in state)
    s = torch.empty_like(x)
    h_v, h_w = (torch.empty(steps if keep else 1, size) for _ in range(2))
    arrays = (part.numpy() for part in (x, v, w, s, h_v, h_w))
    numbers = _numbers(neuron), _jump_of_w(neuron), jump_of(neuron)
    spread(_forward, size, *arrays, *numbers, least=_LEAST)
    return s, (v, w), (h_v, h_w)


def backward(
    neuron: IzhikevichNeuron,
    surrogate: Surrogate,
    x: Tensor,
    state: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    h_v, h_w = kept
    g_v, g_w = (part.clone() for part in g_last)
    g_x, scratch = torch.empty_like(g_s), torch.empty(3, len(g_v))
    slope = slopes(surrogate, h_v, neuron.v_threshold)
    first = tuple(part.numpy() for part in state)
    arrays = (part.numpy() for part in (slope, h_v, h_w, g_s, g_v, g_w, g_x, scratch))
    numbers = _numbers(neuron), _jump_of_w(neuron), jump_of(neuron)
    spread(_backward, len(g_v), x.numpy(), first, *arrays, *numbers, least=_LEAST)
    return g_x, (g_v, g_w)
