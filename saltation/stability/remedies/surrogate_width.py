"""A surrogate as wide as potentials spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saltation.errors import choose, positive
from saltation.interop.parameters import FAMILIES, set_width
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import Measured, measure
from saltation.stepping import Stepped


@dataclass(frozen=True)
class SurrogateWidth(Remedy):
    """Half-width of every layer's surrogate = c times the measured spread of its potentials.

    With a narrower one hardly a potential is within its reach, so that gradients shrink from layer
    to layer. Sources: Zenke & Vogels, "The remarkable robustness of surrogate gradient learning for
    instilling complex function in spiking neural networks", Neural Computation, 2021; Lian et al.,
    "Learnable surrogate gradient for direct training spiking neural networks", IJCAI 2023.

    Parameters
    ----------
    c : float, default 0.6
        Half-width in standard deviations of the potential.
    family : str, default "same"
        ``same`` function with another slope, or ``sigmoid`` in its place: its derivative falls
        exponentially, and that of a fast sigmoid or arc tangent as a square, so that neurons far
        from threshold add up to much of the gradient.
    """

    c: float = 0.6
    family: str = "same"

    name: ClassVar[str] = "surrogate_width"
    answers: ClassVar[tuple[str, ...]] = (
        "vanishing gradient",
        "steep surrogate",
        "exploding gradient",
        "chaotic",
        "silent",
        "does not learn",
    )
    what: ClassVar[str] = "sets each surrogate's half-width to c times the spread of potentials"
    cost: ClassVar[str] = "one pass; nothing later"

    def __post_init__(self) -> None:
        positive("c", self.c)
        choose("family", self.family, FAMILIES)

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        layers = [layer for layer in measure(whole, x) if layer.spread > 0]
        if not layers:
            raise self.refused("the potentials of no layer spread")
        before = {layer.name: layer.width / layer.spread for layer in layers}
        changed = {
            layer.name: set_width(layer.port, self.c * layer.spread, self.family)
            for layer in layers
        }
        after = {layer.name: _ratio(layer) for layer in layers}
        measured = "half-width of the surrogate in standard deviations of the potential"
        return Treatment(self.name, changed, measured, before, after)


def _ratio(layer: Measured) -> float:
    spike = layer.port.spike
    return spike.width() / layer.spread if spike is not None else float("nan")
