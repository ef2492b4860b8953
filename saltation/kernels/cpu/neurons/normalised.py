"""Batch normalisation and the neurons behind it as one: from maps ``[T, M, C]`` to spikes.

    s = neurons(γ (x - mean) / sqrt(var + eps) + β)

Normalised currents are made for a block of neurons, which goes through all steps in cache, and are
never written to memory; backward makes them again. Channels come last in memory, so that vectors go
over channels, and the M samples and places of a step are rows.

Source: Ioffe & Szegedy, "Batch normalization: accelerating deep network training by reducing
internal covariate shift", ICML 2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.cell import address_of
from saltation.kernels.cpu.neurons.moments import ROWS, Statistics
from saltation.kernels.cpu.runtime.buffers import Loan, lent
from saltation.kernels.cpu.runtime.finite import none_in
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.native import call, floats_at
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.program.graph import Program

_BLOCK = 2048  # numbers of state that go through all steps together, and so stay in cache
_CACHED = 2**16  # numbers of a block, all steps, that stay in cache
_PART = 2**15  # numbers of a step of which one sum is made in backward


class Affine(NamedTuple):
    """What normalisation is at every step: ``(x - mean) factor + shift``, each ``[T, C]``."""

    mean: NDArray[np.float32]
    factor: NDArray[np.float32]
    shift: NDArray[np.float32]


class _Scratch(NamedTuple):
    """Of each worker, for a block: currents and their gradients ``[., T, block]``, states before
    the jump ``[., kept, T, block]``, state ``[., V, block]``, that at rest, gradients of the state
    ``[., V + late, block]``, and spikes."""

    x: NDArray[np.float32]
    g_x: NDArray[np.float32]
    kept: NDArray[np.float32]
    state: NDArray[np.float32]
    rest: NDArray[np.float32]
    g: NDArray[np.float32]
    spikes: NDArray[np.float32]


@compiled
def _normalise(x: NDArray[Any], low: int, width: int, affine: Affine, into: NDArray[Any]) -> None:
    """Currents ``into`` [T, .] of ``width`` neurons, whole rows, from ``low`` on; ``x`` [T, N], or
    [1, N] where all steps are the same."""
    channels = affine.mean.shape[1]
    for t in range(len(into)):
        step = x[min(t, len(x) - 1)]
        mean, factor, shift = affine.mean[t], affine.factor[t], affine.shift[t]
        for first in range(0, width, channels):
            row = step[low + first : low + first + channels]
            out = into[t, first : first + channels]
            for c in range(channels):
                out[c] = (row[c] - mean[c]) * factor[c] + shift[c]


@kernel
def _forward(
    start: int,
    stop: int,
    workers: int,
    loop: int,
    numbers: NDArray[Any],
    x: NDArray[Any],
    affine: Affine,
    rest: NDArray[Any],
    s: NDArray[Any],
    scratch: _Scratch,
    finite: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the blocks; ``rest`` [V, 1]."""
    steps, size = s.shape
    block = scratch.x.shape[2]
    blocks = -(-size // block)
    for worker in range(start, stop):
        currents, state = scratch.x[worker], scratch.state[worker]
        for number in range(blocks * worker // workers, blocks * (worker + 1) // workers):
            low = number * block
            width = min(block, size - low)
            _normalise(x, low, width, affine, currents)
            for n in range(len(state)):
                state[n, :width] = rest[n, 0]
            call(
                loop,
                (
                    *(floats_at(numbers, 0), floats_at(rest, 0), 0, floats_at(currents, 0), block),
                    *(floats_at(state, 0), block, floats_at(s, low), size),
                    *(0, 0, 0, steps, width),
                ),
            )
            finite[number] = True
            for n in range(len(state)):
                if not none_in(state[n, :width].view(np.int32)):
                    finite[number] = False


@kernel
def _backward(
    start: int,
    stop: int,
    workers: int,
    each: int,
    loops: tuple[int, int],
    numbers: NDArray[Any],
    x: NDArray[Any],
    affine: Affine,
    rest: NDArray[Any],
    g_s: NDArray[Any],
    g_x: NDArray[Any],
    scratch: _Scratch,
    sums: NDArray[Any],
) -> None:
    """Workers ``start ... stop``, each with its share of the parts, which are ``each`` blocks.

    ``g_x`` becomes the gradient of the normalised currents, of all steps together where ``x`` is
    one; ``sums`` [parts, 2, T, C] are those of it, and of it times what the mean is taken from.
    """
    steps, size = g_s.shape
    channels = affine.mean.shape[1]
    block = scratch.x.shape[2]
    parts = len(sums)
    for worker in range(start, stop):
        currents, kept, state = scratch.x[worker], scratch.kept[worker], scratch.state[worker]
        origin, g, back = scratch.rest[worker], scratch.g[worker], scratch.g_x[worker]
        for n in range(len(origin)):
            origin[n] = rest[n, 0]
        for part in range(parts * worker // workers, parts * (worker + 1) // workers):
            sums[part] = 0
            for low in range(part * each * block, min((part + 1) * each * block, size), block):
                width = min(block, size - low)
                _normalise(x, low, width, affine, currents)
                for n in range(len(state)):
                    state[n, :width] = rest[n, 0]
                g[:, :width] = 0
                given = (
                    *(floats_at(numbers, 0), floats_at(rest, 0), 0),
                    *(floats_at(currents, 0), block),
                )
                again = floats_at(kept, 0), block, steps * block
                call(
                    loops[0],
                    (
                        *given,
                        *(floats_at(state, 0), block, floats_at(scratch.spikes[worker], 0), 0),
                        *again,
                        *(steps, width),
                    ),
                )
                call(
                    loops[1],
                    (
                        *given,
                        *(floats_at(origin, 0), block),
                        *again,
                        *(floats_at(g_s, low), size, floats_at(g, 0), block),
                        *(floats_at(back, 0), block, floats_at(rest, 0), 0, 0, steps, width),
                    ),
                )
                for t in range(steps):
                    from_ = min(t, len(x) - 1)
                    mean, one, two = affine.mean[t], sums[part, 0, t], sums[part, 1, t]
                    for first in range(0, width, channels):
                        row = x[from_, low + first : low + first + channels]
                        out = g_x[from_, low + first : low + first + channels]
                        found = back[t, first : first + channels]
                        for c in range(channels):
                            value = np.float64(found[c])
                            one[c] += value
                            two[c] += value * np.float64(row[c] - mean[c])
                        if len(x) == 1 and t > 0:
                            for c in range(channels):
                                out[c] += found[c]
                        else:
                            for c in range(channels):
                                out[c] = found[c]


@kernel
def _through(
    start: int,
    stop: int,
    x: NDArray[Any],
    mean: NDArray[Any],
    factor: NDArray[Any],
    slope: NDArray[Any],
    offset: NDArray[Any],
    g: NDArray[Any],
) -> None:
    """Gradients ``g`` [S, rows, C] of normalised currents become those of ``x``, in the parts
    ``start ... stop`` of `ROWS` rows: ``factor g - slope (x - mean) - offset``, each [S, C]."""
    channels = x.shape[2]
    parts = -(-x.shape[1] // ROWS)
    for number in range(start, stop):
        group, part = number // parts, number % parts
        m, f, k, o = mean[group], factor[group], slope[group], offset[group]
        for i in range(ROWS * part, min(ROWS * (part + 1), x.shape[1])):
            row, out = x[group, i], g[group, i]
            for c in range(channels):
                out[c] = f[c] * out[c] - (k[c] * (row[c] - m[c]) + o[c])


def affine_of(of: Statistics, weight: Tensor, bias: Tensor, eps: float, steps: int) -> Affine:
    """What these statistics, γ and β make of normalisation in every step."""
    factor = weight.detach().double().numpy() / np.sqrt(of.variance + eps)
    shift = bias.detach().numpy()[None]
    parts = (np.broadcast_to(part, (steps, part.shape[1])) for part in (of.mean, factor, shift))
    return Affine(*(np.ascontiguousarray(part, np.float32) for part in parts))


def _scratch(loan: Loan, program: Program, steps: int, channels: int, backward: bool) -> _Scratch:
    """For as many workers as there are threads; little where forward does not use it."""
    v, kept = program.variables, len(program.kept)
    rows = steps * (2 + kept)
    block = max(1, min(_BLOCK // v, _CACHED // rows) // channels) * channels
    workers = torch.get_num_threads()
    more = block if backward else 1
    return _Scratch(
        loan.array(workers, steps, block),
        loan.array(workers, steps, more),
        loan.array(workers, kept, steps, more),
        loan.array(workers, v, block),
        loan.array(workers, v, more),
        loan.array(workers, v + program.late, more),
        loan.array(workers, more),
    )


def forward(
    program: Program,
    rest: Tensor,
    x: Tensor,
    affine: Affine,
) -> Tensor | None:
    """Spikes ``[T, N]`` of neurons that begin in the state ``rest`` [V, 1]; None where one ends in
    a state that is not finite. ``x`` [T, M, C], or [1, M, C] where all steps are the same."""
    loan = Loan()
    flat = x.detach().flatten(1).numpy()
    steps = len(affine.mean)
    scratch = _scratch(loan, program, steps, x.shape[2], backward=False)
    s = lent(steps, flat.shape[1])
    finite = np.empty(-(-flat.shape[1] // scratch.x.shape[2]), np.bool_)
    loop = address_of(program, "forward"), program.numbers
    workers = len(scratch.x)
    arrays = (flat, affine, rest.numpy(), s.numpy(), scratch, finite)
    spread(_forward, workers, workers, *loop, *arrays, least=1)
    return s if finite.all() else None


def backward(
    program: Program,
    rest: Tensor,
    x: Tensor,
    affine: Affine,
    of: Statistics,
    weight: Tensor,
    eps: float,
    g_s: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``x``, ``weight`` and the bias from those of the spikes, ``g_s`` [T, N]."""
    loan = Loan()
    steps, channels = len(g_s), x.shape[2]
    x = x.detach()
    scratch = _scratch(loan, program, steps, channels, backward=True)
    workers, block = len(scratch.x), scratch.x.shape[2]
    size = g_s.shape[1]
    each = max(1, _PART // block)
    sums = np.empty((-(-size // (each * block)), 2, steps, channels), np.float64)
    g_x = lent(*x.shape)
    loops = address_of(program, "forward kept"), address_of(program, "backward")
    arrays = (x.flatten(1).numpy(), affine, rest.numpy(), g_s.numpy(), g_x.flatten(1).numpy())
    given = workers, each, loops, program.numbers
    spread(_backward, workers, *given, *arrays, scratch, sums, least=1)
    one, two = sums.sum(0)
    groups = len(of.mean)
    if groups == 1:
        one, two = one.sum(0, keepdims=True), two.sum(0, keepdims=True)
    inverse = 1 / np.sqrt(of.variance + eps)
    factor = weight.detach().double().numpy() * inverse
    terms = (of.mean, factor, factor * inverse**2 * two / of.rows, factor * one / of.rows)
    grouped = (groups, of.rows, channels)
    spread(
        _through,
        groups * -(-of.rows // ROWS),
        x.view(grouped).numpy(),
        *(np.ascontiguousarray(term, np.float32) for term in terms),
        g_x.view(grouped).numpy(),
        least=1,
    )
    return g_x, _single((two * inverse).sum(0)), _single(one.sum(0))


def _single(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
