"""The time loop in reverse, with the gradients of the state in registers over all steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.neurons.vector import Lanes, numbers_of
from saltation.kernels.cpu.runtime.simd import LANES, VECTOR, Matrix, constant, splat

_I64 = ir.IntType(64)


def fused_backward(
    back: Callable[..., Any], after_jump: Callable[..., Any] | None, gradients: int, kept: int
) -> Any:
    """A time loop over a vector of neurons, for compiled code.

    ``back(g_s, h, g, x, before, numbers)`` gives the gradient of the current and those of the state
    before the step, as many as ``g``, from the gradients of spike and state after it. ``h`` are the
    ``kept`` first of the states before the jump, and ``before`` is the state before the step, which
    ``after_jump(h, numbers)`` gives as far as it was kept; without ``after_jump`` it is not needed.

    The result is called as ``loop(end, x, rest, states, g_s, origins, g_x, column, numbers)``, for
    steps ``end - 1 ... 0`` of currents ``x`` [T, N] and ``states`` [kept, T, N], from ``column``
    on; ``rest`` is a tuple of the state before the first step. The gradients of the spikes of step
    t lie from ``origins[t]`` on in the flat ``g_s``, those of the currents go to ``g_x`` [T, N]. No
    gradient reaches the last state.
    """

    def loop(
        typing: Any,
        end: Any,
        x: Any,
        rest: Any,
        states: Any,
        g_s: Any,
        origins: Any,
        g_x: Any,
        column: Any,
        numbers: Any,
    ) -> Any:
        i64 = types.int64
        signature = types.void(i64, x, rest, states, g_s, origins, g_x, i64, numbers)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            f32 = types.float32
            x, states, g_s, origins, g_x = (
                Matrix(context, builder, signature.args[number], arguments[number], dtype=dtype)
                for number, dtype in ((1, f32), (3, f32), (4, f32), (5, i64), (6, f32))
            )
            end, _, rest, _, _, _, _, column, numbers = arguments
            known = numbers_of(builder, signature.args[8], numbers, VECTOR)
            start = [splat(builder, one, VECTOR) for one in cgutils.unpack_tuple(builder, rest)]
            nothing = ir.Constant(VECTOR, [0.0] * LANES)
            running = [cgutils.alloca_once_value(builder, nothing) for _ in range(gradients)]
            zero, one = constant(0), constant(1)

            def kept_at(t: Any) -> list[Lanes]:
                firsts = (builder.mul(constant(n), states.length(1)) for n in range(kept))
                rows = (builder.add(first, t) for first in firsts)
                return [Lanes(builder, states.load(row, column)) for row in rows]

            def state_before(t: Any) -> list[Lanes]:
                if after_jump is None:
                    return []
                first = builder.icmp_signed("==", t, zero)
                earlier = builder.select(first, zero, builder.sub(t, one))
                reached = after_jump(kept_at(earlier), known)
                known_of = [
                    builder.select(first, value, lanes.value)
                    for value, lanes in zip(start[:kept], reached, strict=True)
                ]
                return [Lanes(builder, value) for value in (*known_of, *start[kept:])]

            with cgutils.for_range(builder, end, intp=_I64) as steps:
                t = builder.sub(builder.sub(end, one), steps.index)
                origin = builder.add(builder.load(origins.at(zero, t)), column)
                g_x_t, *before = back(
                    Lanes(builder, g_s.load(zero, origin)),
                    kept_at(t),
                    [Lanes(builder, builder.load(g)) for g in running],
                    Lanes(builder, x.load(t, column)),
                    state_before(t),
                    known,
                )
                g_x.store(g_x_t.value, t, column)
                for place, g in zip(running, before, strict=True):
                    builder.store(g.value, place)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(loop)
