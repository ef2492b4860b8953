"""The reference loop of neurons whose spikes feed back, in plain torch.

    current = x[t] + (V s[t-1] + bias),      then the neuron's own step

It runs any model on any device in any dtype, and has every derivative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from saltation.kernels.reference import Trace
from saltation.kernels.rounding import rounded
from saltation.neurons.base import Neuron, Spike
from saltation.state import stack_states


class RecurrentState(NamedTuple):
    """State of neurons that feed back: their last ``spikes`` [B, F] and the state of ``neuron``."""

    spikes: Tensor
    neuron: Any


class Feedback(NamedTuple):
    """What spikes of one step add to the currents of the next: ``weight`` [F, F], ``bias`` [F]."""

    weight: Tensor
    bias: Tensor | None


def step(
    neuron: Neuron, spike: Spike, x: Tensor, feedback: Feedback, state: RecurrentState
) -> tuple[Tensor, RecurrentState, Tensor]:
    """One step from currents ``x`` [B, F]: spikes, state, and potential before the jump."""
    current = x + linear(state.spikes, feedback.weight, feedback.bias)
    s, after, h = neuron.step(current, state.neuron, spike)
    return s, RecurrentState(s, after), h[0]


def run(
    neuron: Neuron,
    spike: Spike,
    x: Tensor,
    feedback: Feedback,
    state: RecurrentState,
    record: bool = False,
) -> Trace:
    """Run ``neuron`` over the input currents ``x`` of ``[T, B, F]`` from ``state``."""
    spikes: list[Tensor] = []
    potentials: list[Tensor] = []
    states: list[Any] = []
    with rounded(neuron, spike, x):
        for x_t in x.unbind(0):
            s, state, h = step(neuron, spike, x_t, feedback, state)
            spikes.append(s)
            if record:
                potentials.append(h)
                states.append(state.neuron)
    emitted = torch.stack(spikes)
    if not record:
        return Trace(emitted, state)
    history = RecurrentState(emitted, stack_states(states))
    return Trace(emitted, state, torch.stack(potentials), history)
