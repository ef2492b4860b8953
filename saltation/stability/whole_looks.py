"""Looks at what lies around the layers: the input, the weights in front of them, the readout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.interop.dynamics import steps_of
from saltation.stability.drives import called_maps
from saltation.stability.layer import Finding, Layer, listed
from saltation.stability.observe import Seen
from saltation.stability.remedies.dynamics import out_of_range
from saltation.stability.remedies.fresh_weights import alike
from saltation.stepping import Stepped

# Of an input beyond the first, potentials must spread over less than so many thresholds; of one
# below the last, the first neurons must fire.
_LARGE, _FLOODED, _SMALL = 10.0, 10.0, 0.05
# Logits that spread so far, and a loss that is so many times chance's.
_CERTAIN, _WRONG = 10.0, 3.0


class Around(NamedTuple):
    """What these looks see.

    Attributes
    ----------
    x
        The input.
    names
        Of modules.
    maps
        Convolutions and linear maps in the order of their calls.
    readout
        Whether the last of them is one.
    layers, seen
        The layers of neurons.
    logits
        ``[B, classes]`` of the default loss; None of another.
    loss, chance
        Of the batch; ln(classes) or NaN.
    """

    x: Tensor
    names: dict[nn.Module, str]
    maps: list[Any]
    readout: bool
    layers: list[Layer]
    seen: list[Seen]
    logits: Tensor | None
    loss: float
    chance: float


def looked_around(
    whole: Stepped,
    x: Tensor,
    layers: list[Layer],
    seen: list[Seen],
    logits: Tensor | None,
    loss: float,
    chance: float,
) -> list[Finding]:
    """What is wrong around the layers, whatever they do; from one more pass."""
    with torch.no_grad():
        maps, readout = called_maps(whole, x)
    names = {module: name for name, module in whole.network.named_modules()}
    around = Around(x, names, maps, readout, layers, seen, logits, loss, chance)
    return [one for look in LOOKS for one in look(around)]


def _input(around: Around) -> list[Finding]:
    """An input that is zero, or of a size that nothing behind it is made for."""
    x, first = around.x, around.layers[0]
    size = float(x.abs().max())
    nothing = "the input is zero everywhere"
    if size == 0:
        advice = "look at how it is encoded: rates of 0, or pixels as integers divided away"
        return [Finding("no input", "", nothing, advice)]
    binary = bool(((x == 0) | (x == 1)).all())
    rate = float((x != 0).double().mean())
    if binary and rate < _FEW:
        what = f"the input has hardly a spike: {rate:.2g} per value and step"
        return [Finding("no input", "", what, "higher rates, more steps, a larger step")]
    if not around.maps or binary:
        return []
    flooded = first.spread > _FLOODED * first.threshold
    starved = first.rate < _FEW
    if (size > _LARGE and flooded) or (size < _SMALL and starved):
        what = f"the input goes up to {size:.3g}, and potentials of '{first.name}' spread by "
        what += f"{first.spread:.3g}, {first.spread / first.threshold:.2g} thresholds"
        return [Finding("input size", first.name, what, "an input divided by its largest value")]
    return []


_FEW = 1e-3  # spikes per value and step


def _same_weights(around: Around) -> list[Finding]:
    """Maps in which all neurons have the same weights, and so one gradient."""
    hidden = around.maps[:-1] if around.readout else around.maps
    names = [around.names[m] for m in hidden if alike(m) and bool((m.weight != 0).any())]
    if not names:
        return []
    what = f"all neurons behind {listed(names)} have the same weights: they do the same, get the "
    what += "same gradient, and stay the same"
    advice = "weights drawn at random, as torch does it"
    return [Finding("same weights", names[0], what, advice)]


def _time_constants(around: Around) -> list[Finding]:
    """Neurons that hand on nothing from step to step, or leak nothing in all of them."""
    found = []
    for one in around.seen:
        steps = sum(len(s) if one.port.sequences else 1 for s in one.spikes)
        constant = steps_of(one.port)
        if out_of_range(constant, steps):
            found.append((one.port.name, constant, steps))
    if not found:
        return []
    name, constant, steps = found[0]
    what = f"the time constant of {listed([one[0] for one in found])} is {constant:.3g} steps, and "
    what += f"the input has {steps}: neurons "
    what += "forget everything from one step to the next" if constant < 1 else "leak nothing"
    advice = "the unit of tau and dt: both in milliseconds, or both in seconds"
    return [Finding("time constant", name, what, advice)]


def _readout(around: Around) -> list[Finding]:
    """Logits that are certain of what is not so, or that do not see the input."""
    logits = around.logits
    if logits is None or math.isnan(around.chance) or len(logits) < 2:
        return []
    name = around.names[around.maps[-1]] if around.readout else ""
    spread = float(logits.double().std())
    if spread > _CERTAIN and around.loss > _WRONG * around.chance:
        what = f"the readout is saturated: logits spread by {spread:.3g}, so that the softmax is "
        what += f"certain, and the loss is {around.loss:.3g} where chance is {around.chance:.3g}"
        advice = "a readout with smaller weights, a mean over steps in place of a sum"
        return [Finding("readout size", name, what, advice)]
    fed = all(layer.rate >= _FEW for layer in around.layers)  # a silent layer is found by itself
    differs = bool((around.x != around.x.flatten()[0]).any())
    if fed and differs and bool((logits == logits[0]).all()):
        what = "the output is the same for every sample, though the input is not"
        advice = "look at what the readout is given: weights of zero, or a part that is constant"
        return [Finding("same output", name, what, advice)]
    return []


LOOKS: tuple[Callable[[Around], list[Finding]], ...] = (
    _input,
    _same_weights,
    _time_constants,
    _readout,
)
