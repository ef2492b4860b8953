"""What drives layers of neurons, and how it is brought to a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.drives import seen_drives
from saltation.stability.remedies.measure import Measured, measure
from saltation.stepping import Session, Stepped

# How near the mean square of currents comes to its target.
_NEAR = 0.02


class Drive:
    """The last weight in front of a layer of neurons, with its bias.

    Attributes
    ----------
    module
        Normalisation, convolution or linear map.
    factor
        What both were multiplied by so far.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.factor = 1.0

    def scale(self, factor: float) -> None:
        """Multiply weight and bias."""
        with torch.no_grad():
            self.module.weight.mul_(factor)
            if getattr(self.module, "bias", None) is not None:
                self.module.bias.mul_(factor)
        self.factor *= factor

    @property
    def weight(self) -> Tensor:
        """The weight."""
        weight: Tensor = self.module.weight
        return weight


def drives_of(whole: Stepped, x: Tensor) -> dict[str, Drive]:
    """By the name of every layer of neurons that has one, the weight that drives it alone.

    Raises
    ------
    SaltationError
        If one weight drives several layers.
    """
    with seen_drives(whole) as seen:
        Session(whole).native(x)
    owners = {id(m.weight): m for m in whole.network.modules() if hasattr(m, "weight")}
    return {
        name: Drive(owners[id(weight)])
        for name, weight in seen.weights.items()
        if weight is not None
    }


def bring_currents(
    whole: Stepped, x: Tensor, target: Callable[[Measured], float]
) -> tuple[list[Measured], list[Measured], dict[str, Drive]]:
    """Scale the drive of every layer until the mean square of its currents is its target.

    Layers are measured again after each change, for what one emits drives the next. A layer that
    nothing drives waits for those before it.

    Returns
    -------
    The layers before and after, and their drives.

    Raises
    ------
    SaltationError
        If there is nothing to scale, or a target is not reached.
    """
    drives = drives_of(whole, x)
    first = layers = measure(whole, x)
    wanted = {layer.name: target(layer) for layer in layers if layer.name in drives}
    if not wanted:
        raise SaltationError("no layer of neurons is driven by a weight of its own")
    for _ in range(2 * len(layers) + 4):
        missing = {
            layer.name: wanted[layer.name] / layer.square if layer.square else math.inf
            for layer in layers
            if layer.name in wanted
        }
        if all(abs(math.sqrt(ratio) - 1) < _NEAR for ratio in missing.values()):
            return first, layers, drives
        for name, ratio in missing.items():
            if math.isfinite(ratio):
                drives[name].scale(math.sqrt(ratio))
        layers = measure(whole, x)
    worst = max(missing, key=lambda name: abs(math.log(missing[name])))
    raise SaltationError(
        f"currents of '{worst}' stay at {math.sqrt(1 / missing[worst]):.3g} times what they should "
        f"be, whatever its weight is multiplied by"
    )
