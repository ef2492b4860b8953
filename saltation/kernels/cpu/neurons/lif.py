"""The LIF loop: every scheme and every jump is one affine step.

h = rest + a (v - rest) + c x + late s(v),      late = -v_threshold for soft_delayed, else 0
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.fused import fused
from saltation.kernels.cpu.neurons.fused_backward import fused_backward
from saltation.kernels.cpu.neurons.jump import Jump, chosen, jump_of, jumped, spiked, through_jump
from saltation.kernels.cpu.neurons.slope import slope, slope_numbers
from saltation.kernels.cpu.neurons.vector import rowwise
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.jit import f32, kernel
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread
from saltation.neurons.lif import LIFNeuron
from saltation.surrogate import Surrogate

_LEAST = 4096  # neurons that are worth a thread
_BLOCK = 2048  # neurons that go through all steps together, so that their state stays in cache
_CACHED = 2**16  # potentials of a block, all steps, that stay in cache


class Affine(NamedTuple):
    """Numbers of one step, float32."""

    a: float
    c: float
    rest: float
    late: float


class Step(NamedTuple):
    """Numbers of a step and its jump."""

    p: Affine
    j: Jump


class Back(NamedTuple):
    """Numbers of a step, its jump and the surrogate's derivative."""

    p: Affine
    j: Jump
    k: Any


@functools.lru_cache(maxsize=64)
def step_of(neuron: LIFNeuron) -> Step:
    """The numbers of a neuron's step."""
    a, c = neuron.coefficients
    late = -neuron.v_threshold if neuron.jump == "soft_delayed" else 0.0
    return Step(f32(Affine(a, c, neuron.v_rest, late)), jump_of(neuron))


def _step(x: Any, v: Any, n: Step) -> tuple[Any, Any, Any]:
    """Potential before the jump, spike, and potential after it."""
    p, j = n
    h = p.a * (v - p.rest) + p.c * x + p.rest + spiked(v, j) * p.late
    s = spiked(h, j)
    return h, s, jumped(h, s, j)


def _back(g_s: Any, h: Any, g_v: Any, n: Back) -> tuple[Any, Any]:
    """Gradients of the current and of the potential before the step."""
    p, j, k = n
    rate = slope(h - j.threshold, k)
    g_h = through_jump(g_s, g_v, h, spiked(h, j), rate, j)
    return p.c * g_h, p.a * g_h


def _back_late(g_s: Any, h: Any, g_v: Any, g_late: Any, n: Back) -> tuple[Any, Any, Any]:
    """The same, and the gradient of the spike that acted in this step."""
    p, j, k = n
    rate = slope(h - j.threshold, k)
    g_h = through_jump(g_s + g_late, g_v, h, spiked(h, j), rate, j)
    return p.c * g_h, p.a * g_h, chosen(j.through, p.late * g_h, j)


def _back_from(g_s: Any, h: Any, g: Any, x: Any, before: Any, n: Back) -> tuple[Any, ...]:
    """Without and with spikes that act late."""
    return _back(g_s, h[0], g[0], n) if len(g) == 1 else _back_late(g_s, h[0], g[0], g[1], n)


_step_row = rowwise(_step, 2)
_spike_row = rowwise(lambda x, v, n: _step(x, v, n)[1:], 2)
_potential_row = rowwise(lambda x, v, n: _step(x, v, n)[::2], 2)
_back_row, _back_late_row = rowwise(_back, 3), rowwise(_back_late, 4)
fused_loops = [fused(_step, 1, 1, False, vectors) for vectors in (4, 2, 1)]
# By how many gradients there are.
fused_back_loops = {
    gradients: fused_backward(_back_from, None, gradients, 1) for gradients in (1, 2)
}


@kernel
def forward_loop(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    s: NDArray[Any],
    h: NDArray[Any],
    n: Step,
) -> None:
    """Neurons ``start ... stop`` over all steps of ``x`` [T, N]; ``v`` [N] goes from the first to
    the last state. Spikes ``s`` and potentials before the jump ``h`` [T, N] are written."""
    for t in range(len(x)):
        here = t * x.shape[1]
        _step_row((x, v, h, s, v), (here, 0, here, here, 0), start, stop, n)


