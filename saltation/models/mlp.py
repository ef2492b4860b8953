"""Spiking multilayer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from saltation.encoding import direct
from saltation.errors import SaltationError, choose
from saltation.layers import LAYERS, READOUTS, Readout, Sequential, SpikeLinear
from saltation.models.init import INITS
from saltation.models.vgg import DEFAULTS
from saltation.surrogate import FastSigmoid


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


class Shown(nn.Module):
    """Images, shown at every one of ``steps`` steps, and sequences of them as rows of pixels."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[steps, B, C H W]``, ``[T, B, C, H, W]`` to ``[T, B, C H W]``."""
        return self.as_sequence(x).flatten(2)

    def as_sequence(self, x: Tensor) -> Tensor:
        """An image as the sequence that is shown; a sequence as it is."""
        return direct(x, self.steps) if x.ndim == 4 else x


def fits_mlp(depth: int, side: int) -> bool:
    """A perceptron may be of any depth."""
    return True


def image_mlp(
    shape: tuple[int, int, int],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    steps: int = 4,
    init: str = "kaiming",
) -> nn.Sequential:
    """`spiking_mlp` on images ``shape = (C, H, W)``: ``depth`` layers of ``base_channels`` neurons.

    As a `spiking_vgg` it has its LIF neurons, biases, its initial weights and a linear readout of
    the summed spikes. There is no normalisation and no dropout.

    Raises
    ------
    SaltationError
        If a number is below 1 or the name of the initial weights unknown.
    """
    choose("init", init, INITS)
    if depth < 1:
        raise SaltationError(f"depth must be at least 1, got {depth}")
    chain = spiking_mlp(
        (math.prod(shape), *[base_channels] * depth, classes),
        readout="sum",
        bias=True,
        surrogate=FastSigmoid(25.0),
        **DEFAULTS["lif"],
    )
    return nn.Sequential(Shown(steps), chain).apply(INITS[init])
