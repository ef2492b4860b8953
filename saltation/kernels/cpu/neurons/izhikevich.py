"""The Izhikevich loop, compiled from the very step functions of the model.

Forward calls them on numbers, backward on dual numbers, which give the derivative of every step in
the directions of current, potential and adaptation. No derivative is written by hand.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.fused import fused
from saltation.kernels.cpu.neurons.fused_backward import fused_backward
from saltation.kernels.cpu.neurons.jump import Jump, chosen, jump_of, jumped, spiked, through_jump
from saltation.kernels.cpu.neurons.slope import slope, slope_numbers
from saltation.kernels.cpu.neurons.vector import Dual, rowwise
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.jit import f32, kernel
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread
from saltation.neurons import izhikevich
from saltation.neurons.izhikevich import (
    STEPS,
    Coefficients,
    ExponentialCoefficients,
    IzhikevichNeuron,
)
from saltation.surrogate import Surrogate

_LEAST = 1024  # neurons that are worth a thread
_BLOCK = 1024  # neurons that go through all steps together, so that their state stays in cache
_CACHED = 2**15  # states of a block, all steps, that stay in cache


# One type per scheme, so that one text is compiled to one loop per scheme.
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


class Exponential(NamedTuple):
    """Numbers of an `exponential` step; of ``e``, the squarings are as many booleans: a length is
    part of the compiled type, a constant there."""

    c: Coefficients
    e: ExponentialCoefficients


_TYPES: dict[str, type[Coefficients]] = {
    "euler": Euler,
    "symplectic": Symplectic,
    "symplectic_v": SymplecticV,
    "rk2": RK2,
    "rk4": RK4,
}
_NAMES = {numbers: name for name, numbers in _TYPES.items()}

# Schemes of one stage: with a quadratic current, the derivative of a step depends on the potential
# alone. Backward needs neither currents nor adaptation.
ONE_STAGE = {"euler", "symplectic", "symplectic_v"}


class Step(NamedTuple):
    """Numbers of a step and its jump; ``b`` is the jump of the adaptation."""

    c: Any
    b: float
    j: Jump


class Back(NamedTuple):
    """Numbers of a step, its jump and the surrogate's derivative."""

    c: Any
    b: float
    j: Jump
    k: Any


@functools.lru_cache(maxsize=64)
def step_of(neuron: IzhikevichNeuron) -> Step:
    """The numbers of a neuron's step."""
    c: Any = f32(neuron.coefficients)
    if neuron.scheme == "exponential":
        e: Any = neuron.exponential_coefficients
        c = Exponential(c, f32(e._replace(squarings=(True,) * e.squarings)))
    else:
        c = _TYPES[neuron.scheme](*c)
    b: Any = np.float32(0.0 if neuron.jump == "none" else neuron.b)
    return Step(c, b, jump_of(neuron))


def _advance(v: Any, w: Any, x: Any, c: Any) -> tuple[Any, Any]:
    """One step of the scheme whose numbers ``c`` are."""
    if isinstance(c, Exponential):
        clipped = v.clamp(-c.e.v_bound, c.e.v_bound)
        return izhikevich.exponential(v, w, x, clipped, c.c, c.e)
    return STEPS[_NAMES[type(c)]](v, w, x, c)


def _step(x: Any, v: Any, w: Any, n: Step) -> tuple[Any, ...]:
    """State before the jump, spike, and state after it."""
    h_v, h_w = _advance(v, w, x, n.c)
    s = spiked(h_v, n.j)
    return h_v, h_w, s, jumped(h_v, s, n.j), h_w + s * n.b


def _without_spike(h_v: Any, h_w: Any, s: Any, v: Any, w: Any) -> tuple[Any, ...]:
    return h_v, h_w, v, w


