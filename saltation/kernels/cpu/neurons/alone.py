"""A layer of neurons on its own: from currents ``[T, N]`` to spikes, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.cell import address_of
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.native import call, floats_at
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.program.graph import Program

_WORTH = 2**16  # operations of a step of all neurons that are worth a thread
_BLOCK = 2048  # numbers of state that go through all steps together, and so stay in cache
_CACHED = 2**16  # kept states of a block, all steps, that stay in cache


@kernel
def _forward(
    start: int,
    stop: int,
    block: int,
    loop: int,
    numbers: NDArray[Any],
    rows: NDArray[Any],
    x: NDArray[Any],
    state: NDArray[Any],
    s: NDArray[Any],
) -> None:
    """Neurons ``start ... stop``, block by block through all steps."""
    steps, size = x.shape
    for low in range(start, stop, block):
        call(
            loop,
            (
                *(floats_at(numbers, 0), floats_at(rows, low), size, floats_at(x, low), size),
                *(floats_at(state, low), size, floats_at(s, low), size),
                *(0, 0, 0, steps, min(block, stop - low)),
            ),
        )


class _Scratch(NamedTuple):
    """Of each worker, for a block: kept states [., kept, T, block], state [., V, block], spikes."""

    kept: NDArray[np.float32]
    state: NDArray[np.float32]
    spikes: NDArray[np.float32]


@kernel
def _backward(
    start: int,
    stop: int,
    workers: int,
    loops: tuple[int, int],
    numbers: NDArray[Any],
    rows: NDArray[Any],
    x: NDArray[Any],
    first: NDArray[Any],
    g_s: NDArray[Any],
    g: NDArray[Any],
    g_x: NDArray[Any],
    learned: NDArray[Any],
    scratch: _Scratch,
) -> None:
    """Workers ``start ... stop``, each with its share of the neurons, in blocks.

    The states of a block are computed again from the currents: that costs less than it would to
    keep those of all neurons and to read them back.
    """
    steps, size = x.shape
    for worker in range(start, stop):
        kept, state, spikes = scratch.kept[worker], scratch.state[worker], scratch.spikes[worker]
        block = state.shape[1]
        begin, end = size * worker // workers, size * (worker + 1) // workers
        for low in range(begin, end, block):
            width = min(block, end - low)
            for n in range(len(state)):
                state[n, :width] = first[n, low : low + width]
            given = floats_at(numbers, 0), floats_at(rows, low), size, floats_at(x, low), size
            again = floats_at(kept, 0), block, steps * block
            call(
                loops[0],
                (
                    *given,
                    *(floats_at(state, 0), block, floats_at(spikes, 0), 0),
                    *again,
                    *(steps, width),
                ),
            )
            call(
                loops[1],
                (
                    *given,
                    *(floats_at(first, low), size),
                    *again,
                    *(floats_at(g_s, low), size, floats_at(g, low), size),
                    *(floats_at(g_x, low), size, floats_at(learned, low), size, 0, steps, width),
                ),
            )


def forward(
    program: Program, rows: Tensor, x: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Spikes ``[T, N]`` and the last state ``[V, N]``."""
    last, s = torch.stack(state), fresh(*x.shape)
    loop = address_of(program, "forward"), program.numbers
    arrays = (part.numpy() for part in (rows, x, last, s))
    block = _BLOCK // program.variables
    spread(_forward, x.shape[1], block, *loop, *arrays, least=_least(program))
    return s, last


def backward(
    program: Program,
    rows: Tensor,
    x: Tensor,
    state: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``x``, of the state ``[V, N]`` and, where spikes act late, of those before the
    first step; and of what is learned of each neuron, ``[learned, N]``.

    Nothing but the inputs is kept for it: it runs forward again, block by block in cache.
    """
    steps, size = x.shape
    late = [torch.zeros_like(g_last[0])] if program.late else []
    g, g_x = torch.stack([*g_last, *late]), fresh(*g_s.shape)
    learned = torch.zeros(len(program.learned), size, dtype=torch.float32)
    workers = max(1, min(torch.get_num_threads(), size // _least(program)))
    cached = _CACHED // (steps * max(1, len(program.kept)))
    block = max(LANES, min(_BLOCK // program.variables, cached) // LANES * LANES)
    loan = Loan()
    scratch = _Scratch(
        loan.array(workers, len(program.kept), steps, block),
        loan.array(workers, program.variables, block),
        loan.array(workers, block),
    )
    loops = address_of(program, "forward kept"), address_of(program, "backward")
    first = torch.stack(state)
    arrays = (part.numpy() for part in (rows, x, first, g_s, g, g_x, learned))
    spread(_backward, workers, workers, loops, program.numbers, *arrays, scratch, least=1)
    return g_x, g, learned


def _least(program: Program) -> int:
    """Neurons that are worth a thread."""
    return max(LANES, _WORTH // len(program.forward.nodes))
