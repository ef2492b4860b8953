"""Spiking multilayer perceptrons."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import nn

from saltation.errors import SaltationError, choose
from saltation.layers import LAYERS, READOUTS, Readout, Sequential, SpikeLinear


def spiking_mlp(
    sizes: Sequence[int],
    *,
    neuron: str = "lif",
    readout: str = "max",
    bias: bool = False,
    **parameters: Any,
) -> Sequential:
    """A chain of linear layers and neurons, and a readout over time.

    Every hidden layer is ``Linear`` followed by neurons; the output layer is ``Linear``, followed
    by neurons only where the readout counts their spikes.

    Parameters
    ----------
    sizes : sequence of int
        Features from the input to the classes, such as ``(784, 256, 10)``.
    neuron : str, default "lif"
        Model of every neuron.
    readout : str, default "max"
        ``max``, ``mean``, ``sum``, ``last`` or ``spike_count``; see `Readout`.
    bias : bool, default False
        Whether the linear layers have biases.
    **parameters
        Of every neuron layer: ``dt``, ``scheme``, ``surrogate``, ...

    Returns
    -------
    `Sequential` from spikes ``[T, B, sizes[0]]`` to logits ``[B, sizes[-1]]``.

    Raises
    ------
    SaltationError
        If fewer than two sizes are given, one is below 1, or a name is unknown.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise SaltationError(
            f"sizes must be two or more positive integers, input first, got {list(sizes)}"
        )
    layer = LAYERS[choose("neuron", neuron, LAYERS)]
    choose("readout", readout, READOUTS)
    modules: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        modules += [SpikeLinear(fan_in, fan_out, bias=bias), layer(**parameters)]
    if readout != "spike_count":
        modules.pop()
    return Sequential(*modules, Readout(readout))
