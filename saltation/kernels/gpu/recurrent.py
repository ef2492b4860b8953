"""Neurons whose spikes feed back, on a GPU: between the steps torch multiplies spikes with their
weights, and each step of the neurons is one printed loop, of one step.

The product is that of the reference, so that spikes are its too: one inside the loop would add up
in an order of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from saltation.kernels.gpu import loop
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.reference import Trace
from saltation.neurons.base import Neuron, Spike


def run(
    neuron: Neuron, spike: Spike, x: Tensor, feedback: Feedback, state: RecurrentState
) -> Trace:
    """As `kernels.recurrent.run`; no traces are kept."""
    spikes, own = state
    emitted: list[Tensor] = []
    for x_t in x.unbind(0):
        current = x_t + linear(spikes, feedback.weight, feedback.bias)
        after = loop.run(neuron, spike, current[None], own, record=False)
        spikes, own = after.spikes[0], after.state
        emitted.append(spikes)
    return Trace(torch.stack(emitted), RecurrentState(spikes, own))
