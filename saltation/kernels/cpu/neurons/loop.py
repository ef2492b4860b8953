"""The compiled time loop on a CPU, with the signature of the reference loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saltation.kernels import looped, tangents
from saltation.kernels.looped import Engine, Loop, Plan
from saltation.kernels.program.graph import Program
from saltation.kernels.reference import Trace
from saltation.kernels.support import apart, lacks
from saltation.kernels.tangents import Carrying
from saltation.neurons.base import Neuron, Spike


def refuses(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool) -> str | None:
    """Why the compiled loop cannot run this, or None."""
    if isinstance(spike, Carrying):
        return tangents.refuses(neuron, spike, x, state, record, "cpu")
    return looped.refuses(neuron, spike, x, state, record, "cpu")


def refuses_between(neuron: Neuron, spike: Spike, weight: Tensor) -> str | None:
    """Why neurons cannot run in one piece with the ``weight`` [O, F] that drives them, or None."""
    reason = lacks(torch.float32, weight)
    if reason:
        return reason
    program = looped.program_or_reason(neuron, spike)
    if isinstance(program, str):
        return program
    return _refuses_rows(neuron, program, len(weight)) if program.rows else None


def _refuses_rows(neuron: Neuron, program: Program, width: int) -> str | None:
    """Why what the program knows of each neuron cannot be used there, or None."""
    for row in program.rows:
        if list(row.shape) not in ([], [1], [width]):
            return f"constants {list(row.shape)} are not those of {width} neurons"
    if program.late and program.learned:
        return "constants are learned, and a spike acts in the step after its own"
    for part in neuron.rest(torch.zeros(width, dtype=torch.float32)):
        if part.requires_grad or (part != part[0]).any():
            return "neurons differ, or learn, where they rest"
    return lacks(torch.float32, *program.rows)


@apart
def run(neuron: Neuron, spike: Any, x: Tensor, state: Any, record: bool) -> Trace:
    """The loop, with the signature of `reference.run`; torch.compile calls it as it is."""
    if isinstance(spike, Carrying):
        return tangents.run(_Tangents, neuron, spike, x, state)
    return looped.run(_Loop, neuron, spike, x, state)


def _forward(
    program: Program, rows: Tensor, x: Tensor, state: tuple[Tensor, ...], keep: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    from saltation.kernels.cpu.neurons import alone  # imports numba

    return *alone.forward(program, rows, x, state), ()


def _backward(
    program: Program,
    rows: Tensor,
    x: Tensor,
    state: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    from saltation.kernels.cpu.neurons import alone  # imports numba

    return alone.backward(program, rows, x, state, g_s, g_last)


def _finite(tensor: Tensor) -> bool:
    from saltation.kernels.cpu.runtime.finite import finite  # imports numba

    return finite(tensor)


ENGINE = Engine(_forward, _backward, _finite)


class _Loop(Loop):
    engine = ENGINE

    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        return _Loop.run_forward(ctx, plan, x, *parts)


def _carried(program: Any, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from saltation.kernels.cpu.neurons import tangent  # imports numba

    return tangent.forward(program, x, state)


def _carried_back(program: Any, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from saltation.kernels.cpu.neurons import tangent  # imports numba

    return tangent.backward(program, *given)


class _Tangents(tangents.Loop):
    engine = tangents.Engine(_carried, _carried_back, _finite)

    @staticmethod
    def forward(ctx: Any, plan: Any, *given: Tensor) -> tuple[Tensor, ...]:
        return _Tangents.run_forward(ctx, plan, *given)


def gradients(
    neuron: Neuron, spike: Any, x: Tensor, state: Sequence[Tensor], g: Sequence[Tensor]
) -> list[Tensor]:
    """Gradients of ``x`` and ``state`` from those of the spikes and the last state, any shape."""
    return looped.gradients(ENGINE, neuron, spike, x, state, g)
