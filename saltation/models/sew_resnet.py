"""Spike-element-wise residual networks.

Of a block with residual branch F and shortcut D (the identity, or convolution, normalisation and
neurons where the shape changes), both of which emit spikes, the output is ``g(F(x), D(x))``:

    ADD   a + s          the identity where a = 0, but s grows beyond 1
    AND   a s            the identity where a = 1
    IAND  (1 - a) s      the identity where a = 0

Source: Fang, Yu, Chen, Huang, Masquelier & Tian, "Deep residual learning in spiking neural
networks", NeurIPS 2021, on the shapes of He, Zhang, Ren & Sun, "Deep residual learning for image
recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from saltation.errors import SaltationError, choose, count, entries, shown
from saltation.layers import WithNumerics
from saltation.models.blocks import ConvBlock, MaxPool
from saltation.models.image import ImageNetwork
from saltation.models.init import INITS, initialise
from saltation.models.options import MOST_STAGES, completed, counts_of_options
from saltation.neurons import Neuron
from saltation.surrogate import ATan, Smooth, Surrogate

# What the neurons are unless told otherwise. Of LIF: integrate-and-fire, as the authors' code has.
DEFAULTS: dict[str, dict[str, Any]] = {"lif": {"beta": 1.0, "detach_reset": True}}

CONNECTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, s: a + s,
    "and": lambda a, s: a * s,
    "iand": lambda a, s: (1 - a) * s,
}

# Of each convolution of a residual branch: its kernel, whether it has the block's stride, and its
# channels as a multiple of the stage's width.
BLOCKS: dict[str, tuple[tuple[int, bool, int], ...]] = {
    "basic": ((3, True, 1), (3, False, 1)),
    "bottleneck": ((1, False, 1), (3, True, 1), (1, False, 4)),
}

STEMS = ("cifar", "imagenet")


class SEWBlock(WithNumerics):
    """A residual branch and a shortcut, both of which emit spikes, joined spike by spike.

    Attributes
    ----------
    branch : Sequential
        Blocks of convolution, normalisation and neurons.
    shortcut : ConvBlock or Identity
    connect : str
        ``add``, ``and`` or ``iand``.
    """

    def __init__(self, branch: nn.Sequential, shortcut: nn.Module, connect: str) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.connect = choose("connect", connect, CONNECTIONS)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to the shape of the branch's output."""
        return CONNECTIONS[self.connect](self.branch(x), self.shortcut(x))

    def numerics(self) -> dict[str, Any]:
        return {"connect": self.connect}

    def extra_repr(self) -> str:
        return f"connect={self.connect!r}"


