"""Neurons that carry one tangent: from currents and theirs to spikes and theirs, and back.

The loops are those of `alone` with two currents, two spikes and twice the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.neurons.generated import Loop, Matrix, Place, every_neuron
from saltation.kernels.cpu.neurons.lowering import Source, lowered
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.buffers import Loan, copied, lent_pair
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.native import address_of as compiled_to
from saltation.kernels.cpu.runtime.native import call, floats_at
from saltation.kernels.cpu.runtime.simd import LANES, constant
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.program.tangent import TangentProgram
from saltation.kernels.support import joined

_I64 = ir.IntType(64)
_BLOCK = 2048  # numbers of state that go through all steps together, and so stay in cache
_CACHED = 2**16  # kept states of a block, all steps, that stay in cache
_WORTH = 2**16  # operations of a step of all neurons that are worth a thread

# Arguments, all int64: names of arrays are addresses, at the first neuron of the loop, and `_width`
# is the length of a row.
_FORWARD = (
    *("numbers", "x", "dx", "x_width", "state", "state_width", "s", "ds", "s_width"),
    *("kept", "kept_width", "end", "width"),
)
_BACKWARD = (
    *("numbers", "x", "dx", "x_width", "kept", "kept_width", "g_s", "g_ds", "g_s_width"),
    *("g", "g_width", "g_x", "g_dx", "g_x_width", "end", "width"),
)


def _forward_loop(program: TangentProgram, keep: bool) -> ir.Module:
    """``end`` steps of ``width`` neurons; ``state`` [2 V, .] goes from the first to the last.

    Spikes and their tangents go to ``s`` and ``ds`` [T, .]; or, if ``keep``, the states before
    every step to ``kept`` [T 2 V, .].
    """
    loop = Loop(_FORWARD)
    builder, parts = loop.builder, program.given - 2
    x, dx = (Matrix(builder, loop.pointer(name), loop["x_width"]) for name in ("x", "dx"))
    s, ds = (Matrix(builder, loop.pointer(name), loop["s_width"]) for name in ("s", "ds"))
    state, kept = (
        Matrix(builder, loop.pointer(name), loop[f"{name}_width"]) for name in ("state", "kept")
    )
    known = loop.splats(loop.numbers(program.forward))
    with (
        cgutils.for_range(builder, loop["end"], intp=_I64) as steps,
        every_neuron(loop) as window,
    ):
        t, place = steps.index, window.place
        rows = [(x, t), (dx, t), *((state, constant(n)) for n in range(parts))]
        given = window.loaded(_places(rows, place))
        asked = range(2 if keep else 0, program.given)
        results = lowered(program.forward, _source(known, given), asked)
        if keep:
            first = builder.mul(t, constant(parts))
            before = [(given[2 + n], kept, builder.add(first, constant(n))) for n in range(parts)]
        else:
            before = [(results.pop(0), s, t), (results.pop(0), ds, t)]
        window.store(*before, *((one, state, constant(n)) for n, one in enumerate(results)))
    builder.ret_void()
    return loop.module


def _backward_loop(program: TangentProgram) -> ir.Module:
    """Steps ``end - 1 ... 0``: ``g`` [2 V, .] goes from the gradients of the last state and tangent
    to those of the first, ``g_s`` and ``g_ds`` [T, .] lead to ``g_x`` and ``g_dx``."""
    loop = Loop(_BACKWARD)
    builder, parts = loop.builder, program.given - 2
    x, dx = (Matrix(builder, loop.pointer(name), loop["x_width"]) for name in ("x", "dx"))
    g_s, g_ds = (Matrix(builder, loop.pointer(name), loop["g_s_width"]) for name in ("g_s", "g_ds"))
    g_x, g_dx = (Matrix(builder, loop.pointer(name), loop["g_x_width"]) for name in ("g_x", "g_dx"))
    g, kept = (Matrix(builder, loop.pointer(name), loop[f"{name}_width"]) for name in ("g", "kept"))
    known = loop.splats(loop.numbers(program.backward))
    with (
        cgutils.for_range(builder, loop["end"], intp=_I64) as passed,
        every_neuron(loop) as window,
    ):
        t = builder.sub(builder.sub(loop["end"], constant(1)), passed.index)
        first = builder.mul(t, constant(parts))
        rows = [
            *((x, t), (dx, t)),
            *((kept, builder.add(first, constant(n))) for n in range(parts)),
            *((g_s, t), (g_ds, t)),
            *((g, constant(n)) for n in range(parts)),
        ]
        given = window.loaded(_places(rows, window.place))
        results = lowered(program.backward, _source(known, given), fast=True)
        window.store(
            *((results[0], g_x, t), (results[1], g_dx, t)),
            *((one, g, constant(n)) for n, one in enumerate(results[2:])),
        )
    builder.ret_void()
    return loop.module


def _places(rows: Sequence[tuple[Matrix, Any]], column: Any) -> dict[int, Place]:
    """Of each of these rows, by number, the vector at that column."""
    return {n: (matrix, row, column) for n, (matrix, row) in enumerate(rows)}


def _source(known: Mapping[int, Lanes], given: Mapping[int, Lanes]) -> Source:
    return lambda kind, slot: (known if kind == "number" else given)[slot]


_MADE: dict[str, Callable[[TangentProgram], ir.Module]] = {
    "forward": lambda program: _forward_loop(program, keep=False),
    "forward kept": lambda program: _forward_loop(program, keep=True),
    "backward": _backward_loop,
}
_addresses: dict[tuple[str, str], int] = {}


def _address_of(program: TangentProgram, loop: str) -> int:
    """Where that loop lies; compiled at the first call."""
    key = program.key, loop
    if key not in _addresses:
        _addresses[key] = compiled_to(_MADE[loop](program))
    return _addresses[key]


@kernel
def _forward(
    start: int,
    stop: int,
    block: int,
    loop: int,
    numbers: NDArray[Any],
    x: NDArray[Any],
    state: NDArray[Any],
    s: NDArray[Any],
) -> None:
    """Neurons ``start ... stop``, block by block through all steps; ``x`` and ``s`` [2, T, N]."""
    _, steps, size = x.shape
    for low in range(start, stop, block):
        call(
            loop,
            (
                *(floats_at(numbers, 0), floats_at(x[0], low), floats_at(x[1], low), size),
                *(floats_at(state, low), size, floats_at(s[0], low), floats_at(s[1], low), size),
                *(0, 0, steps, min(block, stop - low)),
            ),
        )


class _Scratch(NamedTuple):
    """Of each worker, for a block: the states before every step [., T 2 V, block], and one."""

    kept: NDArray[np.float32]
    state: NDArray[np.float32]


@kernel
def _backward(
    start: int,
    stop: int,
    workers: int,
    loops: tuple[int, int],
    numbers: NDArray[Any],
    x: NDArray[Any],
    first: NDArray[Any],
    g_s: NDArray[Any],
    g: NDArray[Any],
    g_x: NDArray[Any],
    scratch: _Scratch,
) -> None:
    """Workers ``start ... stop``, each with its share of the neurons, in blocks whose states are
    computed again."""
    _, steps, size = x.shape
    for worker in range(start, stop):
        kept, state = scratch.kept[worker], scratch.state[worker]
        block = state.shape[1]
        end = size * (worker + 1) // workers
        for low in range(size * worker // workers, end, block):
            width = min(block, end - low)
            for n in range(len(state)):
                state[n, :width] = first[n, low : low + width]
            given = (
                *(floats_at(numbers, 0), floats_at(x[0], low)),
                *(floats_at(x[1], low), size),
            )
            call(
                loops[0],
                (
                    *given,
                    *(floats_at(state, 0), block, 0, 0, 0, floats_at(kept, 0), block),
                    *(steps, width),
                ),
            )
            call(
                loops[1],
                (
                    *given,
                    *(floats_at(kept, 0), block, floats_at(g_s[0], low), floats_at(g_s[1], low)),
                    *(size, floats_at(g, low), size, floats_at(g_x[0], low)),
                    *(floats_at(g_x[1], low), size, steps, width),
                ),
            )


def forward(program: TangentProgram, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes and their tangents ``[T, N]``, and the last state and tangent ``[2 V, N]``, from
    currents and theirs ``x`` [2, T, N] and the first, ``state``."""
    last, pair = copied(state), lent_pair(*x.shape[1:])
    loop = _address_of(program, "forward"), program.numbers
    block = max(LANES, _BLOCK // len(state))
    arrays = (part.numpy() for part in (x, last, joined(*pair)))
    spread(_forward, x.shape[2], block, *loop, *arrays, least=_least(program))
    return *pair, last


def backward(
    program: TangentProgram, x: Tensor, state: Tensor, g_s: Tensor, g_last: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of both parts of ``x`` and of ``state`` from those of both results of `forward`."""
    _, steps, size = x.shape
    g, pair = copied(g_last), lent_pair(steps, size)
    workers = max(1, min(torch.get_num_threads(), size // _least(program)))
    parts = len(state)
    block = max(LANES, min(_BLOCK // parts, _CACHED // (steps * parts)) // LANES * LANES)
    loan = Loan()
    scratch = _Scratch(loan.array(workers, steps * parts, block), loan.array(workers, parts, block))
    loops = _address_of(program, "forward kept"), _address_of(program, "backward")
    arrays = (part.numpy() for part in (x, state, g_s, g, joined(*pair)))
    spread(_backward, workers, workers, loops, program.numbers, *arrays, scratch, least=1)
    return *pair, g


def _least(program: TangentProgram) -> int:
    """Neurons that are worth a thread."""
    return max(LANES, _WORTH // len(program.forward.nodes))
