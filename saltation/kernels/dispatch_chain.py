"""Choice for layers that can run one behind the other in one piece, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from saltation.kernels.cpu.neurons import loop as cpu_loop
from saltation.kernels.dispatch import sparse_events, unless_not_finite
from saltation.kernels.events import Events, SpikeTensor, settled
from saltation.kernels.reference import Stage


def chain(x: Tensor, stages: Sequence[Stage], weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """`reference.chain` in one piece, or None where no kernel can or it would not pay."""
    x = settled(x)
    weights = [*(stage.weight for stage in stages), weight]
    biases = [*(stage.bias for stage in stages), bias]
    events = _chained(x, stages, *weights, *biases)
    if events is None or any(one.shape[0] != two.shape[1] for one, two in pairwise(weights)):
        return None
    from saltation.kernels.cpu.linear import chain

    return unless_not_finite(chain.run, events, stages, weight, bias)


def _chained(
    x: Tensor, stages: Sequence[Stage], weight: Tensor, *parts: Tensor | None
) -> Events | None:
    """`sparse_events` for stages that can run in one piece; ``weight`` is the first."""
    if not all(map(takes, stages)) or (type(x) is Tensor and x.requires_grad):
        return None
    return sparse_events(x, weight, *parts)


def takes(stage: Stage) -> bool:
    """Whether a chain in one piece can have this stage."""
    return cpu_loop.refuses_between(stage.neuron, stage.spike, stage.weight) is None


def in_one_piece(
    events: Events, stages: Sequence[Stage], weight: Tensor | None, bias: Tensor | None
) -> Tensor | None:
    """Currents of ``weight`` behind stages that `takes` took, or without one, spikes of the last of
    them as a `SpikeTensor`, which have no derivative; None where a number is not finite."""
    from saltation.kernels.cpu.linear import chain, product

    if weight is None:
        spikes = unless_not_finite(chain.emitted, events, stages)
        return None if spikes is None else SpikeTensor(spikes)
    if stages:
        return unless_not_finite(chain.run, events, stages, weight, bias)
    x = SpikeTensor(events)
    return unless_not_finite(product.linear, x, events, weight, bias)


def emitted(x: Tensor, stages: Sequence[Stage]) -> Tensor | None:
    """Spikes of the last of ``stages`` as a `SpikeTensor`, where no derivative can be asked for.

    None where one can, where no kernel can run this, or where it would not pay.
    """
    x = settled(x)
    parts = [part for s in stages for part in (s.weight, s.bias) if part is not None]
    wanted = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    events = None if wanted else _chained(x, stages, parts[0], *parts[1:])
    if events is None:
        return None
    from saltation.kernels.cpu.linear import chain

    spikes = unless_not_finite(chain.emitted, events, stages)
    return None if spikes is None else SpikeTensor(spikes)