@kernel
def backward_loop(
    start: int,
    stop: int,
    g_s: NDArray[Any],
    h: NDArray[Any],
    g_v: NDArray[Any],
    g_late: NDArray[Any],
    g_x: NDArray[Any],
    n: Back,
) -> None:
    """``g_v`` [N] goes from the gradient of the last state to that of the first; ``g_late`` [N]
    holds that of ``s(v)`` in the following step, where spikes act late."""
    size = h.shape[1]
    for back in range(1, len(h) + 1):
        here = (len(h) - back) * size
        if n.p.late == 0:
            arrays = (g_s, h, g_v, g_x, g_v)
            _back_row(arrays, (here, here, 0, here, 0), start, stop, n)
        else:
            late = (g_s, h, g_v, g_late, g_x, g_v, g_late)
            _back_late_row(late, (here, here, 0, 0, here, 0, 0), start, stop, n)


@kernel
def _spikes(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    s: NDArray[Any],
    n: Step,
) -> None:
    """As `forward_loop`, but no potentials are kept."""
    size = x.shape[1]
    for low in range(start, stop, _BLOCK):
        high = min(low + _BLOCK, stop)
        for t in range(len(x)):
            here = t * size
            _spike_row((x, v, s, v), (here, 0, here, 0), low, high, n)


@kernel
def _gradients(
    start: int,
    stop: int,
    workers: int,
    x: NDArray[Any],
    first: NDArray[Any],
    g_s: NDArray[Any],
    g_v: NDArray[Any],
    g_late: NDArray[Any],
    g_x: NDArray[Any],
    h: NDArray[Any],
    v: NDArray[Any],
    step: Step,
    n: Back,
) -> None:
    """Workers ``start ... stop``, each with its share of the neurons, in blocks.

    The potentials of a block, ``h`` [workers, T, block], are computed again from the currents: that
    costs less than it would to keep those of all neurons and to read them back. ``v`` [workers,
    block] is scratch.
    """
    steps, size, block = len(x), x.shape[1], v.shape[1]
    for worker in range(start, stop):
        potentials, running = h[worker], v[worker]
        begin, end = size * worker // workers, size * (worker + 1) // workers
        for low in range(begin, end, block):
            high = min(low + block, end)
            for i in range(low, high):
                running[i - low] = first[i]
            for t in range(steps):
                origins = (t * size, -low, t * block - low, -low)
                _potential_row((x, running, potentials, running), origins, low, high, step)
            for back in range(1, steps + 1):
                here, mine = (steps - back) * size, (steps - back) * block - low
                if n.p.late == 0:
                    arrays = (g_s, potentials, g_v, g_x, g_v)
                    _back_row(arrays, (here, mine, 0, here, 0), low, high, n)
                else:
                    late = (g_s, potentials, g_v, g_late, g_x, g_v, g_late)
                    _back_late_row(late, (here, mine, 0, 0, here, 0, 0), low, high, n)


def forward(
    neuron: LIFNeuron, x: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    v = state[0].clone()
    s = fresh(*x.shape)
    arrays = (part.numpy() for part in (x, v, s))
    spread(_spikes, x.shape[1], *arrays, step_of(neuron), least=_LEAST)
    return s, (v,)


def backward(
    neuron: LIFNeuron,
    surrogate: Surrogate,
    x: Tensor,
    state: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    steps, size = x.shape
    g_v = g_last[0].clone()
    g_late = torch.zeros_like(g_v)
    g_x = fresh(*g_s.shape)
    workers = max(1, min(torch.get_num_threads(), size // _LEAST))
    block = max(LANES, min(_BLOCK, _CACHED // steps // LANES * LANES))
    scratch = Loan()
    step = step_of(neuron)
    arrays = (part.numpy() for part in (x, state[0], g_s, g_v, g_late, g_x))
    h, v = scratch.array(workers, steps, block), scratch.array(workers, block)
    back = Back(*step, slope_numbers(surrogate))
    spread(_gradients, workers, workers, *arrays, h, v, step, back, least=1)
    if neuron.jump == "soft_delayed":
        g_v += g_late * surrogate.derivative(state[0] - neuron.v_threshold)
    return g_x, (g_v,)
