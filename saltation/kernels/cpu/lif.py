"""The LIF loop: every scheme and every jump is one affine step.

    h = rest + a (v - rest) + c x + late s(v),      late = -v_threshold for soft_delayed, else 0

Loops read and write few arrays each, because LLVM vectorises only what it can prove apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu import jump
from saltation.kernels.cpu.jit import f32, kernel, source_of, spread
from saltation.kernels.cpu.jump import Jump, jump_of, jumped, slopes, spiked, through_jump
from saltation.neurons.lif import LIFNeuron
from saltation.surrogate import Surrogate

_SOURCE = source_of(jump)
_LEAST = 4096  # neurons that are worth a thread


class Affine(NamedTuple):
    """Numbers of one step, float32."""

    a: float
    c: float
    rest: float
    late: float


def _affine(neuron: LIFNeuron) -> Affine:
    a, c = neuron.coefficients
    late = -neuron.v_threshold if neuron.jump == "soft_delayed" else 0.0
    step: Affine = f32(Affine(a, c, neuron.v_rest, late))
    return step


@kernel
def _forward(
    start: int,
    stop: int,
    x: NDArray[Any],
    v: NDArray[Any],
    s: NDArray[Any],
    h: NDArray[Any],
    p: Affine,
    j: Jump,
    source: int = _SOURCE,
) -> None:
    """Neurons ``start ... stop`` over all steps; ``v`` [N] goes from the first to the last state.

    ``h`` has one row that every step overwrites, or T rows where the potentials are kept.
    """
    size = stop - start
    vs = v[start:stop]
    for t in range(len(x)):
        xs, ss, hs = x[t, start:stop], s[t, start:stop], h[t % len(h), start:stop]
        for i in range(size):
            before = vs[i]
            affine = p.a * (before - p.rest) + p.c * xs[i] + p.rest
            now = affine + spiked(before, j) * p.late
            spike = spiked(now, j)
            hs[i] = now
            ss[i] = spike
            vs[i] = jumped(now, spike, j)


@kernel
def _backward(
    start: int,
    stop: int,
    g_s: NDArray[Any],
    slope: NDArray[Any],
    h: NDArray[Any],
    g_v: NDArray[Any],
    g_late: NDArray[Any],
    g_x: NDArray[Any],
    p: Affine,
    j: Jump,
    source: int = _SOURCE,
) -> None:
    """``g_v`` [N] goes from the gradient of the last state to that of the first; ``g_late`` [N]
    holds that of ``s(v)`` in the following step."""
    size = stop - start
    gvs, gls = g_v[start:stop], g_late[start:stop]
    for back in range(1, len(h) + 1):
        t = len(h) - back
        gss, ks, hs = g_s[t, start:stop], slope[t, start:stop], h[t, start:stop]
        gxs = g_x[t, start:stop]
        for i in range(size):
            now, k = hs[i], ks[i]
            gxs[i] = (gss[i] + gls[i]) * k + through_jump(gvs[i], now, spiked(now, j), k, j)
        for i in range(size):
            g_h = gxs[i]
            gls[i] = j.through * p.late * g_h
            gvs[i] = p.a * g_h
            gxs[i] = p.c * g_h


def forward(
    neuron: LIFNeuron, x: Tensor, state: tuple[Tensor, ...], keep: bool
) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """See `loop.Model`."""
    steps, size = x.shape
    v = state[0].clone()
    s = torch.empty_like(x)
    h = torch.empty(steps if keep else 1, size)
    arrays = (part.numpy() for part in (x, v, s, h))
    spread(_forward, size, *arrays, _affine(neuron), jump_of(neuron), least=_LEAST)
    return s, (v,), (h,)


def backward(
    neuron: LIFNeuron,
    surrogate: Surrogate,
    x: Tensor,
    state: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """See `loop.Model`."""
    (h,) = kept
    g_v = g_last[0].clone()
    g_late = torch.zeros_like(g_v)
    g_x = torch.empty_like(g_s)
    slope = slopes(surrogate, h, neuron.v_threshold)
    arrays = (part.numpy() for part in (g_s, slope, h, g_v, g_late, g_x))
    spread(_backward, h.shape[1], *arrays, _affine(neuron), jump_of(neuron), least=_LEAST)
    if neuron.jump == "soft_delayed":
        g_v += g_late * surrogate.derivative(state[0] - neuron.v_threshold)
    return g_x, (g_v,)
