"""Silent and saturated layers brought to a rate before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.currents import Drive, drives_of
from saltation.stability.remedies.measure import measure
from saltation.stepping import Stepped

# Factors go from their inverse to so much, by halves of their logarithm.
_LARGEST, _HALVINGS = 2.0**20, 20


@dataclass(frozen=True)
class Homeostasis(Remedy):
    """Weights of silent and saturated layers scaled until each fires at a rate within bounds.

    Layers are taken in their order, and those that fire as they should are left. As in cortex,
    where neurons scale their synapses until they fire at a set point; before training: Rossbroich,
    Gygax & Zenke, 2022.

    Parameters
    ----------
    low, high : float, default 0.02, 0.6
        Spikes per neuron and step from which and to which a layer is left as it is.
    target : float, default 0.15
        What others are brought to, as near as their weights can.
    """

    low: float = 0.02
    high: float = 0.6
    target: float = 0.15

    name: ClassVar[str] = "homeostasis"
    answers: ClassVar[tuple[str, ...]] = ("silent", "saturated", "dead")
    what: ClassVar[str] = "scales the weights of silent and saturated layers until they fire"
    cost: ClassVar[str] = "some 20 passes for each such layer; nothing later"

    def __post_init__(self) -> None:
        if not 0 < self.low < self.target < self.high < 1:
            raise SaltationError(
                f"homeostasis needs 0 < low < target < high < 1, got {self.low}, {self.target} and "
                f"{self.high}"
            )

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        layers = before = measure(whole, x)
        try:
            drives = drives_of(whole, x)
        except SaltationError as error:
            raise self.refused(str(error)) from error
        changed = {}
        for place in range(len(layers)):
            layer = layers[place]
            if self.low <= layer.rate <= self.high:
                continue
            if layer.name not in drives:
                raise self.refused(f"no weight drives '{layer.name}' alone")
            if not layer.square:
                raise self.refused(f"the input of '{layer.name}' is zero everywhere")
            drive = drives[layer.name]
            self._search(whole, x, place, drive)
            changed[layer.name] = f"weights times {drive.factor:.3g}"
            layers = measure(whole, x)
        if not changed:
            raise self.refused(f"every layer fires at a rate from {self.low} to {self.high}")
        return Treatment(
            self.name,
            changed,
            "spikes per neuron and step",
            {layer.name: layer.rate for layer in before},
            {layer.name: layer.rate for layer in layers},
        )

    def _search(self, whole: Stepped, x: Tensor, place: int, drive: Drive) -> None:
        """Leave the drive with the smallest factor with which the layer fires at the target."""
        low, high = 1 / _LARGEST, _LARGEST
        name = ""
        for _ in range(_HALVINGS):
            middle = (low * high) ** 0.5
            drive.scale(middle / drive.factor)
            layer = measure(whole, x)[place]
            name = layer.name
            if abs(layer.rate / self.target - 1) < 0.05:
                return
            low, high = (middle, high) if layer.rate < self.target else (low, middle)
        if not self.low <= layer.rate <= self.high:
            raise self.refused(
                f"'{name}' fires at no rate from {self.low} to {self.high} with any factor on its "
                f"weights, but at {layer.rate:.2g}"
            )
