"""Spikformer: a vision transformer of spikes.

Spiking self-attention has no softmax. Queries, keys and values are spikes, so that their products
are counts, at least 0, and

    Q, K, V = neurons(norm(W x))       each with a W of its own
    s = neurons(scale Q K^T V)         head by head
    SSA(x) = neurons(norm(W_o s))

Source: Zhou, Zhu, He, Wang, Yan, Tian & Yuan, "Spikformer: When spiking neural network meets
transformer", ICLR 2023.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saltation.errors import SaltationError, choose, count, flag
from saltation.layers import WithNumerics
from saltation.models.blocks import ConvBlock, MaxPool
from saltation.models.image import ImageNetwork
from saltation.models.init import INITS, initialise
from saltation.models.options import completed, counts_of_options
from saltation.neurons import Neuron, get_neuron
from saltation.surrogate import Sigmoid, Smooth, Surrogate

# What the neurons are unless told otherwise. Of LIF: those of the authors' code.
DEFAULTS: dict[str, dict[str, Any]] = {"lif": {"tau": 2.0, "scheme": "euler", "detach_reset": True}}

# Of the products of spikes; the authors' for every number of heads.
SCALE = 0.125

# Sides of patches: 2 to the number of the stem's four stages that pool, which are the last.
PATCHES = (1, 2, 4, 8, 16)


class SpikingSelfAttention(WithNumerics):
    """``neurons(norm(W_o s))`` with ``s = attention(scale Q K^T V)``, all of them spikes.

    Positions are the pixels of a map, and a linear map of every position is a 1x1 convolution.

    Parameters
    ----------
    dim : int
        Channels D.
    heads : int
        Number of heads, which divides D.
    attention_threshold : float
        Threshold of the neurons behind the products.
    bias : bool
        Whether W_o has one.
    options : dict
        Of every `ConvBlock`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        attention_threshold: float,
        bias: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = ConvBlock(dim, dim, kernel=1, **options)
        self.key = ConvBlock(dim, dim, kernel=1, **options)
        self.value = ConvBlock(dim, dim, kernel=1, **options)
        apart = ("neuron", "batch_norm", "steps", "v_threshold")
        own = {name: value for name, value in options.items() if name not in apart}
        self.attention = get_neuron(options["neuron"]).layer(**own, v_threshold=attention_threshold)
        self.out = ConvBlock(dim, dim, kernel=1, bias=bias, **options)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, D, H, W]`` to spikes of the same shape."""
        query, key, value = (self._by_heads(part(x)) for part in (self.query, self.key, self.value))
        positions, channels = query.shape[-2:]
        # Products of spikes are counts, which are exact in either order: take the cheaper.
        by_channels = positions > channels
        products = query @ (key.mT @ value) if by_channels else (query @ key.mT) @ value
        spikes: Tensor = self.out(self.attention((SCALE * products).mT.reshape(x.shape)))
        return spikes

    def numerics(self) -> dict[str, Any]:
        return {"heads": self.heads}

    def _by_heads(self, x: Tensor) -> Tensor:
        """``[T, B, D, H, W]`` to ``[T, B, heads, positions, D / heads]``."""
        split = (*x.shape[:2], self.heads, x.shape[2] // self.heads, x.shape[3:].numel())
        return x.reshape(split).mT


class Encoder(nn.Module):
    """A block of the transformer: ``x + SSA(x)``, then ``x + MLP(x)``.

    Attributes
    ----------
    attention : SpikingSelfAttention
    mlp : Sequential
        Two 1x1 blocks, the inner one with ``mlp_ratio`` times the channels.
    """

    def __init__(self, attention: SpikingSelfAttention, mlp: nn.Sequential) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, D, H, W]`` to the same shape."""
        x = x + self.attention(x)
        y: Tensor = x + self.mlp(x)
        return y


