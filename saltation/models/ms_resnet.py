"""Residual networks with membrane shortcuts.

What a block adds are currents, and its neurons stand in front of its convolutions:

    x[l + 1] = x[l] + norm(W2 neurons(norm(W1 neurons(x[l]))))

so that nothing but additions lies between the first and the last currents, whatever the depth, and
all that is convolved are spikes. Source: Hu, Deng, Wu, Yao & Li, "Advancing spiking neural networks
toward deep residual learning", IEEE TNNLS, 2024 (482 layers on CIFAR-10, 104 on ImageNet), on the
shapes of He, Zhang, Ren & Sun, "Deep residual learning for image recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, count, entries, fraction, shown
from saltation.layers import SpikeConv2d
from saltation.models.blocks import AvgPool, at_every_step, normalisation
from saltation.models.image import ImageNetwork
from saltation.models.init import INITS, initialise
from saltation.models.options import completed, counts_of_options
from saltation.models.sew_resnet import counts_of
from saltation.neurons import Neuron, get_neuron
from saltation.surrogate import Rectangle, Smooth, Surrogate

# What the neurons are unless told otherwise. Of LIF: those of the authors' code, v = 0.25 v + x.
DEFAULTS: dict[str, dict[str, Any]] = {
    "lif": {"beta": 0.25, "v_threshold": 0.5, "detach_reset": True}
}

# Of each convolution: its kernel and its stride, and whether it has a bias. The biases of the deep
# stem stand before a normalisation and change nothing in training; they are in the authors' count.
STEMS: dict[str, tuple[tuple[int, int, bool], ...]] = {
    "cifar": ((3, 1, False),),
    "imagenet": ((7, 2, False),),
    "deep": ((3, 2, True), (3, 1, True), (3, 1, True)),
}


class Currents(nn.Module):
    """Convolutions one behind the other and a normalisation: currents of what comes in.

    Attributes
    ----------
    neurons : SpikingLayer or Identity
        In front of the convolutions; none in a stem and a shortcut.
    convs : ModuleList
    norm : Module
    """

    def __init__(self, neurons: nn.Module, convs: list[SpikeConv2d], norm: nn.Module) -> None:
        super().__init__()
        self.neurons = neurons
        self.convs = nn.ModuleList(convs)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C', H', W']``."""
        x = self.neurons(x)
        for conv in self.convs:
            x = at_every_step(conv, x)
        currents: Tensor = self.norm(x)
        return currents


class MSBlock(nn.Module):
    """Currents that come in, and those that the branch makes of their spikes, added.

    Attributes
    ----------
    branch : Sequential
        Two of `Currents`. The factors of the second's normalisation begin at 0, so that a fresh
        block is its shortcut.
    shortcut : Identity, Currents or Sequential
        The identity, or a 1x1 convolution and normalisation where the shape changes.
    """

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Currents ``[T, B, C, H, W]`` to currents of the branch's shape."""
        currents: Tensor = self.branch(x) + self.shortcut(x)
        return currents