class SEWResNet(ImageNetwork):
    """The network that `sew_resnet` makes.

    Attributes
    ----------
    stem : Sequential
        The first block, and for ImageNet a pooling.
    stages : Sequential
        Stages of `SEWBlock`.
    readout : Linear
        From the mean over steps and pixels to the logits.
    steps, shape
        See `ImageNetwork`.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        stages: nn.Sequential,
        readout: nn.Linear,
        channels: int,
        steps: int,
    ) -> None:
        super().__init__(steps, (channels, None, None))
        self.stem = stem
        self.stages = stages
        self.readout = readout

    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.readout(self.stages(self.stem(x)).mean((0, 3, 4)))
        return logits

    def outputs(self, x: Tensor) -> Tensor:
        """The readout of every step, ``[T, B, classes]``."""
        outputs: Tensor = self.readout(self.stages(self.stem(x)).mean((3, 4)))
        return outputs


def sew_resnet(
    block: str,
    counts: Sequence[int],
    in_channels: int,
    classes: int,
    *,
    connect: str = "add",
    stem: str = "cifar",
    width: int = 64,
    steps: int = 4,
    neuron: str | type[Neuron] = "lif",
    surrogate: str | Surrogate | Smooth = ATan(2.0),
    batch_norm: str = "all",
    init: str = "kaiming",
    per_step: bool = False,
    **parameters: Any,
) -> SEWResNet:
    """A spike-element-wise residual network of any depth and width (Fang et al., 2021).

    A stem, stages of residual blocks of which all but the first begin with stride 2, and a linear
    readout of the mean over steps and pixels: ``W mean(s) + b``. Of a block the output is
    ``g(F(x), D(x))`` with ``g(a, s)`` one of ``a + s``, ``a s`` and ``(1 - a) s``, F the block's
    convolutions and D the identity, or a 1x1 convolution where the shape changes. Every convolution
    is followed by batch normalisation and neurons.

    Parameters
    ----------
    block : str
        ``basic``: two 3x3 convolutions; ``bottleneck``: 1x1, 3x3 and 1x1, the last with 4 times the
        channels.
    counts : sequence of int
        Blocks of each stage, such as ``(2, 2, 2, 2)``.
    in_channels, classes : int
        Channels of the images, and number of logits.
    connect : str, default "add"
        ``add``, ``and`` or ``iand``.
    stem : str, default "cifar"
        ``cifar``: a 3x3 convolution that keeps the size; ``imagenet``: a 7x7 convolution with
        stride 2, and max pooling by 2 behind its neurons.
    width : int, default 64
        Channels of the first stage; each stage has twice those of the one before.
    steps : int, default 4
        Number of steps T for which an image is shown.
    neuron : str or type of Neuron, default "lif"
        Model of every neuron. LIF has ``beta=1`` (unless tau, dt or scheme are given), which is the
        authors' integrate-and-fire neuron, and ``detach_reset=True``; other models have the
        defaults of their layers.
    surrogate : Surrogate or str, default ATan(2)
        The spike function of every neuron.
    batch_norm : str, default "all"
        ``step``, ``all``, ``tdbn`` or ``per_step``; see `spiking_vgg`. The authors' is ``all``.
    init : str, default "kaiming"
        See `spiking_vgg`.
    per_step : bool, default False
        Whether the network gives the output of every step, ``[T, B, classes]``, of which the logits
        are the mean; for `tet_loss`.
    **parameters
        Of every neuron layer: ``v_threshold``, ``tau``, ``backend``, ...

    Returns
    -------
    `SEWResNet` from images ``[B, in_channels, H, W]`` or sequences ``[T, B, in_channels, H, W]`` of
    any size to logits ``[B, classes]``.

    Raises
    ------
    SaltationError
        If a number is out of range or a name is unknown.

    Examples
    --------
    >>> net = st.sew_resnet("basic", (1, 1), 1, 10, width=16)  # 6 layers, for digits
    >>> logits = net(images)  # [B, 1, 8, 8] to [B, 10]
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
    convolutions = BLOCKS[choose("block", block, BLOCKS)]
    choose("stem", stem, STEMS)
    choose("init", init, INITS)
    options = {
        "neuron": neuron,
        "batch_norm": batch_norm,
        "steps": steps,
        "surrogate": surrogate,
        **completed(neuron, parameters, DEFAULTS),
    }
    if stem == "cifar":
        first = nn.Sequential(ConvBlock(in_channels, width, **options))
    else:
        first = nn.Sequential(
            ConvBlock(in_channels, width, kernel=7, stride=2, **options), MaxPool()
        )
    stages, fan_in = [], width
    for stage, blocks_of_stage in enumerate(numbers):
        blocks = []
        for place in range(blocks_of_stage):
            stride = 2 if stage and not place else 1
            made = _block(convolutions, fan_in, width * 2**stage, stride, connect, options)
            fan_in = convolutions[-1][2] * width * 2**stage
            blocks.append(made)
        stages.append(nn.Sequential(*blocks))
    network = SEWResNet(
        first, nn.Sequential(*stages), nn.Linear(fan_in, classes), in_channels, steps
    )
    initialise(network, init, steps)
    network.per_step = per_step
    return network


