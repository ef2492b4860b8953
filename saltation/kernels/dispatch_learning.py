"""Choice of the loops that learn without a gradient, and of those that drive them."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.kernels import competition, plasticity
from saltation.kernels.competition import Emitted
from saltation.kernels.cpu.neurons import loop as cpu_loop
from saltation.kernels.dispatch import known_events, unless_not_finite
from saltation.kernels.events import Events, events_of, settled
from saltation.kernels.plasticity import Pair
from saltation.kernels.reference import Stage
from saltation.kernels.support import lacks


def fixed(x: Tensor, stage: Stage) -> Emitted:
    """`competition.fixed`; on a CPU its cost follows how often the spikes ``x`` change."""
    events = _driving(x, stage)
    if events is None or not events.has_bits:
        return competition.fixed(x, stage)
    from saltation.kernels.cpu.stdp import fixed as compiled  # imports numba

    out = unless_not_finite(compiled.forward, events, stage)
    return competition.fixed(x, stage) if out is None else out


def compete(x: Tensor, stage: Stage, teach: Tensor) -> Emitted:
    """`competition.compete`; on a CPU its cost follows the spikes ``x``."""
    events = _driving(x, stage, teach)
    if events is None:
        return competition.compete(x, stage, teach)
    from saltation.kernels.cpu.stdp import winner  # imports numba

    if len(stage.weight) > winner.MOST:
        return competition.compete(x, stage, teach)
    out = unless_not_finite(winner.forward, events, stage, teach)
    return competition.compete(x, stage, teach) if out is None else out


def stdp(pre: Tensor, post: Tensor, factor: Tensor, pair: Pair) -> Tensor:
    """`plasticity.run`; on a CPU its cost follows the spikes."""
    events = events_of(pre)
    if events is None or lacks(torch.float32, post, factor):
        return plasticity.run(pre, post, factor, pair)
    from saltation.kernels.cpu.stdp import plasticity as compiled  # imports numba

    change = unless_not_finite(compiled.forward, events, post, factor, pair)
    return plasticity.run(pre, post, factor, pair) if change is None else change


def _driving(x: Tensor, stage: Stage, *parts: Tensor) -> Events | None:
    """The spikes ``x`` as events, if compiled loops without a derivative can run ``stage``."""
    if stage.neuron.tensors or cpu_loop.refuses_between(stage.neuron, stage.spike, stage.weight):
        return None
    return known_events(settled(x), stage.weight, stage.bias, *parts)
