"""Residual perceptrons with membrane shortcuts: an MS-ResNet whose convolutions are linear maps.

What a block adds are currents, and its neurons stand in front of its linear maps:

    x[l + 1] = x[l] + norm(W2 neurons(norm(W1 neurons(x[l]))))

as in `saltation.ms_resnet` (Hu, Deng, Wu, Yao & Li, "Advancing spiking neural networks toward deep
residual learning", IEEE TNNLS, 2024), for what has features and no places: sequences, and images as
rows of pixels.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from saltation.errors import SaltationError, choose, count
from saltation.layers import Readout, SpikeLinear
from saltation.models.blocks import normalisation
from saltation.models.init import INITS, initialise
from saltation.models.mlp import Shown
from saltation.models.ms_resnet import DEFAULTS
from saltation.neurons import get_neuron
from saltation.surrogate import Sigmoid, Smooth, Surrogate


class RowBlock(nn.Module):
    """Currents that come in, and those that the branch makes of their spikes, added.

    Attributes
    ----------
    branch : Sequential
        Twice neurons, a linear map and a normalisation; the factors of the last begin at 0, so that
        a fresh block hands on what it gets.
    """

    def __init__(self, branch: nn.Sequential) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Currents ``[T, B, F]`` to currents of that shape."""
        currents: Tensor = x + self.branch(x)
        return currents


def fits_ms_mlp(depth: int, side: int) -> bool:
    """Two layers of neurons in every block, and one behind them."""
    return depth >= 3 and depth % 2 == 1


def ms_mlp(
    shape: tuple[int, ...],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    steps: int = 4,
    init: str = "kaiming",
    surrogate: str | Surrogate | Smooth = Sigmoid(2.0),
    batch_norm: str = "tdbn",
    **parameters: Any,
) -> nn.Sequential:
    """A residual perceptron of ``depth`` layers of ``base_channels`` neurons on images ``shape =
    (C, H, W)`` or on rows ``(F,)`` of sequences.

    Neurons and normalisation are those of a `saltation.ms_resnet` unless given, and the readout is
    that of the summed spikes. The surrogate is wider than there: with one of compact support 65
    layers learn far more slowly. ``parameters`` are of every neuron layer.

    Raises
    ------
    SaltationError
        If a number is below 1, a name unknown, the depth not odd and at least 3, or there is no
        normalisation: nothing would keep currents from growing block by block.
    """
    choose("init", init, INITS)
    if not fits_ms_mlp(depth, 0):
        raise SaltationError(
            f"a residual perceptron has an odd number of layers of neurons, at least 3, got {depth}"
        )
    if batch_norm == "none":
        raise SaltationError(
            "a residual perceptron needs a normalisation: batch_norm must be step, all, tdbn or "
            "per_step, got 'none'"
        )
    width, steps = count("base_channels", base_channels), count("steps", steps)
    own = {"surrogate": surrogate, **DEFAULTS["lif"], **parameters}

    def neurons() -> Any:
        return get_neuron("lif").layer(**own)

    v_threshold = neurons().neuron.v_threshold

    def norm() -> Any:
        return normalisation(width, batch_norm, v_threshold, steps, rows=True)

    blocks: list[nn.Module] = []
    for _ in range(depth // 2):
        last = norm()
        nn.init.zeros_(last.weight)
        first = [neurons(), SpikeLinear(width, width, bias=False), norm()]
        second = [neurons(), SpikeLinear(width, width, bias=False), last]
        blocks.append(RowBlock(nn.Sequential(*first, *second)))
    network = nn.Sequential(
        Shown(steps),
        SpikeLinear(math.prod(shape), width, bias=False),
        norm(),
        *blocks,
        neurons(),
        SpikeLinear(width, classes),
        Readout("sum"),
    )
    initialise(network, init, steps)
    return network
