"""A chain of weighted layers of neurons, from events to the currents of the last layer, as one
differentiable function: between its layers there are events forward, and backward only the
gradients that are not zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from saltation.kernels import reference
from saltation.kernels.cpu.linear import driven_backward, driven_forward, product
from saltation.kernels.cpu.linear.driven_backward import Upstream
from saltation.kernels.cpu.linear.driven_forward import Kept
from saltation.kernels.cpu.linear.product import alive_steps
from saltation.kernels.cpu.linear.source import padded
from saltation.kernels.cpu.runtime.finite import NotFinite
from saltation.kernels.events import Events
from saltation.kernels.looped import constants_of, of_rows, of_views
from saltation.kernels.program.graph import Program
from saltation.kernels.program.program import program_of
from saltation.kernels.reference import Stage

# Outputs up to which a gradient is passed back by the steps and outputs where it is not zero;
# beyond them by a dense product.
_NARROW = 64


class Plan(NamedTuple):
    """What a run of the chain is made of beside its tensors; a program for every stage."""

    events: Events
    stages: Sequence[Stage]
    programs: Sequence[Program]


def _planned(events: Events, stages: Sequence[Stage]) -> Plan:
    return Plan(events, stages, [program_of(stage.neuron, stage.spike) for stage in stages])


def run(events: Events, stages: Sequence[Stage], weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `reference.chain` for the spikes ``events``.

    Raises
    ------
    NotFinite
        If a weight is not finite, or, where a derivative is wanted, a potential.
    """
    plan = _planned(events, stages)
    parts = [part for stage in stages for part in (stage.weight, stage.bias)] + [weight, bias]
    parts += [row for program in plan.programs for row in program.rows]
    parts += [one for stage in stages for one in constants_of(stage.neuron)]
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts):
        return _Chain.apply(plan, *parts)  # type: ignore[no-any-return]
    return _forward(plan, weight, bias, keep=False)[0]


@torch.no_grad()
def emitted(events: Events, stages: Sequence[Stage]) -> Events:
    """The spikes of the last of ``stages``; nothing is kept for a derivative."""
    programs = _planned(events, stages).programs
    for number, (stage, program) in enumerate(zip(stages, programs, strict=True)):
        last = number == len(stages) - 1
        events, _ = driven_forward.forward(stage, program, events, keep=False, trains=last)
    return events


def _forward(
    plan: Plan, weight: Tensor, bias: Tensor | None, keep: bool
) -> tuple[Tensor, list[Kept | None], Events]:
    events, kept = plan.events, []
    wide = [*(True for _ in plan.stages[1:]), len(weight) > _NARROW]
    for stage, program, trains in zip(plan.stages, plan.programs, wide, strict=True):
        events, states = driven_forward.forward(
            stage, program, events, keep=keep, trains=keep and trains
        )
        kept.append(states)
    return product.forward(events, weight, bias), kept, events


class _Chain(torch.autograd.Function):
    """``(plan, *weights and biases, *rows, *constants) -> currents [T, B, C]``, rows and constants
    as in `looped.Loop`."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *parts: Tensor | None) -> Tensor:
        weight, bias = parts[2 * len(plan.stages) : 2 * len(plan.stages) + 2]
        out, ctx.kept, ctx.last = _forward(plan, weight, bias, keep=True)  # type: ignore[arg-type]
        ctx.plan = plan
        ctx.save_for_backward(*parts)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = list(ctx.saved_tensors)
        if torch.is_grad_enabled():
            return None, *_again(ctx, parts, gradient)
        try:
            return None, *_backward(ctx, parts, gradient.contiguous())
        except NotFinite:
            with torch.enable_grad():
                return None, *_again(ctx, parts, gradient, create_graph=False)


def _backward(ctx: Any, parts: list[Any], gradient: Tensor) -> list[Tensor | None]:
    """Gradients of the weights and of rows from what was kept."""
    stages, programs = ctx.plan.stages, ctx.plan.programs
    last = 2 * len(stages)
    weight, bias = parts[last : last + 2]
    found: list[Tensor | None] = [None] * len(parts)
    alive, ends = alive_steps(gradient)
    if bias is not None:
        found[last + 1] = gradient.flatten(0, 1).sum(0)
    upstream: Upstream | Tensor
    if len(weight) <= _NARROW:
        following = _filled(weight).contiguous().detach().numpy()
        upstream = Upstream(gradient.numpy(), alive, following, ctx.last)
    else:
        found[last] = product.backward(ctx.last, gradient)
        upstream = _spread(gradient.transpose(0, 1).flatten(0, 1) @ weight, gradient.shape)
    end = last + 2 + sum(len(program.rows) for program in programs)
    for number, (stage, program) in reversed(list(enumerate(zip(stages, programs, strict=True)))):
        kept = ctx.kept[number]
        g = driven_backward.backward(stage, program, kept, ends, upstream, wants_x=number > 0)
        found[2 * number] = g.weight
        if stage.bias is not None:
            found[2 * number + 1] = g.bias
        if g.next_weight is not None:
            found[last] = g.next_weight
        if g.x is not None:
            wide = g.x[..., : len(stage.weight)].flatten(0, 1) @ stage.weight
            upstream = _spread(wide, gradient.shape)
        shape = torch.Size([len(stage.weight)])
        found[end - len(program.rows) : end] = of_rows(program, g.learned, shape)
        end -= len(program.rows)
    return found


def _filled(rows: Tensor) -> Tensor:
    """``rows`` up to full vectors."""
    missing = padded(rows.shape[1]) - rows.shape[1]
    return functional.pad(rows, (0, missing)) if missing else rows


def _spread(rows: Tensor, shape: torch.Size) -> Tensor:
    """``[B * T, O]`` as ``[B, T, O]`` up to full vectors."""
    steps, batch, _ = shape
    return _filled(rows).view(batch, steps, -1)


def _again(
    ctx: Any, parts: list[Tensor | None], gradient: Tensor, create_graph: bool = True
) -> list[Tensor | None]:
    """Gradients of weights and constants from the reference loop run again, by default
    differentiable."""
    events, stages, programs = ctx.plan
    count = 2 * len(stages) + 2
    first: list[Any] = [None if part is None else part.view_as(part) for part in parts[:count]]
    views = [*first, *parts[count:]]
    again = [
        stage._replace(weight=views[2 * i], bias=views[2 * i + 1]) for i, stage in enumerate(stages)
    ]
    out = reference.chain(events.dense(), again, views[count - 2], views[count - 1])
    # The reference makes rows of its own, from the constants.
    rows = range(count, count + sum(len(program.rows) for program in programs))
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed and i not in rows]
    return of_views([out], [gradient], views, wanted, create_graph)
