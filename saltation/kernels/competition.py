"""Layers whose weights are not changed by gradients, in plain torch: a fixed one, and one in which
a single neuron wins every step. The reference of the compiled loops, on any device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, one_hot

from saltation.kernels import reference
from saltation.kernels.reference import Stage


class Emitted(NamedTuple):
    """Spikes ``[T, B, N]`` of a layer, 0 or 1, and how many each neuron emitted, ``[B, N]``."""

    spikes: Tensor
    counts: Tensor


@torch.no_grad()
def fixed(x: Tensor, stage: Stage) -> Emitted:
    """Spikes of ``stage``, driven by ``x`` of ``[T, B, F]``."""
    spikes = _spikes(linear(x, stage.weight, stage.bias), stage)
    return Emitted(spikes, spikes.sum(0))


@torch.no_grad()
def compete(x: Tensor, stage: Stage, teach: Tensor) -> Emitted:
    """The winners' spikes of ``stage``, driven by ``x`` of ``[T, B, F]``.

    Parameters
    ----------
    teach
        ``[B, N]``, current that is added in every step.
    """
    currents = linear(x, stage.weight, stage.bias) + teach
    spikes = winners(currents, _spikes(currents, stage))
    return Emitted(spikes, spikes.sum(0))


def winners(currents: Tensor, spikes: Tensor) -> Tensor:
    """Where any neuron of a sample spikes, one spike, of the neuron of largest current.

    Of equal currents the first wins. It need not be among the neurons that reached threshold, all
    of which have made their jump: what the others lose is their spike.
    """
    best = one_hot(currents.argmax(-1), currents.shape[-1]).to(spikes.dtype)
    return best * spikes.amax(-1, keepdim=True)


def _spikes(currents: Tensor, stage: Stage) -> Tensor:
    start = stage.neuron.rest(currents[0])
    return reference.run(stage.neuron, stage.spike, currents, start).spikes