def _back(g_s: Any, h: Any, g_v: Any, g_w: Any, x: Any, v: Any, w: Any, n: Back) -> tuple[Any, ...]:
    """Gradients of current, potential and adaptation before a step that went from ``v, w``."""
    rate = slope(h - n.j.threshold, n.k)
    g_s = g_s + chosen(n.j.through * n.b, n.b * g_w, n.j)
    g_v = through_jump(g_s, g_v, h, spiked(h, n.j), rate, n.j)
    one = n.j.one
    after_v, after_w = _advance(
        Dual(v, None, one, None), Dual(w, None, None, one), Dual(x, one, None, None), n.c
    )
    return tuple(
        _sum(g_v, dv, g_w, dw) for dv, dw in zip(after_v.tangents, after_w.tangents, strict=True)
    )


def _sum(g_v: Any, dv: Any, g_w: Any, dw: Any) -> Any:
    """``g_v dv + g_w dw``, where one of the two may be zero everywhere."""
    parts = [g * d for g, d in ((g_v, dv), (g_w, dw)) if d is not None]
    return parts[0] + parts[1] if len(parts) == 2 else parts[0]


def _back_again(
    g_s: Any, h: Any, g_v: Any, g_w: Any, x: Any, before_v: Any, before_w: Any, n: Back
) -> tuple[Any, ...]:
    """`_back` from the state before the jump of the step before."""
    s = spiked(before_v, n.j)
    return _back(g_s, h, g_v, g_w, x, jumped(before_v, s, n.j), before_w + s * n.b, n)


def _after_jump(h: Any, n: Any) -> Any:
    """As much of the state after the jump as is known of ``h``, the state before it."""
    s = spiked(h[0], n.j)
    return [jumped(h[0], s, n.j), *(h_w + s * n.b for h_w in h[1:])]


def _back_from(g_s: Any, h: Any, g: Any, x: Any, before: Any, n: Back) -> tuple[Any, ...]:
    return _back(g_s, h[0], g[0], g[1], x, before[0], before[1], n)


_step_row = rowwise(_step, 3)
_spike_row = rowwise(lambda x, v, w, n: _step(x, v, w, n)[2:], 3)
_state_row = rowwise(lambda x, v, w, n: _without_spike(*_step(x, v, w, n)), 3)
_back_row, _back_again_row = rowwise(_back, 7), rowwise(_back_again, 7)
# By how many of the states backward reads; currents only where it reads both.
fused_loops = {
    kept: [fused(_step, 2, kept, kept == 2, vectors) for vectors in (4, 2, 1)] for kept in (1, 2)
}
fused_back_loops = {kept: fused_backward(_back_from, _after_jump, 2, kept) for kept in (1, 2)}


@kernel
def forward_loop(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    w: NDArray[Any],
    s: NDArray[Any],
    h_v: NDArray[Any],
    h_w: NDArray[Any],
    n: Step,
) -> None:
    """Neurons ``start ... stop`` over all steps of ``x`` [T, N]; ``v``, ``w`` [N] go from the first
    to the last state. Spikes ``s`` and states before the jump ``h_v``, ``h_w`` [T, N] are written.
    """
    for t in range(len(x)):
        here = t * x.shape[1]
        origins = (here, 0, 0, here, here, here, 0, 0)
        _step_row((x, v, w, h_v, h_w, s, v, w), origins, start, stop, n)


@kernel
def backward_loop(
    start: int,
    stop: int,
    x: NDArray[Any],
    first: tuple[NDArray[Any], NDArray[Any]],
    h_v: NDArray[Any],
    h_w: NDArray[Any],
    g_s: NDArray[Any],
    g_v: NDArray[Any],
    g_w: NDArray[Any],
    g_x: NDArray[Any],
    n: Back,
) -> None:
    """``g_v``, ``g_w`` [N] go from the gradient of the last state to that of the first; ``first``
    is the state before the first step."""
    size = h_v.shape[1]
    for back in range(1, len(h_v)):
        here = (len(h_v) - back) * size
        before = here - size
        arrays = (g_s, h_v, g_v, g_w, x, h_v, h_w, g_x, g_v, g_w)
        origins = (here, here, 0, 0, here, before, before, here, 0, 0)
        _back_again_row(arrays, origins, start, stop, n)
    at_start = (g_s, h_v, g_v, g_w, x, first[0], first[1], g_x, g_v, g_w)
    _back_row(at_start, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0), start, stop, n)


