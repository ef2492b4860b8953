"""Spiking VGG networks: stages of convolutions and neurons, each followed by pooling.

Source: Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015, with neurons in place of rectifiers, batch normalisation, average pooling and one linear
layer behind the convolutions.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, fraction
from saltation.models.blocks import AvgPool, ConvBlock, channels_last
from saltation.models.image import ImageNetwork
from saltation.models.init import INITS, initialise
from saltation.models.options import MOST_STAGES, completed, counts_of_options
from saltation.neurons import Neuron
from saltation.surrogate import FastSigmoid, Sigmoid, Smooth, Surrogate

MOST_CHANNELS = 512

# What the neurons are unless told otherwise. Of LIF: snnTorch's Leaky, as in the depth benchmark.
DEFAULTS: dict[str, dict[str, Any]] = {
    "lif": {"beta": 0.9, "jump": "soft_delayed", "detach_reset": True}
}


# What the depth benchmark has: the networks that are made to a depth.
BENCHMARK: dict[str, Any] = {"surrogate": FastSigmoid(25.0), "batch_norm": "step"}


class SpikingVGG(ImageNetwork):
    """The network that `spiking_vgg` makes.

    Attributes
    ----------
    stages : Sequential
        Stages, each its blocks and a pooling: ``stages[i][j].neurons`` are neurons.
    dropout, readout
        From the summed spikes to the logits.
    steps, shape
        See `ImageNetwork`.
    """

    over_time: ClassVar[str] = "sum"

    def __init__(
        self,
        stages: nn.Sequential,
        dropout: nn.Dropout,
        readout: nn.Linear,
        steps: int,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__(steps, shape)
        self.stages = stages
        self.dropout = dropout
        self.readout = readout

    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.readout(self.dropout(self.stages(channels_last(x)).sum(0).flatten(1)))
        return logits

    def outputs(self, x: Tensor) -> Tensor:
        """``W dropout(T s[t]) + b`` of every step, the same spikes being dropped in all of them."""
        spikes: Tensor = self.stages(channels_last(x)).flatten(2)
        kept = self.dropout(torch.ones_like(spikes[0]))
        outputs: Tensor = self.readout(len(spikes) * spikes * kept)
        return outputs


def spiking_vgg(
    in_channels: int,
    classes: int,
    size: int = 32,
    *,
    stages: int = 4,
    blocks_per_stage: int = 2,
    base_channels: int = 64,
    steps: int = 4,
    neuron: str | type[Neuron] = "lif",
    surrogate: str | Surrogate | Smooth = Sigmoid(2.0),
    dropout: float = 0.25,
    batch_norm: str = "all",
    init: str = "kaiming",
    per_step: bool = False,
    **parameters: Any,
) -> SpikingVGG:
    """Stages of convolutions and neurons, and a linear readout of the summed spikes.

    Every stage is ``blocks_per_stage`` blocks, each a 3x3 convolution without bias, batch
    normalisation and neurons, and average pooling by 2. Channels double from stage to stage, to at
    most 512. The logits are ``W dropout(sum over t of s[t]) + b``, s being the pooled spikes of the
    last stage. Source: Simonyan & Zisserman, 2015 (VGG).

    Parameters
    ----------
    in_channels, classes : int
        Channels of the images, and number of logits.
    size : int, default 32
        Height and width of the images, at least ``2 ** stages``: every pooling halves it, rounding
        down.
    stages, blocks_per_stage : int, default 4, 2
        The depth, in convolutions, is their product.
    base_channels : int, default 64
        Channels of the first stage, at most 512.
    steps : int, default 4
        Number of steps T for which an image is shown.
    neuron : str or type of Neuron, default "lif"
        Model of every neuron. LIF has ``beta=0.9`` (unless tau, dt or scheme are given),
        ``jump="soft_delayed"`` and ``detach_reset=True``, as snnTorch's Leaky; other models have
        the defaults of their layers.
    surrogate : Surrogate or str, default Sigmoid(2)
        The spike function of every neuron. The derivative of the default is about as wide as
        potentials behind normalisation spread; with a narrower one, such as the depth benchmark's
        ``FastSigmoid(25)``, gradients shrink from layer to layer.
    dropout : float, default 0.25
        Probability, in [0, 1), that a summed spike is dropped in training.
    batch_norm : str, default "all"
        Whether batch normalisation takes the statistics of ``all`` steps together, or of each
        ``step`` by itself, as in the depth benchmark, so that in training, too, steps can be run
        one after the other. With ``step`` one running mean serves all steps in evaluation, which is
        not what training had. ``per_step`` is ``step`` with running
        statistics of every step apart, so that evaluation normalises as training does; sequences
        are then of at most ``steps`` steps (BNTT, Kim & Panda, 2021; see `SpikingBatchNorm2d`).
        ``tdbn`` is ``all``, beginning at the size of the threshold (Zheng et al., 2021), ``none``
        leaves it out.
    init : str, default "kaiming"
        ``kaiming``: convolutions normal with variance 2 / fan_out, readout Xavier uniform;
        ``scaled``: convolutions half as large, readout orthogonal with gain 1/2; ``truncated``:
        normal with deviation 0.02; ``potential_gain``: ``kaiming`` times a factor with which
        potentials spread as currents do without it; ``spike_aware``: variance by which layer after
        layer fires at one rate (Micheli et al., 2024); ``fluctuation_driven``: potentials fluctuate
        with a deviation of the threshold (Rossbroich et al., 2022). Behind batch normalisation the
        size of a convolution's weights does not change what the network computes in training, but
        gradients are inverse to it: the last three set the normalisation's factors there. Biases
        are 0.
    per_step : bool, default False
        Whether the network gives the output of every step, ``[T, B, classes]``, of which the logits
        are the mean; for `tet_loss`.
    **parameters
        Of every neuron layer: ``v_threshold``, ``tau``, ``backend``, ...

    Returns
    -------
    `SpikingVGG` from images ``[B, in_channels, size, size]`` or sequences
    ``[T, B, in_channels, size, size]`` to logits ``[B, classes]``.

    Raises
    ------
    SaltationError
        If a number is out of range, the size does not survive the poolings, or a name is unknown.

    Examples
    --------
    >>> net = st.spiking_vgg(3, 10)  # depth 8, for CIFAR-10
    >>> logits = net(images)  # [B, 3, 32, 32] to [B, 10]
    """
    in_channels, classes, size, stages, blocks_per_stage, base_channels, steps = counts_of_options(
        in_channels=in_channels,
        classes=classes,
        size=size,
        stages=stages,
        blocks_per_stage=blocks_per_stage,
        base_channels=base_channels,
        steps=steps,
    )
    if base_channels > MOST_CHANNELS:
        raise SaltationError(f"base_channels must be at most {MOST_CHANNELS}, got {base_channels}")
    halvings = size.bit_length() - 1
    if stages > halvings:
        raise SaltationError(
            f"size must be at least 2 ** stages, because every stage halves it, got size {size} "
            f"and {stages} stages (allowed for this size: at most {halvings})"
        )
    dropout = fraction("dropout", dropout)
    choose("init", init, INITS)

    options = {"steps": steps, "surrogate": surrogate, **completed(neuron, parameters, DEFAULTS)}
    made = []
    fan_in = in_channels
    for stage in range(stages):
        fan_out = min(base_channels * 2**stage, MOST_CHANNELS)
        blocks = []
        for _ in range(blocks_per_stage):
            blocks.append(ConvBlock(fan_in, fan_out, neuron, batch_norm, **options))
            fan_in = fan_out
        made.append(nn.Sequential(*blocks, AvgPool(2)))
    network = SpikingVGG(
        nn.Sequential(*made),
        nn.Dropout(dropout),
        nn.Linear(fan_in * (size // 2**stages) ** 2, classes),
        steps,
        (in_channels, size, size),
    )
    initialise(network, init, steps)
    network.per_step = per_step
    return network


def stages_of(depth: int, side: int) -> tuple[int, int] | None:
    """Stages, and blocks of each, of a VGG with ``depth`` convolutions, None if there is none.

    There are 4 stages, or as many as images of ``side`` pixels can be halved; fewer convolutions
    are stages of one block each, more must divide among them.
    """
    stages = min(MOST_STAGES, side.bit_length() - 1)
    if 1 <= depth <= stages:
        return depth, 1
    if depth < 1 or stages < 1 or depth % stages:
        return None
    return stages, depth // stages


def fits_vgg(depth: int, side: int) -> bool:
    """Whether `vgg_of_depth` has a network of this depth for images of this side."""
    return stages_of(depth, side) is not None


def vgg_of_depth(
    shape: tuple[int, int, int], classes: int, depth: int, **options: Any
) -> SpikingVGG:
    """`spiking_vgg` for images ``shape = (C, H, W)`` with ``depth`` convolutions; see `stages_of`.

    Unless ``options`` say otherwise it is the network of the depth benchmark: a fast sigmoid of
    slope 25, and batch normalisation ``step``.

    Raises
    ------
    SaltationError
        If the depth does not divide among the stages, or an option is not allowed.
    """
    parts = stages_of(depth, shape[1])
    if parts is None:
        raise SaltationError(
            f"{depth} convolutions do not divide among the stages of images of side {shape[1]}"
        )
    options = {**BENCHMARK, **options}
    return spiking_vgg(
        shape[0], classes, shape[1], stages=parts[0], blocks_per_stage=parts[1], **options
    )
