"""Neurons behind batch normalisation as one differentiable function of what is normalised."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from saltation.kernels import reference
from saltation.kernels.cpu.neurons import normalised
from saltation.kernels.cpu.neurons.moments import Statistics, statistics
from saltation.kernels.program.graph import Program
from saltation.kernels.program.program import program_of
from saltation.neurons.base import Neuron, Spike


class _Plan(NamedTuple):
    """What the function has beside tensors."""

    neuron: Neuron
    spike: Spike
    program: Program
    rest: Tensor
    statistics: Statistics
    affine: normalised.Affine
    eps: float
    steps: int


def run(
    x: Tensor,
    steps: int,
    together: bool,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    neuron: Neuron,
    spike: Spike,
) -> tuple[Tensor, Statistics] | None:
    """Spikes ``[T, B, C, H, W]`` of neurons at rest whose currents are ``x`` normalised; None where
    something is not finite.

    ``x`` is ``[T, B, C, H, W]``, or ``[1, B, C, H, W]`` where all ``steps`` are the same, with
    channels last in memory. Its statistics are those of each step, or of all steps ``together``.
    """
    count, samples, channels, height, width = x.shape
    rows = x.permute(0, 1, 3, 4, 2).reshape(count, -1, channels)
    found = statistics(rows.view(1, -1, channels) if together else rows)
    if not (np.isfinite(found.mean).all() and np.isfinite(found.variance).all()):
        return None
    rest = torch.stack(list(neuron.rest(torch.zeros(1, dtype=torch.float32))))
    affine = normalised.affine_of(found, weight, bias, eps, steps)
    plan = _Plan(neuron, spike, program_of(neuron, spike), rest, found, affine, eps, steps)
    spikes = normalised.forward(plan.program, rest, rows, affine)
    if spikes is None:
        return None
    if torch.is_grad_enabled() and any(part.requires_grad for part in (rows, weight, bias)):
        spikes = _Normalised.apply(plan, [spikes], rows, weight, bias)
    return spikes.view(steps, samples, height, width, channels).permute(0, 1, 4, 2, 3), found


class _Normalised(torch.autograd.Function):
    """``(plan, [spikes], rows [T, M, C], weight, bias) -> spikes [T, N]``, which are known."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, known: list[Tensor], rows: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.plan = plan
        ctx.save_for_backward(rows, weight, bias)
        return known.pop()

    @staticmethod
    def backward(ctx: Any, g_s: Tensor) -> tuple[Tensor | None, ...]:
        parts, plan = ctx.saved_tensors, ctx.plan
        if torch.is_grad_enabled():  # a graph is wanted, of operations that have derivatives
            wanted = ctx.needs_input_grad[2:]
            views = [part.view_as(part) for part in parts]
            some = [view for view, needed in zip(views, wanted, strict=True) if needed]
            found = iter(torch.autograd.grad(_plainly(plan, *views), some, g_s, create_graph=True))
            return None, None, *(next(found) if needed else None for needed in wanted)
        rows, weight, _ = parts
        given = rows, plan.affine, plan.statistics, weight, plan.eps, g_s.contiguous()
        return None, None, *normalised.backward(plan.program, plan.rest, *given)


def _plainly(plan: _Plan, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The spikes in torch's operations."""
    groups, channels = len(plan.statistics.mean), rows.shape[2]
    x = torch.stack(
        [
            functional.batch_norm(part, None, None, weight, bias, training=True, eps=plan.eps)
            for part in rows.view(groups, -1, channels)
        ]
    ).view_as(rows)
    x = x.expand(plan.steps, *rows.shape[1:])
    start = plan.neuron.rest(x[0])
    return reference.run(plan.neuron, plan.spike, x, start).spikes.flatten(1)
