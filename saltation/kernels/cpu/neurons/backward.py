"""The two time loops in reverse, generated from a program, in the forms of `forward`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from saltation.kernels.cpu.neurons.forward import every_neuron, kept_of
from saltation.kernels.cpu.neurons.generated import Loop, Matrix
from saltation.kernels.cpu.neurons.lowering import lowered
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, constant
from saltation.kernels.program.graph import Program, Slots

_I64 = ir.IntType(64)

# As in `forward`.
DRIVEN = (
    *("numbers", "start", "own", "own_width", "x", "x_width", "kept", "kept_width", "kept_plane"),
    *("g_s", "origins", "g_x", "g_x_width", "learned", "learned_width", "end", "width"),
)
ALONE = (
    *("numbers", "rows", "rows_width", "x", "x_width", "start", "start_width"),
    *("kept", "kept_width", "kept_plane", "g_s", "g_s_width", "g", "g_width", "g_x", "g_x_width"),
    *("learned", "learned_width", "first", "end", "width"),
)


class _Step:
    """Gradients through a step, whose inputs are loaded where the program reads them."""

    def __init__(self, loop: Loop, program: Program, start: Matrix, rows: Matrix) -> None:
        self._loop, self._program, self._start, self._rows = loop, program, start, rows
        self._x = Matrix(loop.builder, loop.pointer("x"), loop["x_width"])
        self._kept = dict(zip(program.kept, kept_of(loop, program), strict=True))
        self._slots = Slots(program.variables)
        numbers = loop.numbers(program.backward, program.jump)
        self._known = {count: loop.splats(numbers, count) for count in (LANES, 1)}

    def back(self, t: Any, place: Any, start: Any, g_s: Lanes, g: Sequence[Lanes]) -> list[Lanes]:
        """Results of the program's backward graph at neurons from ``place`` on.

        ``g`` are the gradients of the state after the step and, where spikes act late, of the
        spike; the state before the first step is in ``start`` from that column on.
        """
        builder, slots = self._loop.builder, self._slots
        count = g_s.value.type.count
        given = {slots.SPIKE: g_s, **dict(zip((*slots.after, slots.late), g, strict=False))}
        before: dict[int, Lanes] = {}

        def known(kind: str, slot: int) -> Lanes:
            if kind == "number":
                return self._known[count][slot]
            return self._rows.load(constant(slot), place, count)

        def source(kind: str, slot: int) -> Lanes:
            if kind != "input":
                return known(kind, slot)
            if slot in given:
                return given[slot]
            if slot == slots.CURRENT:
                return self._x.load(t, place, count)
            if slot in slots.h:
                return self._kept[slot - slots.h[0]].load(t, place, count)
            return before[slot - slots.before[0]]

        wanted = self._program.reads_before
        if wanted:
            first = builder.icmp_signed("==", t, constant(0))
            earlier = builder.select(first, constant(0), builder.sub(t, constant(1)))

            def of_jump(kind: str, slot: int) -> Lanes:
                if kind != "input":
                    return known(kind, slot)
                return self._kept[slot].load(earlier, place, count)

            reached = lowered(self._program.jump, of_jump, wanted)
            for n, lanes in zip(wanted, reached, strict=True):
                before[n] = self._start.load(constant(n), start, count).chosen(first, lanes)
        return lowered(self._program.backward, source, fast=True)


def driven(program: Program) -> ir.Module:
    """A loop over ``width`` neurons, a multiple of 16, for steps ``end - 1 ... 0``.

    From currents ``x`` [T, .] and states ``kept`` [kept, T, .], and the gradients of the spikes of
    step t, which lie from ``origins[t]`` on in the flat ``g_s``, to those of the currents ``g_x``
    [T, .], and of what is learned of each neuron, ``learned`` [learned, .]. ``start`` [V, 16] is
    the state before the first step, which no gradient reaches; ``own`` is as in `forward.driven`.
    """
    loop = Loop(DRIVEN)
    builder, zero = loop.builder, constant(0)
    carried = program.variables + program.late
    start = Matrix(builder, loop.pointer("start"), constant(LANES))
    g_s = Matrix(builder, loop.pointer("g_s"), zero)
    own, g_x, learned = (
        Matrix(builder, loop.pointer(name), loop[f"{name}_width"])
        for name in ("own", "g_x", "learned")
    )
    origins = loop.pointer("origins", _I64)
    step = _Step(loop, program, start, own)
    nothing = ir.Constant(VECTOR, [0.0] * LANES)
    running, totals = (
        [cgutils.alloca_once_value(builder, nothing) for _ in range(count)]
        for count in (carried, len(program.learned))
    )
    with cgutils.for_range_slice(builder, zero, loop["width"], constant(LANES)) as (column, _):
        for place in (*running, *totals):
            builder.store(nothing, place)
        with cgutils.for_range(builder, loop["end"], intp=_I64) as steps:
            t = builder.sub(builder.sub(loop["end"], constant(1)), steps.index)
            origin = builder.add(builder.load(builder.gep(origins, [t])), column)
            g = [Lanes(builder, builder.load(one)) for one in running]
            g_x_t, *results = step.back(t, column, zero, g_s.load(zero, origin, LANES), g)
            g_x.store(g_x_t, t, column)
            for place, value in zip(running, results, strict=False):
                builder.store(value.value, place)
            for place, value in zip(totals, results[carried:], strict=True):
                builder.store(builder.fadd(builder.load(place), value.value), place)
        for n, place in enumerate(totals):
            learned.store(Lanes(builder, builder.load(place)), constant(n), column)
    builder.ret_void()
    return loop.module


def alone(program: Program) -> ir.Module:
    """A loop over any number of neurons, ``width``, for steps ``end - 1 ... first``.

    ``g`` [V, .] goes from the gradient of the state after the last step to that of the state before
    the first; behind them, where spikes act late, it has that of the spike. Gradients ``g_s``
    [T, .] of spikes lead to ``g_x`` [T, .] of currents, and those of what is learned of each neuron
    are added to ``learned`` [learned, .]. The state before step 0 is in ``start`` [V, .].
    """
    loop = Loop(ALONE)
    builder = loop.builder
    start, rows, g_s, g, g_x, learned = (
        Matrix(builder, loop.pointer(name), loop[f"{name}_width"])
        for name in ("start", "rows", "g_s", "g", "g_x", "learned")
    )
    step = _Step(loop, program, start, rows)
    carried = program.variables + program.late

    def body(t: Any, place: Any, count: int) -> None:
        running = [g.load(constant(n), place, count) for n in range(carried)]
        g_x_t, *results = step.back(t, place, place, g_s.load(t, place, count), running)
        g_x.store(g_x_t, t, place)
        for n, value in enumerate(results[:carried]):
            g.store(value, constant(n), place)
        for n, value in enumerate(results[carried:]):
            learned.store(learned.load(constant(n), place, count) + value, constant(n), place)

    steps = builder.sub(loop["end"], loop["first"])
    with cgutils.for_range(builder, steps, intp=_I64) as passed:
        t = builder.sub(builder.sub(loop["end"], constant(1)), passed.index)
        every_neuron(loop, lambda place, count: body(t, place, count))
    builder.ret_void()
    return loop.module
