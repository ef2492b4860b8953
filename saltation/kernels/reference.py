"""The reference time loop in plain torch: any model, any device, any dtype, any derivative.

It is the truth that every fast kernel is tested against, and the form to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from saltation.kernels.rounding import rounded
from saltation.neurons.base import Neuron, Spike
from saltation.state import stack_states

MEMORIES = ("store", "recompute")


class Stage(NamedTuple):
    """A layer of neurons at rest and the weights that drive it.

    Attributes
    ----------
    weight, bias
        ``[O, F]``, and ``[O]`` or None.
    neuron, spike
        The model and the spike function of the O neurons.
    memory
        ``store`` what backward needs, or ``recompute`` it.
    """

    weight: Tensor
    bias: Tensor | None
    neuron: Neuron
    spike: Spike
    memory: str = "store"


class Trace(NamedTuple):
    """What a loop over T steps returns.

    Attributes
    ----------
    spikes
        ``[T, B, ...]``, 0 or 1.
    state
        State after the last step.
    h
        Potential at the end of each step before the jump, ``[T, B, ...]``; None if not recorded.
    states
        State after each step's jump, every tensor ``[T, B, ...]``; None if not recorded.
    """

    spikes: Tensor
    state: Any
    h: Tensor | None = None
    states: Any = None


def run(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool = False) -> Trace:
    """Run ``neuron`` over the input currents ``x`` of ``[T, B, ...]`` from ``state``."""
    spikes: list[Tensor] = []
    potentials: list[Tensor] = []
    states: list[Any] = []
    with rounded(neuron, spike, x):
        for x_t in x.unbind(0):
            s, state, h = neuron.step(x_t, state, spike)
            spikes.append(s)
            if record:
                potentials.append(h[0])
                states.append(state)
    if not record:
        return Trace(torch.stack(spikes), state)
    return Trace(torch.stack(spikes), state, torch.stack(potentials), stack_states(states))


def spike_times(neuron: Neuron, spike: Spike, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """When in ``x`` of ``[T, B, ...]`` every spike is, infinite where there is none, and the last
    state. Derivatives are those of the times, with no part of the spike function."""
    model = neuron.with_values({"detach_reset": True})
    times: list[Tensor] = []
    with rounded(neuron, spike, x):
        for t, x_t in enumerate(x.unbind(0)):
            s, state, theta = model.timed_step(x_t, state, spike)
            at = (t + theta) * model.dt
            times.append(torch.where(s.detach() > 0, at, torch.full_like(at, torch.inf)))
    return torch.stack(times), state


def chain(x: Tensor, stages: Sequence[Stage], weight: Tensor, bias: Tensor | None) -> Tensor:
    """Currents ``[T, B, C]`` of the last ``weight`` [C, O], behind stages that ``x`` drives."""
    for stage in stages:
        currents = linear(x, stage.weight, stage.bias)
        x = run(stage.neuron, stage.spike, currents, stage.neuron.rest(currents[0])).spikes
    return linear(x, weight, bias)