class MSResNet(ImageNetwork):
    """The network that `ms_resnet` makes.

    Attributes
    ----------
    stem : Currents
        From the image to currents.
    stages : Sequential
        Stages of `MSBlock`.
    neurons : SpikingLayer
        Of the last currents.
    dropout, readout
        From the mean over steps and pixels to the logits.
    steps, shape
        See `ImageNetwork`.
    """

    def __init__(
        self,
        stem: Currents,
        stages: nn.Sequential,
        neurons: nn.Module,
        dropout: nn.Dropout,
        readout: nn.Linear,
        channels: int,
        steps: int,
    ) -> None:
        super().__init__(steps, (channels, None, None))
        self.stem = stem
        self.stages = stages
        self.neurons = neurons
        self.dropout = dropout
        self.readout = readout

    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.readout(self.dropout(self._spikes(x).mean((0, 3, 4))))
        return logits

    def outputs(self, x: Tensor) -> Tensor:
        """The readout of every step, the same features being dropped in all of them."""
        features = self._spikes(x).mean((3, 4))
        outputs: Tensor = self.readout(features * self.dropout(torch.ones_like(features[0])))
        return outputs

    def _spikes(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.neurons(self.stages(self.stem(x)))
        return spikes


def ms_resnet(
    counts: Sequence[int],
    in_channels: int,
    classes: int,
    *,
    stem: str = "cifar",
    pooled: bool = False,
    width: int = 64,
    steps: int = 4,
    neuron: str | type[Neuron] = "lif",
    surrogate: str | Surrogate | Smooth = Rectangle(0.5),
    dropout: float = 0.0,
    batch_norm: str = "tdbn",
    init: str = "kaiming",
    per_step: bool = False,
    **parameters: Any,
) -> MSResNet:
    """A residual network with membrane shortcuts (Hu et al., 2024).

    A stem makes currents of the image; stages of basic blocks ``x + norm(W2 neurons(norm(W1
    neurons(x))))`` add to them, the first block of every stage but the first (with an ImageNet stem
    of every stage) halving the size; neurons, and a linear readout of their mean over steps and
    pixels. There is nothing between two blocks, and the factors of a block's last normalisation
    begin at 0, so that currents and gradients pass a fresh network unchanged, at any depth.

    Parameters
    ----------
    counts : sequence of int
        Blocks of each stage, such as ``(2, 2, 2, 2)``.
    in_channels, classes : int
        Channels of the images, and number of logits.
    stem : str, default "cifar"
        ``cifar``: a 3x3 convolution that keeps the size; ``imagenet``: a 7x7 convolution with
        stride 2; ``deep``: three 3x3 convolutions, the first with stride 2.
    pooled : bool, default False
        Whether shortcuts that change the shape pool by 2 and then convolve, in place of a
        convolution with stride 2.
    width : int, default 64
        Channels of the first stage; each stage has twice those of the one before.
    steps : int, default 4
        Number of steps T for which an image is shown. The authors' is 6 on ImageNet.
    neuron : str or type of Neuron, default "lif"
        Model of every neuron. LIF has ``beta=0.25`` (unless tau, dt or scheme are given),
        ``v_threshold=0.5`` and ``detach_reset=True``, as the authors' code; other models have the
        defaults of their layers.
    surrogate : Surrogate or str, default Rectangle(0.5)
        The spike function of every neuron.
    dropout : float, default 0
        Probability, in [0, 1), that a feature is dropped in front of the readout in training.
    batch_norm : str, default "tdbn"
        ``step``, ``all``, ``tdbn`` or ``per_step``; see `spiking_vgg`. The authors' is ``tdbn``.
        ``none`` is refused: nothing would then keep currents from growing block by block.
    init : str, default "kaiming"
        See `spiking_vgg`.
    per_step : bool, default False
        Whether the network gives the output of every step, ``[T, B, classes]``, of which the logits
        are the mean; for `tet_loss`.
    **parameters
        Of every neuron layer: ``v_threshold``, ``tau``, ``backend``, ...

    Returns
    -------
    `MSResNet` from images ``[B, in_channels, H, W]`` or sequences ``[T, B, in_channels, H, W]`` of
    any size to logits ``[B, classes]``.

    Raises
    ------
    SaltationError
        If a number is out of range or a name is unknown.

    Examples
    --------
    >>> net = st.ms_resnet((8, 8, 8, 8), 1, 10, width=8)  # 65 layers of neurons
    >>> logits = net(images)  # [B, 1, 16, 16] to [B, 10]
    """
    in_channels, classes, width, steps = counts_of_options(
        in_channels=in_channels, classes=classes, width=width, steps=steps
    )
    numbers = [count("counts", blocks) for blocks in entries(counts)]
    if not numbers:
        raise SaltationError(
            "counts must hold the number of blocks of one stage or more, got "
            f"{shown(counts) if counts else 'none'}"
        )
    dropout = fraction("dropout", dropout)
    if batch_norm == "none":
        raise SaltationError(
            "an MS-ResNet needs a normalisation, for its blocks add currents to currents: "
            "batch_norm must be step, all, tdbn or per_step, got 'none'"
        )
    choose("init", init, INITS)
    get_neuron(neuron)
    own = {"surrogate": surrogate, **completed(neuron, parameters, DEFAULTS)}

    def neurons() -> Any:
        return get_neuron(neuron).layer(**own)

    v_threshold = neurons().neuron.v_threshold

    def norm(channels: int) -> nn.Module:
        return normalisation(channels, batch_norm, v_threshold, steps)

    def block(fan_in: int, fan_out: int, stride: int) -> MSBlock:
        last: Any = norm(fan_out)
        nn.init.zeros_(last.weight)
        branch = nn.Sequential(
            Currents(neurons(), [_conv(fan_in, fan_out, 3, stride)], norm(fan_out)),
            Currents(neurons(), [_conv(fan_out, fan_out, 3, 1)], last),
        )
        if stride == 1 and fan_in == fan_out:
            return MSBlock(branch, nn.Identity())
        kept = stride if not pooled else 1
        changed = Currents(nn.Identity(), [_conv(fan_in, fan_out, 1, kept)], norm(fan_out))
        return MSBlock(
            branch, nn.Sequential(AvgPool(2, ceil_mode=True), changed) if pooled else changed
        )

    first, fan_in = [], in_channels
    for kernel, stride, bias in STEMS[choose("stem", stem, STEMS)]:
        first.append(_conv(fan_in, width, kernel, stride, bias))
        fan_in = width
    stages = []
    for stage, number_of_blocks in enumerate(numbers):
        fan_out = width * 2**stage
        halved = bool(stage) or stem != "cifar"
        blocks = []
        for number in range(number_of_blocks):
            blocks.append(block(fan_in, fan_out, 2 if halved and not number else 1))
            fan_in = fan_out
        stages.append(nn.Sequential(*blocks))
    network = MSResNet(
        Currents(nn.Identity(), first, norm(width)),
        nn.Sequential(*stages),
        neurons(),
        nn.Dropout(dropout),
        nn.Linear(fan_in, classes),
        in_channels,
        steps,
    )
    initialise(network, init, steps)
    network.per_step = per_step
    return network


def _conv(fan_in: int, fan_out: int, kernel: int, stride: int, bias: bool = False) -> SpikeConv2d:
    return SpikeConv2d(fan_in, fan_out, kernel, stride, kernel // 2, bias=bias)


def ms_of_depth(
    shape: tuple[int, int, int],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    **options: Any,
) -> MSResNet:
    """`ms_resnet` for images ``shape = (C, H, W)`` with ``depth`` layers of neurons, two in each
    block and one behind them; stages as of a SEW-ResNet, see `counts_of`.

    Every step has statistics of its own unless ``batch_norm`` says otherwise, so that steps can be
    run one after the other.

    Raises
    ------
    SaltationError
        If the depth does not divide among the stages, or an option is not allowed.
    """
    counts = counts_of(depth, shape[1])
    if counts is None:
        raise SaltationError(
            f"{depth} layers of neurons are no pairs and one more that divide among the stages of "
            f"images of side {shape[1]}"
        )
    options = {"batch_norm": "per_step", **options}
    return ms_resnet(counts, shape[0], classes, width=base_channels, **options)


def ms_resnet18(in_channels: int = 3, classes: int = 1000, **options: Any) -> MSResNet:
    """MS-ResNet-18: 2, 2, 2, 2 blocks; ``stem="imagenet"`` and ``steps=6`` unless told otherwise.

    Options, result and errors as in `ms_resnet`.
    """
    return _of_imagenet((2, 2, 2, 2), in_channels, classes, options)


def ms_resnet34(in_channels: int = 3, classes: int = 1000, **options: Any) -> MSResNet:
    """MS-ResNet-34: 3, 4, 6, 3 blocks; else as `ms_resnet18`."""
    return _of_imagenet((3, 4, 6, 3), in_channels, classes, options)


def ms_resnet104(in_channels: int = 3, classes: int = 1000, **options: Any) -> MSResNet:
    """MS-ResNet-104: 3, 8, 32, 8 blocks; else as `ms_resnet18`.

    It has the published 77.28 M parameters. The authors' code also has ``stem="deep"``,
    ``pooled=True`` and ``dropout=0.2``, which makes 77.35 M and 106 layers.
    """
    return _of_imagenet((3, 8, 32, 8), in_channels, classes, options)


def _of_imagenet(
    counts: tuple[int, ...], in_channels: int, classes: int, options: dict[str, Any]
) -> MSResNet:
    return ms_resnet(counts, in_channels, classes, **{"stem": "imagenet", "steps": 6, **options})


def ms_resnet_cifar(
    depth: int = 110, in_channels: int = 3, classes: int = 10, **options: Any
) -> MSResNet:
    """The networks for CIFAR, three stages of ``(depth - 2) / 6`` blocks of 16, 32 and 64 channels.

    ``depth`` counts convolutions and the readout, as He et al. do: 20, 32, 44, 56, 110, ..., up to
    the 482 of the paper. Options, result and further errors as in `ms_resnet`.

    Raises
    ------
    SaltationError
        If the depth is not 6 n + 2 with n of at least 1.
    """
    depth = count("depth", depth)
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        lower = 6 * max(1, blocks) + 2
        raise SaltationError(
            f"depth must be 6 n + 2, got {depth} (nearest that fit: {lower} and {lower + 6})"
        )
    return ms_resnet((blocks,) * 3, in_channels, classes, **{"width": 16, **options})