def counts_of(depth: int, side: int) -> tuple[int, ...] | None:
    """Basic blocks of each stage of a SEW-ResNet with ``depth`` convolutions from image to readout,
    a stem and two in each block; None if there is none.

    There are 4 stages, or as many as images of ``side`` pixels can be halved; fewer blocks are
    stages of one each, more must divide among them.
    """
    stages = min(MOST_STAGES, side.bit_length())
    blocks, rest = divmod(depth - 1, 2)
    if rest or blocks < 1:
        return None
    if blocks <= stages:
        return (1,) * blocks
    return None if blocks % stages else (blocks // stages,) * stages


def fits_sew(depth: int, side: int) -> bool:
    """Whether `sew_of_depth` has a network of this depth for images of this side."""
    return counts_of(depth, side) is not None


def sew_of_depth(
    shape: tuple[int, int, int],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    **options: Any,
) -> SEWResNet:
    """`sew_resnet` of basic blocks for images ``shape = (C, H, W)``; see `counts_of`.

    Steps are normalised one by one unless ``batch_norm`` says otherwise, as in the other networks
    that are made to a depth.

    Raises
    ------
    SaltationError
        If the depth does not divide among the stages, or an option is not allowed.
    """
    counts = counts_of(depth, shape[1])
    if counts is None:
        raise SaltationError(
            f"{depth} convolutions are no stem and pairs that divide among the stages of images of "
            f"side {shape[1]}"
        )
    options = {"batch_norm": "step", **options}
    return sew_resnet("basic", counts, shape[0], classes, width=base_channels, **options)


def _block(
    convolutions: tuple[tuple[int, bool, int], ...],
    fan_in: int,
    width: int,
    stride: int,
    connect: str,
    options: dict[str, Any],
) -> SEWBlock:
    branch, channels = [], fan_in
    for kernel, strided, factor in convolutions:
        branch.append(
            ConvBlock(
                channels,
                width * factor,
                kernel=kernel,
                stride=stride if strided else 1,
                **options,
            )
        )
        channels = width * factor
    shortcut: nn.Module = nn.Identity()
    if stride != 1 or channels != fan_in:
        shortcut = ConvBlock(fan_in, channels, kernel=1, stride=stride, **options)
    return SEWBlock(nn.Sequential(*branch), shortcut, connect)


def sew_resnet18(in_channels: int = 3, classes: int = 1000, **options: Any) -> SEWResNet:
    """SEW-ResNet-18: 2, 2, 2, 2 basic blocks; ``stem="imagenet"`` unless told otherwise.

    Options, result and errors as in `sew_resnet`.
    """
    return _of_imagenet("basic", (2, 2, 2, 2), in_channels, classes, options)


def sew_resnet34(in_channels: int = 3, classes: int = 1000, **options: Any) -> SEWResNet:
    """SEW-ResNet-34: 3, 4, 6, 3 basic blocks; else as `sew_resnet18`."""
    return _of_imagenet("basic", (3, 4, 6, 3), in_channels, classes, options)


def sew_resnet50(in_channels: int = 3, classes: int = 1000, **options: Any) -> SEWResNet:
    """SEW-ResNet-50: 3, 4, 6, 3 bottleneck blocks; else as `sew_resnet18`."""
    return _of_imagenet("bottleneck", (3, 4, 6, 3), in_channels, classes, options)


def sew_resnet101(in_channels: int = 3, classes: int = 1000, **options: Any) -> SEWResNet:
    """SEW-ResNet-101: 3, 4, 23, 3 bottleneck blocks; else as `sew_resnet18`."""
    return _of_imagenet("bottleneck", (3, 4, 23, 3), in_channels, classes, options)


def sew_resnet152(in_channels: int = 3, classes: int = 1000, **options: Any) -> SEWResNet:
    """SEW-ResNet-152: 3, 8, 36, 3 bottleneck blocks; else as `sew_resnet18`."""
    return _of_imagenet("bottleneck", (3, 8, 36, 3), in_channels, classes, options)


def _of_imagenet(
    block: str, counts: tuple[int, ...], in_channels: int, classes: int, options: dict[str, Any]
) -> SEWResNet:
    return sew_resnet(block, counts, in_channels, classes, **{"stem": "imagenet", **options})
