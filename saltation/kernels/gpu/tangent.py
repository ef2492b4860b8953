"""Neurons that carry one tangent on a GPU: the two time loops of a program as Triton text, and run.

An instance takes BLOCK neurons and their tangents through all steps, as in `text`. Nothing is kept
for backward: it runs forward again, which then writes the state before every step.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saltation.kernels import tangents
from saltation.kernels.gpu import text
from saltation.kernels.gpu.launch import executed, launched, numbers_on
from saltation.kernels.gpu.printing import FUNCTIONS, numbers, printed
from saltation.kernels.program.tangent import TangentProgram


def module(program: TangentProgram) -> str:
    """Text of a module with the functions ``forward`` and ``backward``."""
    return "\n\n".join([text.HEAD + FUNCTIONS, _forward_text(program), _backward_text(program)])


def _forward_text(program: TangentProgram) -> str:
    state = [f"state{n}" for n in range(program.given - 2)]
    step, results = printed(program.forward, "f", _names(["x0", "dx0", *state]))
    kept = [text.store(name, "kept", n, "to") for n, name in enumerate(state)]
    lines = [*text.place(), *text.constants(numbers(program.forward), [])]
    lines += [text.load(name, "state", n) for n, name in enumerate(state)]
    lines += ["at = place", "to = place", "for t in range(steps):"]
    lines += text.indented(
        [
            *(text.load(f"{name}0", name, at="at") for name in ("x", "dx")),
            "if KEEP:",
            *text.indented([*kept, f"to += {len(state)} * wide"]),
            *step,
            *(text.store(results[n], name, at="at") for n, name in enumerate(("s", "ds"))),
            # All at once: one may be what another was.
            f"{', '.join(state)} = {', '.join(results[2:])}",
            "at += wide",
        ]
    )
    lines += [text.store(name, "last", n) for n, name in enumerate(state)]
    arguments = "numbers, x, dx, state, last, s, ds, kept, steps, size, KEEP: tl.constexpr"
    return text.function("forward", arguments, lines)


def _backward_text(program: TangentProgram) -> str:
    parts = range(program.given - 2)
    given = ["x0", "dx0", *(f"state{n}" for n in parts), "g_s0", "g_ds0", *(f"g{n}" for n in parts)]
    step, results = printed(program.backward, "b", _names(given), fast=True)
    lines = [*text.place(), *text.constants(numbers(program.backward), [])]
    lines += [text.load(f"g{n}", "g", n) for n in parts]
    lines += ["at = place + origin", "frm = place + kept_origin", "for t in range(steps):"]
    lines += text.indented(
        [
            *(text.load(f"{name}0", name, at="at") for name in ("x", "dx", "g_s", "g_ds")),
            *(text.load(f"state{n}", "kept", n, "frm") for n in parts),
            *step,
            *(text.store(results[n], name, at="at") for n, name in enumerate(("g_x", "g_dx"))),
            f"{', '.join(f'g{n}' for n in parts)} = {', '.join(results[2:])}",
            "at -= wide",
            f"frm -= {len(parts)} * wide",
        ]
    )
    lines += [text.store(f"g{n}", "g", n) for n in parts]
    arguments = "numbers, x, dx, kept, g_s, g_ds, g, g_x, g_dx, steps, size, origin, kept_origin"
    return text.function("backward", arguments, lines)


def _names(inputs: list[str]) -> Any:
    return lambda kind, slot: inputs[slot] if kind == "input" else f"{kind}{slot}"


class _Kernels(NamedTuple):
    forward: Any
    backward: Any


@functools.lru_cache(maxsize=256)
def _kernels_of(program: TangentProgram) -> _Kernels:
    """The loops of a program, compiled at their first call."""
    import triton

    made = executed(module(program), f"tangent {program.key}")
    return _Kernels(
        triton.jit(made["forward"], do_not_specialize=["steps"]),
        triton.jit(made["backward"], do_not_specialize=["steps", "origin", "kept_origin"]),
    )


def _run(program: TangentProgram, x: Tensor, state: Tensor, keep: bool) -> tuple[Tensor, ...]:
    _, steps, size = x.shape
    s, last = torch.empty_like(x), torch.empty_like(state)
    kept = x.new_empty(steps if keep else 0, *state.shape)
    given = numbers_on(program.numbers.tobytes(), x.device), *x, state.contiguous()
    launched(_kernels_of(program).forward, size, *given, last, *s, kept, steps, size, KEEP=keep)
    return s, last, kept


def _forward(program: TangentProgram, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    (s, ds), last, _ = _run(program, x, state, keep=False)
    return s, ds, last


def _backward(
    program: TangentProgram, x: Tensor, state: Tensor, g_s: Tensor, g_last: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    _, steps, size = x.shape
    *_, kept = _run(program, x, state, keep=True)
    g, g_x = g_last.clone(), torch.empty_like(x)
    given = numbers_on(program.numbers.tobytes(), x.device), *x, kept, *g_s, g, *g_x
    ends = (steps - 1) * size, (steps - 1) * kept[0].numel()
    launched(_kernels_of(program).backward, size, *given, steps, size, *ends)
    return *g_x, g


class Tangents(tangents.Loop):
    """The loop as `tangents.run` takes it."""

    engine = tangents.Engine(_forward, _backward, lambda last: True)

    @staticmethod
    def forward(ctx: Any, plan: Any, *given: Tensor) -> tuple[Tensor, ...]:
        return Tangents.run_forward(ctx, plan, *given)
