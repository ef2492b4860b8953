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
from saltation.kernels.reference import Stage

# Outputs up to which a gradient is passed back by the steps and outputs where it is not zero;
# beyond them by a dense product.
_NARROW = 64


class Plan(NamedTuple):
    """What a run of the chain is made of beside its weights."""

    events: Events
    stages: Sequence[Stage]


def run(events: Events, stages: Sequence[Stage], weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `reference.chain` for the spikes ``events``.

    Raises
    ------
    NotFinite
        If a weight is not finite, or, where a derivative is wanted, a potential.
    """
    parts = [part for stage in stages for part in (stage.weight, stage.bias)] + [weight, bias]
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts):
        return _Chain.apply(Plan(events, stages), *parts)  # type: ignore[no-any-return]
    return _forward(Plan(events, stages), weight, bias, keep=False)[0]


@torch.no_grad()
def emitted(events: Events, stages: Sequence[Stage]) -> Events:
    """The spikes of the last of ``stages``; nothing is kept for a derivative."""
    for number, stage in enumerate(stages):
        last = number == len(stages) - 1
        events, _ = driven_forward.forward(stage, events, keep=False, trains=last)
    return events


def _forward(
    plan: Plan, weight: Tensor, bias: Tensor | None, keep: bool
) -> tuple[Tensor, list[Kept | None], Events]:
    events, kept = plan.events, []
    wide = [*(True for _ in plan.stages[1:]), len(weight) > _NARROW]
    for stage, trains in zip(plan.stages, wide, strict=True):
        events, states = driven_forward.forward(stage, events, keep=keep, trains=keep and trains)
        kept.append(states)
    return product.forward(events, weight, bias), kept, events


class _Chain(torch.autograd.Function):
    """``(plan, *weights and biases) -> currents [T, B, C]``."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *parts: Tensor | None) -> Tensor:
        weight: Any = parts[-2]
        out, ctx.kept, ctx.last = _forward(plan, weight, parts[-1], keep=True)
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
    """Gradients of the weights from what was kept."""
    weight = parts[-2]
    found: list[Tensor | None] = [None] * len(parts)
    alive, ends = alive_steps(gradient)
    if parts[-1] is not None:
        found[-1] = gradient.flatten(0, 1).sum(0)
    upstream: Upstream | Tensor
    if len(weight) <= _NARROW:
        following = _filled(weight).contiguous().detach().numpy()
        upstream = Upstream(gradient.numpy(), alive, following, ctx.last)
    else:
        found[-2] = product.backward(ctx.last, gradient)
        upstream = _spread(gradient.transpose(0, 1).flatten(0, 1) @ weight, gradient.shape)
    for number, stage in reversed(list(enumerate(ctx.plan.stages))):
        g = driven_backward.backward(stage, ctx.kept[number], ends, upstream, wants_x=number > 0)
        found[2 * number] = g.weight
        if stage.bias is not None:
            found[2 * number + 1] = g.bias
        if g.next_weight is not None:
            found[-2] = g.next_weight
        if g.x is not None:
            wide = g.x[..., : len(stage.weight)].flatten(0, 1) @ stage.weight
            upstream = _spread(wide, gradient.shape)
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
    """Gradients of the weights from the reference loop run again, by default differentiable."""
    views: list[Any] = [None if part is None else part.view_as(part) for part in parts]
    stages = [
        stage._replace(weight=views[2 * i], bias=views[2 * i + 1])
        for i, stage in enumerate(ctx.plan.stages)
    ]
    out = reference.chain(ctx.plan.events.dense(), stages, views[-2], views[-1])
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
    gradients = torch.autograd.grad(
        out, [views[i] for i in wanted], gradient, create_graph=create_graph, allow_unused=True
    )
    found: list[Tensor | None] = [None] * len(parts)
    for i, one in zip(wanted, gradients, strict=True):
        found[i] = one
    return found
