"""Product and time loop in one: currents are added up in registers and go into the step there.

The neurons' state stays in registers over all steps; what is written is what backward needs, and
the spikes, a bit each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.neurons.vector import Lanes, numbers_of
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, Matrix, constant, splat

_I16, _I64 = ir.IntType(LANES), ir.IntType(64)


def fused(
    function: Callable[..., Any], variables: int, kept: int, currents: bool, vectors: int
) -> Any:
    """A time loop over that many vectors of neurons, for compiled code.

    ``function(current, *state, numbers)`` gives the state before the jump, spike, and state after.
    The result is called as ``loop(summed, weight, from_, places, rows, end, x, bias, first, column,
    rest, states, marks, numbers)``: the current of neuron o at step t is the sum of ``weight[p,
    from_ + o]`` over ``places[rows[t] - rows[0]:rows[t + 1] - rows[0]]``, in their order, plus
    ``bias[first + column + o]``; ``rest`` is a tuple of the state before the first step. If
    ``summed``, the sums are in ``x`` [T, N] from ``column`` on instead. Currents go there if
    ``currents`` says so, the first ``kept`` of the states before the jump to ``states`` [kept, T,
    N], and spikes to ``marks`` [T, .], uint16, a bit per neuron, from neuron ``first + column`` on.
    """

    def loop(
        typing: Any,
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
        rest: Any,
        states: Any,
        marks: Any,
        numbers: Any,
    ) -> Any:
        i64 = types.int64
        arrays = (x, bias, i64, i64, rest, states, marks, numbers)
        signature = types.void(types.boolean, weight, i64, places, rows, i64, *arrays)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def matrix(number: int, dtype: Any = types.float32) -> Matrix:
                kind, array = signature.args[number], arguments[number]
                return Matrix(context, builder, kind, array, dtype=dtype)

            weight, x, bias, states = map(matrix, (1, 6, 7, 11))
            places, rows = matrix(3, types.int32), matrix(4, types.int64)
            marks = matrix(12, types.uint16)
            summed, _, from_, _, _, end, _, _, first, column, rest, _, _, numbers = arguments
            offsets = [constant(LANES * k) for k in range(vectors)]
            columns = [builder.add(column, offset) for offset in offsets]
            neuron = builder.add(first, column)
            biases = [bias.load(constant(0), builder.add(neuron, offset)) for offset in offsets]
            known = numbers_of(builder, signature.args[13], numbers, VECTOR)
            start = [
                splat(builder, builder.extract_value(rest, n), VECTOR) for n in range(variables)
            ]
            state = [[cgutils.alloca_once_value(builder, one) for one in start] for _ in offsets]
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            sums = [cgutils.alloca_once_value(builder, zero) for _ in offsets]
            steps = states.length(1)
            origin = builder.load(rows.at(constant(0), constant(0)))
            mark = builder.udiv(neuron, constant(LANES))
            with cgutils.for_range(builder, end, intp=_I64) as loop_:
                t = loop_.index
                with builder.if_else(summed) as (there, here):
                    with there:
                        for total, at in zip(sums, columns, strict=True):
                            builder.store(x.load(t, at), total)
                    with here:
                        for total in sums:
                            builder.store(zero, total)
                        one = builder.load(rows.at(constant(0), t))
                        two = builder.load(rows.at(constant(0), builder.add(t, constant(1))))
                        bounds = builder.sub(one, origin), builder.sub(two, origin), constant(1)
                        with cgutils.for_range_slice(builder, *bounds) as (e, _):
                            place = builder.sext(builder.load(places.at(constant(0), e)), _I64)
                            for offset, total in zip(offsets, sums, strict=True):
                                row = weight.load(place, builder.add(from_, offset))
                                builder.store(builder.fadd(builder.load(total), row), total)
                for k, (total, mine) in enumerate(zip(sums, state, strict=True)):
                    current = builder.fadd(builder.load(total), biases[k])
                    if currents:
                        x.store(current, t, columns[k])
                    lanes = [Lanes(builder, builder.load(one)) for one in mine]
                    results = function(Lanes(builder, current), *lanes, known)
                    for n in range(kept):
                        row = builder.add(builder.mul(constant(n), steps), t)
                        states.store(results[n].value, row, columns[k])
                    for n in range(variables):
                        builder.store(results[variables + 1 + n].value, mine[n])
                    spikes = builder.fcmp_unordered("!=", results[variables].value, zero)
                    there = marks.at(t, builder.add(mark, constant(k)))
                    builder.store(builder.bitcast(spikes, _I16), there)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(loop)
