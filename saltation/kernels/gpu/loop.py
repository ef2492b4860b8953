"""The time loop on a GPU, with the signature of the reference loop.

Nothing in it waits for the device. So backward does not ask whether a potential ran away: the
gradients of such a neuron are what the operations give, the others' are not touched by it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saltation.kernels import looped, tangents
from saltation.kernels.gpu import text
from saltation.kernels.gpu.launch import executed, launched, numbers_on
from saltation.kernels.looped import Engine, Loop, Plan
from saltation.kernels.program.graph import Program
from saltation.kernels.reference import Trace
from saltation.kernels.support import apart
from saltation.kernels.tangents import Carrying
from saltation.neurons.base import Neuron, Spike

# Its compiler is the first whose quotients and roots are IEEE's, as torch's are.
_OLDEST = 3, 6


def is_interpreted() -> bool:
    """Whether Triton's interpreter runs the loops, on a CPU: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def missing() -> str | None:
    """Why there are no loops on any GPU, or None."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return _outdated() if torch.cuda.is_available() else None


def _outdated() -> str | None:
    """Why the compiler that is installed cannot be trusted, or None."""
    import triton

    major, minor = map(int, triton.__version__.split(".")[:2])
    if (major, minor) >= _OLDEST:
        return None
    oldest = ".".join(map(str, _OLDEST))
    return (
        f"triton {triton.__version__} takes subnormal numbers for 0 in quotients and square roots; "
        f"{oldest} or newer does not"
    )


def absent() -> str | None:
    """Why no such loop can run on this machine, or None."""
    here = is_interpreted() or torch.cuda.is_available()
    return missing() or (None if here else "there is no GPU")


def refuses(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool) -> str | None:
    """Why the loop cannot run this, or None."""
    kind = "cpu" if is_interpreted() and x.device.type == "cpu" else "cuda"
    if isinstance(spike, Carrying):
        return missing() or tangents.refuses(neuron, spike, x, state, record, kind)
    return missing() or looped.refuses(neuron, spike, x, state, record, kind)


@apart
def run(neuron: Neuron, spike: Any, x: Tensor, state: Any, record: bool) -> Trace:
    """The loop, with the signature of `reference.run`; torch.compile calls it as it is."""
    if isinstance(spike, Carrying):
        from saltation.kernels.gpu.tangent import Tangents

        return tangents.run(Tangents, neuron, spike, x, state)
    return looped.run(_Loop, neuron, spike, x, state)


class _Kernels(NamedTuple):
    forward: Any
    backward: Any


_kernels: dict[str, _Kernels] = {}


def _kernels_of(program: Program) -> _Kernels:
    """The loops of a program, compiled at their first call."""
    if program.key not in _kernels:
        import triton

        made = executed(text.module(program), program.key)
        changing = ["steps"], ["steps", "segments", "begin", "origin", "kept_origin"]
        _kernels[program.key] = _Kernels(
            *(
                triton.jit(made[name], do_not_specialize=those)
                for name, those in zip(_Kernels._fields, changing, strict=True)
            )
        )
    return _kernels[program.key]


def _forward(
    program: Program, rows: Tensor, x: Tensor, state: tuple[Tensor, ...], keep: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    steps, size = x.shape
    first, s = torch.stack(state), torch.empty_like(x)
    last = torch.empty_like(first)
    segments = -(-steps // text.steps_between(program)) if keep else 0
    kept = x.new_empty(segments, program.variables, size)
    numbers = numbers_on(program.numbers.tobytes(), x.device)
    arrays = numbers, rows, x, first, last, s, kept
    launched(_kernels_of(program).forward, size, *arrays, steps, size, KEEP=keep)
    return s, last, (kept,) if keep else ()


def _backward(
    program: Program,
    rows: Tensor,
    x: Tensor,
    state: tuple[Tensor, ...],
    kept: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    steps, size = x.shape
    late = [torch.zeros_like(g_last[0])] if program.late else []
    g, g_x = torch.stack([*g_last, *late]), torch.empty_like(x)
    learned = x.new_empty(len(program.learned), size)
    segments = len(kept[0])
    begin = (segments - 1) * text.steps_between(program)
    origins = begin * size, (segments - 1) * program.variables * size
    numbers = numbers_on(program.numbers.tobytes(), x.device)
    arrays = numbers, rows, x, kept[0], g_s, g, g_x, learned
    counts = steps, size, segments, begin
    launched(_kernels_of(program).backward, size, *arrays, *counts, *origins)
    return g_x, g, learned


class _Loop(Loop):
    engine = Engine(_forward, _backward, lambda last: True)

    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        return _Loop.run_forward(ctx, plan, x, *parts)
