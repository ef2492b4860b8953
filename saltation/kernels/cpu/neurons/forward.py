"""The two time loops forward, generated from a program.

`driven` has time inside: a few vectors of neurons go through all steps in registers, where the
currents are added up too, and what is written is what backward needs and the spikes, a bit each.
`alone` has the steps outermost: the state of a block of neurons stays in cache between them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from saltation.kernels.cpu.neurons.generated import Loop, Matrix, Place, every_neuron
from saltation.kernels.cpu.neurons.lowering import Source, lowered, slots
from saltation.kernels.cpu.neurons.vector import Lanes
from saltation.kernels.cpu.runtime.simd import HAS_AVX512, LANES, VECTOR, constant
from saltation.kernels.program.graph import Program

# Vectors of neurons that go through the steps together: more would not stay in registers.
_TILES = (4, 2, 1) if HAS_AVX512 else (2, 1)

_I16, _I32, _I64 = ir.IntType(LANES), ir.IntType(32), ir.IntType(64)

# Arguments of `driven`, all int64. Names of arrays are addresses, at the first neuron of the loop;
# `_width` is the length of a row, `_plane` that of a matrix.
DRIVEN = (
    *("numbers", "start", "summed", "weight", "weight_width", "places", "rows", "x", "x_width"),
    *("bias", "own", "own_width", "kept", "kept_width", "kept_plane", "marks", "marks_width"),
    *("end", "width"),
)
ALONE = (
    *("numbers", "rows", "rows_width", "x", "x_width", "state", "state_width", "s", "s_width"),
    *("kept", "kept_width", "kept_plane", "end", "width"),
)


def driven(program: Program) -> ir.Module:
    """A loop over ``width`` neurons, a multiple of 16, through ``end`` steps.

    The current of neuron o at step t is the sum of ``weight[p, o]`` over ``places[rows[t] -
    rows[0]:rows[t + 1] - rows[0]]``, in their order, plus ``bias[o]``; if ``summed``, the sum is in
    ``x`` [T, .] instead. Currents go there if backward reads them, the kept states before the jump
    to ``kept`` [kept, T, .], and spikes to ``marks`` [T, .], uint16, a bit per neuron. ``start``
    [V, 16] holds the state before the first step, the same for all neurons, and ``own`` [rows, .]
    what the program knows of each.
    """
    loop = Loop(DRIVEN)
    numbers, done = loop.numbers(program.forward), constant(0)
    for vectors in _TILES:
        size = constant(LANES * vectors)
        whole = loop.builder.and_(loop["width"], constant(-LANES * vectors))
        with cgutils.for_range_slice(loop.builder, done, whole, size) as (column, _):
            _tile(loop, program, numbers, column, vectors)
        done = whole
    loop.builder.ret_void()
    return loop.module


def _tile(loop: Loop, program: Program, numbers: Any, column: Any, vectors: int) -> None:
    """That many vectors of neurons from ``column`` on."""
    builder, end, zero = loop.builder, loop["end"], constant(0)
    known = loop.splats(numbers)
    weight, x, start, bias, own = (
        Matrix(builder, loop.pointer(name), width)
        for name, width in (
            ("weight", loop["weight_width"]),
            ("x", loop["x_width"]),
            ("start", constant(LANES)),
            ("bias", zero),
            ("own", loop["own_width"]),
        )
    )
    kept = _kept(loop, program)
    places, rows = loop.pointer("places", _I32), loop.pointer("rows", _I64)
    marks = loop.pointer("marks", _I16)
    summed = builder.icmp_signed("!=", loop["summed"], zero)
    columns = [builder.add(column, constant(LANES * k)) for k in range(vectors)]
    biases = [bias.load(zero, at) for at in columns]
    read = sorted(slots(program.forward, "row"))
    owned = [{slot: own.load(constant(slot), at) for slot in read} for at in columns]
    first = [start.load(constant(n), zero).value for n in range(program.variables)]
    state = [[cgutils.alloca_once_value(builder, one) for one in first] for _ in columns]
    nothing = ir.Constant(VECTOR, [0.0] * LANES)
    sums = [cgutils.alloca_once_value(builder, nothing) for _ in columns]
    origin = builder.load(rows)
    with cgutils.for_range(builder, end, intp=_I64) as steps:
        t = steps.index
        with builder.if_else(summed) as (there, here):
            with there:
                for total, at in zip(sums, columns, strict=True):
                    builder.store(x.load(t, at).value, total)
            with here:
                for total in sums:
                    builder.store(nothing, total)
                one = builder.load(builder.gep(rows, [t]))
                two = builder.load(builder.gep(rows, [builder.add(t, constant(1))]))
                bounds = builder.sub(one, origin), builder.sub(two, origin), constant(1)
                with cgutils.for_range_slice(builder, *bounds) as (e, _):
                    place = builder.sext(builder.load(builder.gep(places, [e])), _I64)
                    for at, total in zip(columns, sums, strict=True):
                        row = weight.load(place, at).value
                        builder.store(builder.fadd(builder.load(total), row), total)
        for k, (total, mine) in enumerate(zip(sums, state, strict=True)):
            current = Lanes(builder, builder.load(total)) + biases[k]
            if program.reads_current:
                x.store(current, t, columns[k])
            lanes = [Lanes(builder, builder.load(one)) for one in mine]
            given = dict(enumerate([current, *lanes]))
            table = {"number": known, "row": owned[k], "input": given}
            h, spike, after = _stepped(program, _looked_up(table))
            for n, matrix in kept:
                matrix.store(h[n], t, columns[k])
            for place, value in zip(mine, after, strict=True):
                builder.store(value.value, place)
            spikes = builder.fcmp_unordered("!=", spike.value, nothing)
            row = builder.mul(t, loop["marks_width"])
            number = builder.add(row, builder.udiv(columns[k], constant(LANES)))
            builder.store(builder.bitcast(spikes, _I16), builder.gep(marks, [number]))


def alone(program: Program, keep: bool) -> ir.Module:
    """A loop over any number of neurons, ``width``, through ``end`` steps of currents ``x``.

    ``state`` [V, .] goes from the first to the last, spikes to ``s`` [T, .], and if ``keep`` what
    backward reads of the states before the jump to ``kept`` [kept, T, .]. ``rows`` are what the
    program knows of each neuron.
    """
    loop = Loop(ALONE)
    builder, v = loop.builder, program.variables
    x, state, s, rows = (
        Matrix(builder, loop.pointer(name), loop[f"{name}_width"])
        for name in ("x", "state", "s", "rows")
    )
    kept = _kept(loop, program) if keep else []
    known = loop.splats(loop.numbers(program.forward))
    read = sorted(slots(program.forward, "row"))
    with (
        cgutils.for_range(builder, loop["end"], intp=_I64) as steps,
        every_neuron(loop) as window,
    ):
        t, place = steps.index, window.place
        places: dict[tuple[str, int], Place] = {("input", 0): (x, t, place)}
        places |= {("input", n + 1): (state, constant(n), place) for n in range(v)}
        places |= {("row", slot): (rows, constant(slot), place) for slot in read}
        given = window.loaded(places) | {("number", slot): n for slot, n in known.items()}
        h, spike, after = _stepped(program, lambda kind, slot: given[kind, slot])
        window.store(
            *((h[n], matrix, t) for n, matrix in kept),
            (spike, s, t),
            *((one, state, constant(n)) for n, one in enumerate(after)),
        )
    builder.ret_void()
    return loop.module


def _looked_up(table: dict[str, dict[int, Lanes]]) -> Source:
    return lambda kind, slot: table[kind][slot]


def _stepped(program: Program, source: Source) -> tuple[list[Lanes], Lanes, list[Lanes]]:
    """State before the jump, spike, and state after it."""
    v = program.variables
    results = lowered(program.forward, source)
    return results[:v], results[v], results[v + 1 :]


def _kept(loop: Loop, program: Program) -> list[tuple[int, Matrix]]:
    """The kept variables and the matrices [T, .] of their states before the jump."""
    return list(zip(program.kept, kept_of(loop, program), strict=True))


def kept_of(loop: Loop, program: Program) -> list[Matrix]:
    """Matrices [T, .] of the argument ``kept``, one for each kept variable."""
    builder = loop.builder
    planes = Matrix(builder, loop.pointer("kept"), loop["kept_plane"])
    return [
        Matrix(builder, planes.at(constant(k), constant(0)), loop["kept_width"])
        for k in range(len(program.kept))
    ]