class Spikformer(ImageNetwork):
    """The network that `spikformer` makes.

    Attributes
    ----------
    stem : Sequential
        Blocks and poolings that make patches of an image.
    position : ConvBlock
        Added to what it is given: the relative position of patches.
    encoders : Sequential
        Blocks of the transformer.
    readout : Linear
        From the mean over steps and positions to the logits.
    steps, shape
        See `ImageNetwork`.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        position: ConvBlock,
        encoders: nn.Sequential,
        readout: nn.Linear,
        steps: int,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__(steps, shape)
        self.stem = stem
        self.position = position
        self.encoders = encoders
        self.readout = readout

    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""
        logits: Tensor = self.readout(self._features(x).mean((0, 3, 4)))
        return logits

    def outputs(self, x: Tensor) -> Tensor:
        """The readout of every step, ``[T, B, classes]``."""
        outputs: Tensor = self.readout(self._features(x).mean((3, 4)))
        return outputs

    def _features(self, x: Tensor) -> Tensor:
        patches = self.stem(x)
        features: Tensor = self.encoders(patches + self.position(patches))
        return features


def spikformer(
    in_channels: int,
    classes: int,
    size: int = 32,
    *,
    patch: int = 4,
    depth: int = 4,
    width: int = 384,
    heads: int = 12,
    mlp_ratio: int = 4,
    steps: int = 4,
    neuron: str | type[Neuron] = "lif",
    surrogate: str | Surrogate | Smooth = Sigmoid(4.0),
    attention_threshold: float = 0.5,
    batch_norm: str = "all",
    bias: bool = True,
    init: str = "truncated",
    per_step: bool = False,
    **parameters: Any,
) -> Spikformer:
    """Spikformer-``depth``-``width`` (Zhou et al., 2023); as it stands, 4-384 for CIFAR.

    A stem of four 3x3 convolutions with an eighth, a quarter, a half and all of the channels, the
    last of which pool by 2; a fifth whose spikes are added; ``depth`` blocks ``x + SSA(x)``,
    ``x + MLP(x)``; and a linear readout of the mean over steps and positions. Every linear map is
    followed by batch normalisation and neurons. Attention is ``neurons(0.125 Q K^T V)`` per head,
    where Q, K and V are spikes; there is no softmax.

    The authors' count for 4-384 with 10 classes, 9.32 M, is ours: 9,320,122. 9,216 of them are
    biases in front of normalisations, which change nothing in training: of the MLPs and of what
    follows the attention, as in the authors' code for ImageNet. Their code for CIFAR has them in
    queries, keys and values too (9,324,730); SpikingJelly's network has none (9,310,906).

    Parameters
    ----------
    in_channels, classes : int
        Channels of the images, and number of logits.
    size : int, default 32
        Height and width of the images, a multiple of ``patch``.
    patch : int, default 4
        Height and width of a patch: 1, 2, 4, 8 or 16. ImageNet has 16.
    depth : int, default 4
        Number of transformer blocks.
    width : int, default 384
        Channels D, a multiple of 8 and of ``heads``.
    heads : int, default 12
        Heads of the attention.
    mlp_ratio : int, default 4
        Channels within an MLP, as a multiple of D.
    steps : int, default 4
        Number of steps T for which an image is shown.
    neuron : str or type of Neuron, default "lif"
        Model of every neuron. LIF has ``tau=2`` and ``scheme="euler"`` (unless beta is given) and
        ``detach_reset=True``, as the authors' code; other models have the defaults of their layers.
    surrogate : Surrogate or str, default Sigmoid(4)
        The spike function of every neuron.
    attention_threshold : float, default 0.5
        ``v_threshold`` of the neurons behind the products.
    batch_norm : str, default "all"
        ``step``, ``all``, ``tdbn`` or ``per_step``; see `spiking_vgg`. The authors' is ``all``.
    bias : bool, default True
        Whether MLPs and what follows the attention have biases in front of normalisations.
    init : str, default "truncated"
        See `spiking_vgg`.
    per_step : bool, default False
        Whether the network gives the output of every step, ``[T, B, classes]``, of which the logits
        are the mean; for `tet_loss`.
    **parameters
        Of every neuron layer: ``v_threshold`` (not of those behind the products), ``tau``, ...

    Returns
    -------
    `Spikformer` from images ``[B, in_channels, size, size]`` or sequences
    ``[T, B, in_channels, size, size]`` to logits ``[B, classes]``.

    Raises
    ------
    SaltationError
        If a number is out of range or does not divide what it must, or a name is unknown.

    Examples
    --------
    >>> net = st.spikformer(1, 10, 8, patch=2, depth=1, width=64, heads=4)  # for digits
    >>> logits = net(images)  # [B, 1, 8, 8] to [B, 10]
    """
    in_channels, classes, size, depth, width, heads, mlp_ratio, steps = counts_of_options(
        in_channels=in_channels,
        classes=classes,
        size=size,
        depth=depth,
        width=width,
        heads=heads,
        mlp_ratio=mlp_ratio,
        steps=steps,
    )
    patch, bias = count("patch", patch), flag("bias", bias)
    if patch not in PATCHES:
        allowed = ", ".join(map(str, PATCHES))
        raise SaltationError(f"patch must be one of {allowed}, got {patch!r}")
    if size % patch:
        raise SaltationError(f"size must be a multiple of patch = {patch}, got {size}")
    for name, divisor in (("8", 8), (f"heads = {heads}", heads)):
        if width % divisor:
            raise SaltationError(f"width must be a multiple of {name}, got {width}")
    get_neuron(neuron)
    choose("init", init, INITS)
    options = {
        "neuron": neuron,
        "batch_norm": batch_norm,
        "steps": steps,
        "surrogate": surrogate,
        **completed(neuron, parameters, DEFAULTS),
    }
    stem: list[nn.Module] = []
    fan_in = in_channels
    for stage in range(4):
        fan_out = width // 2 ** (3 - stage)
        stem.append(ConvBlock(fan_in, fan_out, **options))
        if stage >= 4 - PATCHES.index(patch):
            stem.append(MaxPool())
        fan_in = fan_out
    encoders = [
        Encoder(
            SpikingSelfAttention(width, heads, attention_threshold, bias, options),
            nn.Sequential(
                ConvBlock(width, mlp_ratio * width, kernel=1, bias=bias, **options),
                ConvBlock(mlp_ratio * width, width, kernel=1, bias=bias, **options),
            ),
        )
        for _ in range(depth)
    ]
    network = Spikformer(
        nn.Sequential(*stem),
        ConvBlock(width, width, **options),
        nn.Sequential(*encoders),
        nn.Linear(width, classes),
        steps,
        (in_channels, size, size),
    )
    initialise(network, init, steps)
    network.per_step = per_step
    return network


def blocks_of(depth: int) -> int | None:
    """Transformer blocks of a Spikformer with ``depth`` neuron layers, None if there is none.

    Five belong to the stem and positions, five to each block; queries, keys and values are one.
    """
    blocks, rest = divmod(depth - 5, 5)
    return blocks if blocks >= 1 and not rest else None


def fits_spikformer(depth: int, side: int) -> bool:
    """Whether `spikformer_of_depth` has a network of this depth for images of this side."""
    return blocks_of(depth) is not None and side >= 1


def spikformer_of_depth(
    shape: tuple[int, int, int],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    **options: Any,
) -> Spikformer:
    """`spikformer` for images ``shape = (C, H, W)``; see `blocks_of`.

    The stem begins with ``base_channels``, an eighth of the width. Heads have 32 channels, or 8
    where those do not divide the width. Patches are of 4 pixels, of 2 or 1 where that is needed for
    four of them side by side or where a side is no multiple. Steps are normalised one by one, as in
    the other networks that are made to a depth.

    Raises
    ------
    SaltationError
        If no number of blocks gives the depth, or an option is not allowed.
    """
    blocks = blocks_of(depth)
    if blocks is None:
        raise SaltationError(
            f"a Spikformer of {depth} neuron layers has no whole number of blocks, each of 5 "
            "behind the first 5"
        )
    side = shape[1]
    fitting = (patch for patch in (4, 2) if side % patch == 0 and side // patch >= 4)
    return spikformer(
        shape[0],
        classes,
        side,
        patch=next(fitting, 1),
        depth=blocks,
        width=8 * base_channels,
        heads=base_channels // 4 if base_channels % 4 == 0 else base_channels,
        batch_norm="step",
        **options,
    )
