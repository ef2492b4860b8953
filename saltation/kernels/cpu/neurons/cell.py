"""The loops of a program, compiled, in the form in which other compiled code calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numpy.typing import NDArray

from saltation.kernels.cpu.neurons import backward, forward
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.native import address_of as compiled_to
from saltation.kernels.cpu.runtime.native import bits_at, call, floats_at, ints_at, longs_at
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.kernels.looped import flat_rows
from saltation.kernels.program.graph import Program
from saltation.neurons.base import Neuron


class _Loop(NamedTuple):
    """How a loop is generated, and what of a program: it is given nothing else."""

    made: Callable[[Any], ir.Module]
    reads: tuple[str, ...]


_REVERSE = ("variables", "jump", "backward", "kept", "reads_before", "late", "learned")
_LOOPS = {
    "forward driven": _Loop(forward.driven, ("variables", "forward", "kept", "reads_current")),
    "forward": _Loop(partial(forward.alone, keep=False), ("variables", "forward")),
    "forward kept": _Loop(partial(forward.alone, keep=True), ("variables", "forward", "kept")),
    "backward driven": _Loop(backward.driven, _REVERSE),
    "backward": _Loop(backward.alone, _REVERSE),
}
_addresses: dict[tuple[str, str], int] = {}
_compiled: dict[tuple[Any, ...], int] = {}


def address_of(program: Program, loop: str) -> int:
    """Where that loop of the program lies; compiled at the first call.

    Programs share the loops for which they do not differ, as those that differ in the surrogate
    alone share their forward loops.
    """
    key = program.key, loop
    if key not in _addresses:
        made, reads = _LOOPS[loop]
        part = SimpleNamespace(**{name: getattr(program, name) for name in reads})
        read = loop, *vars(part).values()
        if read not in _compiled:
            _compiled[read] = compiled_to(made(part))
        _addresses[key] = _compiled[read]
    return _addresses[key]


class Cell(NamedTuple):
    """A loop at ``address``, and neurons that are at rest before the first step: their program's
    ``numbers``; ``start`` [V, 16], their state; ``own`` [rows, width up to full vectors], what the
    program knows of each."""

    address: int
    numbers: NDArray[np.float32]
    start: NDArray[np.float32]
    own: NDArray[np.float32]


def cell_of(neuron: Neuron, program: Program, width: int, loop: str) -> Cell:
    """That loop for ``width`` of these neurons, which rest at one state."""
    # Tensors may hold other numbers than at the last call.
    start, own = (_resting if neuron.tensors else _known)(neuron, program, width)
    return Cell(address_of(program, loop), program.numbers, start, own)


@torch.no_grad()
def _resting(neuron: Neuron, program: Program, width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Their state, and what the program knows of each."""
    rest = neuron.rest(torch.zeros(width, dtype=torch.float32))
    own = flat_rows(program.rows, torch.empty(1, width, dtype=torch.float32))
    start = np.repeat(np.stack([part.numpy()[:1] for part in rest]), LANES, axis=1)
    missing = -width % LANES
    # Whatever the vectors are filled up with must be constants that a neuron can have.
    return start, np.pad(own.numpy(), ((0, 0), (0, missing)), mode="edge")


_known = functools.lru_cache(maxsize=256)(_resting)


@compiled
def run_driven(
    summed: bool,
    weight: Any,
    from_: int,
    places: Any,
    rows: Any,
    end: int,
    x: Any,
    bias: Any,
    first: int,
    column: int,
    width: int,
    kept: Any,
    marks: Any,
    cell: Any,
) -> None:
    """`forward.driven` for ``width`` neurons from ``first + column`` on.

    Their weights are in ``weight`` [P, .] from column ``from_`` on, and their currents ``x``
    [T, .] and states ``kept`` [kept, T, .] go to columns from ``column`` on.
    """
    call(
        cell.address,
        (
            *(floats_at(cell.numbers, 0), floats_at(cell.start, 0), int(summed)),
            *(floats_at(weight, from_), weight.shape[1], ints_at(places, 0), longs_at(rows, 0)),
            *(floats_at(x, column), x.shape[1], floats_at(bias, first + column)),
            *(floats_at(cell.own, first + column), cell.own.shape[1]),
            *(floats_at(kept, column), kept.shape[2], kept.shape[1] * kept.shape[2]),
            *(bits_at(marks, (first + column) // LANES), marks.shape[1], end, width),
        ),
    )


@compiled
def back_driven(
    first: int,
    width: int,
    end: int,
    x: Any,
    kept: Any,
    g_s: Any,
    origins: Any,
    g_x: Any,
    learned: Any,
    cell: Any,
) -> None:
    """`backward.driven` for ``width`` neurons from ``first`` on, whose arrays these are."""
    call(
        cell.address,
        (
            *(floats_at(cell.numbers, 0), floats_at(cell.start, 0)),
            *(floats_at(cell.own, first), cell.own.shape[1], floats_at(x, 0), x.shape[1]),
            *(floats_at(kept, 0), kept.shape[2], kept.shape[1] * kept.shape[2]),
            *(floats_at(g_s, 0), longs_at(origins, 0), floats_at(g_x, 0), g_x.shape[1]),
            *(floats_at(learned, 0), learned.shape[1], end, width),
        ),
    )


@compiled
def run_rested(width: int, end: int, x: Any, running: Any, s: Any, cell: Any) -> None:
    """`forward.alone` for ``width`` neurons at rest, from currents ``x`` [T, N] to spikes ``s``
    [T, N]; ``running`` [variables, N] is scratch."""
    for n in range(len(running)):
        running[n, :width] = cell.start[n, 0]
    call(
        cell.address,
        (
            *(floats_at(cell.numbers, 0), 0, 0, floats_at(x, 0), x.shape[1]),
            *(floats_at(running, 0), running.shape[1], floats_at(s, 0), s.shape[1]),
            *(0, 0, 0, end, width),
        ),
    )
