"""The time loops of all models in one form, for one sample and a block of neurons.

The steps of the block are a matrix ``[T, N]`` and its variables are stacked. Every model brings a
named tuple of its numbers, whose type chooses the loop when a caller is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from saltation.kernels.cpu.neurons import izhikevich, lif
from saltation.kernels.cpu.neurons.slope import slope_numbers
from saltation.kernels.cpu.runtime.jit import INLINE, f32
from saltation.kernels.cpu.runtime.simd import LANES
from saltation.neurons import IzhikevichNeuron, LIFNeuron
from saltation.neurons.base import Neuron, Spike


class LIFCell(NamedTuple):
    """Numbers of `LIFNeuron` at rest."""

    n: lif.Step
    v: float


class IzhikevichCell(NamedTuple):
    """Numbers of `IzhikevichNeuron` at rest."""

    n: izhikevich.Step
    v: float
    w: float


class OneStageCell(NamedTuple):
    """As `IzhikevichCell`, in one of `izhikevich.ONE_STAGE`."""

    n: izhikevich.Step
    v: float
    w: float


class LIFBack(NamedTuple):
    """Numbers of `LIFNeuron` at rest and a surrogate's derivative."""

    n: lif.Back
    v: float


class LateLIFBack(NamedTuple):
    """As `LIFBack`, where a spike acts in the step after its own."""

    n: lif.Back
    v: float


class IzhikevichBack(NamedTuple):
    """Numbers of `IzhikevichNeuron` at rest and a surrogate's derivative."""

    n: izhikevich.Back
    v: float
    w: float


class OneStageBack(NamedTuple):
    """As `IzhikevichBack`, in one of `izhikevich.ONE_STAGE`."""

    n: izhikevich.Back
    v: float
    w: float


class Cell(NamedTuple):
    """Numbers of a model forward and backward, and what backward reads: how many of the states
    before the jump, the potential first, and whether the currents."""

    forward: Any
    backward: Any
    states: int
    currents: bool


def cell_of(neuron: Neuron, spike: Spike) -> Cell:
    """The cell of a neuron that is at rest before the first step."""
    k = slope_numbers(spike)
    if isinstance(neuron, LIFNeuron):
        n, start = lif.step_of(neuron), f32(neuron.v_rest)
        kind = LateLIFBack if neuron.jump == "soft_delayed" else LIFBack
        return Cell(LIFCell(n, start), kind(lif.Back(*n, k), start), 1, False)
    if not isinstance(neuron, IzhikevichNeuron):
        raise TypeError(f"no compiled loop for {type(neuron).__name__}")
    m, rest = izhikevich.step_of(neuron), f32((neuron.v_reset, neuron.w_rest))
    back = izhikevich.Back(*m, k)
    if neuron.scheme in izhikevich.ONE_STAGE:
        return Cell(OneStageCell(m, *rest), OneStageBack(back, *rest), 1, False)
    return Cell(IzhikevichCell(m, *rest), IzhikevichBack(back, *rest), 2, True)


def forward_tile(
    width: int, end: int, x: Any, running: Any, s: Any, states: Any, cell: Any
) -> None:
    """Spikes ``s`` and states ``[variables, T, N]`` of ``width`` neurons up to step ``end``,
    from currents ``x`` [T, N]; ``running`` [variables, N] is scratch. For compiled code only."""
    raise NotImplementedError


@overload(forward_tile, strict=False, jit_options=INLINE)  # not strict: the annotations differ
def _forward_tile(
    width: Any, end: Any, x: Any, running: Any, s: Any, states: Any, cell: Any
) -> Callable[..., None]:
    def of_lif(width: int, end: int, x: Any, running: Any, s: Any, states: Any, cell: Any) -> None:
        running[0, :width] = cell.v
        lif.forward_loop(0, width, x[:end], running[0], s, states[0], cell.n)

    def of_izhikevich(
        width: int, end: int, x: Any, running: Any, s: Any, states: Any, cell: Any
    ) -> None:
        running[0, :width] = cell.v
        running[1, :width] = cell.w
        v, w, h_v, h_w = running[0], running[1], states[0], states[1]
        izhikevich.forward_loop(0, width, x[:end], v, w, s, h_v, h_w, cell.n)

    return of_lif if cell.instance_class is LIFCell else of_izhikevich


def run_tile(
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
    states: Any,
    marks: Any,
    cell: Any,
) -> None:
    """`fused.fused` for ``width`` neurons, a multiple of 16 and at most 64. For compiled code
    only."""
    raise NotImplementedError


@overload(run_tile, strict=False, jit_options=INLINE)
def _run_tile(
    summed: Any,
    weight: Any,
    from_: Any,
    places: Any,
    rows: Any,
    end: Any,
    x: Any,
    bias: Any,
    first: Any,
    column: Any,
    width: Any,
    states: Any,
    marks: Any,
    cell: Any,
) -> Callable[..., None]:
    fused_4, fused_2, fused_1 = {
        LIFCell: lif.fused_loops,
        OneStageCell: izhikevich.fused_loops[1],
        IzhikevichCell: izhikevich.fused_loops[2],
    }[cell.instance_class]

    def run(
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
        states: Any,
        marks: Any,
        cell: Any,
    ) -> None:
        rest, n, done = cell[1:], cell.n, 0
        if width == 64:
            fused_4(
                *(summed, weight, from_, places, rows, end, x, bias, first, column),
                *(rest, states, marks, n),
            )
            done = 64
        if done + 32 <= width:
            fused_2(
                *(summed, weight, from_ + done, places, rows, end, x, bias, first, column + done),
                *(rest, states, marks, n),
            )
            done += 32
        if done < width:
            fused_1(
                *(summed, weight, from_ + done, places, rows, end, x, bias, first, column + done),
                *(rest, states, marks, n),
            )

    return run


def backward_tile(
    width: int, end: int, x: Any, states: Any, g_s: Any, origins: Any, g_x: Any, cell: Any
) -> None:
    """`fused_backward.fused_backward` for ``width`` neurons, a multiple of 16. For compiled code
    only."""
    raise NotImplementedError


@overload(backward_tile, strict=False, jit_options=INLINE)
def _backward_tile(
    width: Any, end: Any, x: Any, states: Any, g_s: Any, origins: Any, g_x: Any, cell: Any
) -> Callable[..., None]:
    fused = {
        LIFBack: lif.fused_back_loops[1],
        LateLIFBack: lif.fused_back_loops[2],
        OneStageBack: izhikevich.fused_back_loops[1],
        IzhikevichBack: izhikevich.fused_back_loops[2],
    }[cell.instance_class]

    def back(
        width: int, end: int, x: Any, states: Any, g_s: Any, origins: Any, g_x: Any, cell: Any
    ) -> None:
        rest, n = cell[1:], cell.n
        for column in range(0, width, LANES):
            fused(end, x, rest, states, g_s, origins, g_x, column, n)

    return back
