"""The two time loops in reverse, generated from a program, in the forms of `forward`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from saltation.kernels.cpu.neurons.forward import kept_of
from saltation.kernels.cpu.neurons.generated import Loop, Matrix, Place, every_neuron, loaded
from saltation.kernels.cpu.neurons.lowering import lowered, slots
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, constant
from saltation.kernels.program.graph import Program, Slots

_I64 = ir.IntType(64)

Values = dict[tuple[str, int], Lanes]

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
        numbers = loop.splats(loop.numbers(program.backward, program.jump))
        self._numbers: Values = {("number", slot): n for slot, n in numbers.items()}

    def places(self, t: Any, place: Any, start: Any) -> dict[tuple[str, int], Place]:
        """Where that lies which the program reads of step t, at neurons from ``place`` on.

        The state before the first step is in ``start`` from that column on.
        """
        program, builder, own = self._program, self._loop.builder, self._slots
        wanted = program.reads_before
        read = slots(program.backward, "input")
        rows = slots(program.backward, "row") | slots(program.jump, "row", wanted)
        found: dict[tuple[str, int], Place]
        found = {("row", slot): (self._rows, constant(slot), place) for slot in sorted(rows)}
        if own.CURRENT in read:
            found["input", own.CURRENT] = self._x, t, place
        for n, slot in enumerate(own.h):
            if slot in read:
                found["input", slot] = self._kept[n], t, place
        if wanted:
            is_first = builder.icmp_signed("==", t, constant(0))
            earlier = builder.select(is_first, t, builder.sub(t, constant(1)))
            for n in slots(program.jump, "input", wanted):
                found["earlier", n] = self._kept[n], earlier, place
            for n in wanted:
                found["start", n] = self._start, constant(n), start
        return found

    def back(self, t: Any, read: Values, g_s: Lanes, g: Sequence[Lanes]) -> list[Lanes]:
        """Results of the program's backward graph, of what was ``read`` from `places`.

        ``g`` are the gradients of the state after the step and, where spikes act late, of the
        spike.
        """
        program, builder, own = self._program, self._loop.builder, self._slots
        given = self._numbers | read | {("input", own.SPIKE): g_s}
        given |= {("input", n): v for n, v in zip((*own.after, own.late), g, strict=False)}
        wanted = program.reads_before
        if wanted:
            is_first = builder.icmp_signed("==", t, constant(0))
            jumped = lowered(
                program.jump,
                lambda kind, slot: given["earlier" if kind == "input" else kind, slot],
                wanted,
            )
            for n, lanes in zip(wanted, jumped, strict=True):
                given["input", own.before[n]] = given["start", n].chosen(is_first, lanes)
        return lowered(program.backward, lambda kind, slot: given[kind, slot], fast=True)


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
    step, kept = _Step(loop, program, start, own), kept_of(loop, program)
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
            read = loaded(step.places(t, column, zero))
            g_x_t, *results = step.back(t, read, g_s.load(zero, origin), g)
            # The states come from memory, in lines too far apart for it to be known which is next.
            for matrix in kept:
                matrix.fetch(t, builder.add(column, constant(LANES)))
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

    steps = builder.sub(loop["end"], loop["first"])
    with (
        cgutils.for_range(builder, steps, intp=_I64) as passed,
        every_neuron(loop) as window,
    ):
        t = builder.sub(builder.sub(loop["end"], constant(1)), passed.index)
        place = window.place
        places = step.places(t, place, place) | {("g_s", 0): (g_s, t, place)}
        places |= {("g", n): (g, constant(n), place) for n in range(carried)}
        totals = range(len(program.learned))
        places |= {("learned", n): (learned, constant(n), place) for n in totals}
        read = window.loaded(places)
        g_x_t, *results = step.back(t, read, read["g_s", 0], [read["g", n] for n in range(carried)])
        window.store(
            (g_x_t, g_x, t),
            *((one, g, constant(n)) for n, one in enumerate(results[:carried])),
            *((read["learned", n] + results[carried + n], learned, constant(n)) for n in totals),
        )
    builder.ret_void()
    return loop.module
