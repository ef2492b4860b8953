"""Perturbations that neither grow nor die over depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.depth import depth_growth
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.set_depth import set_depth_growth
from saltation.stepping import Stepped


@dataclass(frozen=True)
class GrowthOverDepth(Remedy):
    """Weights scaled until perturbations grow by a target from layer to layer; `set_depth_growth`.

    Parameters
    ----------
    target : float, default 0
        Growth per layer, natural logarithm.
    tolerance : float, default 0.1
        Largest distance from the target, of any layer.
    """

    target: float = 0.0
    tolerance: float = 0.1

    name: ClassVar[str] = "depth_growth"
    answers: ClassVar[tuple[str, ...]] = ("exploding gradient", "vanishing gradient")
    what: ClassVar[str] = "scales weights until perturbations keep their size from layer to layer"
    cost: ClassVar[str] = "up to 50 passes with tangents; nothing later"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        first = depth_growth(whole, x)
        if len(first.layers) < 2:
            raise self.refused("there is one layer of neurons alone")
        try:
            done = set_depth_growth(whole, x, self.target, tolerance=self.tolerance)
        except SaltationError as error:
            raise self.refused(str(error).partition(". ")[0]) from error
        names = first.layers[1:]
        before = dict(zip(names, first.growth.mean(1).tolist(), strict=True))
        after = dict(zip(names, done.reached.growth.mean(1).tolist(), strict=True))
        changed = {name: f"weights times {factor:.3g}" for name, factor in done.factors.items()}
        return Treatment(self.name, changed, "growth from the layer before", before, after)