@kernel
def _spikes(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    w: NDArray[Any],
    s: NDArray[Any],
    n: Step,
) -> None:
    """As `forward_loop`, but no states are kept."""
    size = x.shape[1]
    for low in range(start, stop, _BLOCK):
        high = min(low + _BLOCK, stop)
        for t in range(len(x)):
            here = t * size
            _spike_row((x, v, w, s, v, w), (here, 0, 0, here, 0, 0), low, high, n)


@kernel
def _gradients(
    start: int,
    stop: int,
    workers: int,
    x: NDArray[Any],
    first_v: NDArray[Any],
    first_w: NDArray[Any],
    g_s: NDArray[Any],
    g_v: NDArray[Any],
    g_w: NDArray[Any],
    g_x: NDArray[Any],
    h: NDArray[Any],
    running: NDArray[Any],
    step: Step,
    n: Back,
) -> None:
    """Workers ``start ... stop``, each with its share of the neurons, in blocks.

    The states of a block, ``h`` [workers, 2, T, block], are computed again from the currents, so
    that those of all neurons need not be kept. ``running`` [workers, 2, block] is scratch.
    """
    steps, size, block = len(x), x.shape[1], running.shape[2]
    for worker in range(start, stop):
        h_v, h_w = h[worker, 0], h[worker, 1]
        v, w = running[worker, 0], running[worker, 1]
        begin, end = size * worker // workers, size * (worker + 1) // workers
        for low in range(begin, end, block):
            high = min(low + block, end)
            for i in range(low, high):
                v[i - low] = first_v[i]
                w[i - low] = first_w[i]
            for t in range(steps):
                mine = t * block - low
                origins = (t * size, -low, -low, mine, mine, -low, -low)
                _state_row((x, v, w, h_v, h_w, v, w), origins, low, high, step)
            for back in range(1, steps):
                here, mine = (steps - back) * size, (steps - back) * block - low
                before = mine - block
                arrays = (g_s, h_v, g_v, g_w, x, h_v, h_w, g_x, g_v, g_w)
                places = (here, mine, 0, 0, here, before, before, here, 0, 0)
                _back_again_row(arrays, places, low, high, n)
            at_start = (g_s, h_v, g_v, g_w, x, first_v, first_w, g_x, g_v, g_w)
            _back_row(at_start, (0, -low, 0, 0, 0, 0, 0, 0, 0, 0), low, high, n)


def forward(
    neuron: IzhikevichNeuron, x: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    v, w = (part.clone() for part in state)
    s = fresh(*x.shape)
    arrays = (part.numpy() for part in (x, v, w, s))
    spread(_spikes, x.shape[1], *arrays, step_of(neuron), least=_LEAST)
    return s, (v, w)


def backward(
    neuron: IzhikevichNeuron,
    surrogate: Surrogate,
    x: Tensor,
    state: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    steps, size = x.shape
    g_v, g_w = (part.clone() for part in g_last)
    g_x = fresh(*g_s.shape)
    workers = max(1, min(torch.get_num_threads(), size // _LEAST))
    block = max(LANES, min(_BLOCK, _CACHED // steps // LANES * LANES))
    scratch = Loan()
    step = step_of(neuron)
    arrays = (part.numpy() for part in (x, *state, g_s, g_v, g_w, g_x))
    h, running = scratch.array(workers, 2, steps, block), scratch.array(workers, 2, block)
    back = Back(*step, slope_numbers(surrogate))
    spread(_gradients, workers, workers, *arrays, h, running, step, back, least=1)
    return g_x, (g_v, g_w)
