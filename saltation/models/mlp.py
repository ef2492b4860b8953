"""Spiking multilayer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, SupportsIndex

from torch import Tensor, nn

from saltation.encoding import direct
from saltation.errors import SaltationError, choose, count, entries, flag, shown, tensor, whole
from saltation.layers import READOUTS, Readout, Sequential, SpikeLinear, WithNumerics
from saltation.models.blocks import normalisation
from saltation.models.init import INITS, initialise
from saltation.models.vgg import DEFAULTS
from saltation.neurons import Neuron, get_neuron
from saltation.surrogate import FastSigmoid, Smooth, Surrogate


class SpikingMLP(Sequential):
    """The network that `spiking_mlp` makes."""

    def forward(self, input: Any, mask: Tensor | None = None) -> Any:  # noqa: A002  # as in nn.Sequential
        """Spikes ``[T, B, sizes[0]]`` to logits ``[B, sizes[-1]]``; a ``mask`` as in `Sequential`.

        Raises
        ------
        SaltationError
            If ``input`` has another shape or is not floating point.
        """
        first = next(iter(self), None)
        if isinstance(first, nn.Linear):  # else the network was cut behind its weights
            _check_rows(input, first.in_features)
        return super().forward(input, mask)


def _check_rows(x: Tensor, features: int) -> None:
    fits = tensor("input", x).ndim == 3 and len(x) and x.shape[2] == features
    if fits and x.is_floating_point():
        return
    hint = ""
    if x.ndim == 2 and x.shape[1] == features:
        hint = ": time is missing, which an encoder such as saltation.poisson(x, steps) gives"
    elif x.ndim == 4 and x.shape[1:].numel() == features:
        hint = ": images are rows of pixels here, as in saltation.poisson(x.flatten(1), steps)"
    elif x.ndim > 3 and x.shape[2:].numel() == features:
        hint = ": images are rows of pixels here, x.flatten(2)"
    elif not fits and x.ndim == 3 and features in x.shape[:2]:
        hint = ": features come last"
    raise SaltationError(
        f"the network takes floating-point spikes or currents [T, B, {features}] of at least one "
        f"step, got {x.dtype} {list(x.shape)}{hint}"
    )


def spiking_mlp(
    sizes: Iterable[SupportsIndex],
    *,
    neuron: str | type[Neuron] = "lif",
    readout: str = "max",
    bias: bool = False,
    **parameters: Any,
) -> SpikingMLP:
    """A chain of linear layers and neurons, and a readout over time.

    Every hidden layer is ``Linear`` followed by neurons; the output layer is ``Linear``, followed
    by neurons only where the readout counts their spikes.

    Parameters
    ----------
    sizes : sequence of int
        Features from the input to the classes, such as ``(784, 256, 10)``.
    neuron : str or type of Neuron, default "lif"
        Model of every neuron.
    readout : str, default "max"
        ``max``, ``mean``, ``sum``, ``last`` or ``spike_count``; see `Readout`.
    bias : bool, default False
        Whether the linear layers have biases.
    **parameters
        Of every neuron layer: ``dt``, ``scheme``, ``surrogate``, ...

    Returns
    -------
    `Sequential` (a `SpikingMLP`) from spikes ``[T, B, sizes[0]]`` to logits ``[B, sizes[-1]]``.

    Raises
    ------
    SaltationError
        If fewer than two sizes are given, one is below 1, or a name is unknown.
    """
    given = entries(sizes)
    widths = [whole(size) or 0 for size in given]
    if len(widths) < 2 or min(widths) < 1:
        raise SaltationError(
            f"sizes must be two or more positive integers, input first, got {shown(given or sizes)}"
        )
    bias = flag("bias", bias)
    layer = get_neuron(neuron).layer
    choose("readout", readout, READOUTS)
    modules: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        modules += [SpikeLinear(fan_in, fan_out, bias=bias), layer(**parameters)]
    if readout != "spike_count":
        modules.pop()
    return SpikingMLP(*modules, Readout(readout))


class Shown(WithNumerics):
    """Images, shown at every one of ``steps`` steps, and sequences of them as rows of pixels."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def numerics(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[steps, B, C H W]``, ``[T, B, C, H, W]`` to ``[T, B, C H W]``; rows
        ``[T, B, F]`` as they are."""
        shown = self.as_sequence(x)
        return shown if shown.ndim == 3 else shown.flatten(2)

    def as_sequence(self, x: Tensor) -> Tensor:
        """An image as the sequence that is shown; a sequence as it is.

        Raises
        ------
        SaltationError
            If there are other dimensions.
        """
        if tensor("images", x).ndim not in (3, 4, 5):
            raise SaltationError(
                "the network takes images [B, C, H, W], or sequences [T, B, C, H, W] or [T, B, F], "
                f"got {list(x.shape)}"
            )
        return direct(x, self.steps) if x.ndim == 4 else x


def fits_mlp(depth: int, side: int) -> bool:
    """A perceptron may be of any depth."""
    return True


def image_mlp(
    shape: tuple[int, ...],
    classes: int,
    depth: int,
    *,
    base_channels: int = 64,
    steps: int = 4,
    init: str = "kaiming",
    surrogate: str | Surrogate | Smooth = FastSigmoid(25.0),
    batch_norm: str = "none",
    **parameters: Any,
) -> nn.Sequential:
    """A perceptron of ``depth`` layers of ``base_channels`` neurons on images ``shape = (C, H, W)``
    or on rows ``(F,)`` of sequences.

    As a `spiking_vgg` it has its LIF neurons, its initial weights and a linear readout of the
    summed spikes. Linear maps have biases where no normalisation follows them, and there is no
    dropout. ``batch_norm`` is as of a `spiking_vgg`; ``parameters`` are of every neuron layer.

    Raises
    ------
    SaltationError
        If a number is below 1 or a name unknown.
    """
    choose("init", init, INITS)
    if depth < 1:
        raise SaltationError(f"depth must be at least 1, got {depth}")
    base_channels, steps = count("base_channels", base_channels), count("steps", steps)
    own = {"surrogate": surrogate, **DEFAULTS["lif"], **parameters}
    modules: list[nn.Module] = []
    for fan_in in (math.prod(shape), *[base_channels] * (depth - 1)):
        neurons = get_neuron("lif").layer(**own)
        modules.append(SpikeLinear(fan_in, base_channels, bias=batch_norm == "none"))
        if batch_norm != "none":
            threshold = neurons.neuron.v_threshold
            modules.append(normalisation(base_channels, batch_norm, threshold, steps, rows=True))
        modules.append(neurons)
    modules += [SpikeLinear(base_channels, classes), Readout("sum")]
    network = nn.Sequential(Shown(steps), SpikingMLP(*modules))
    initialise(network, init, steps)
    return network
