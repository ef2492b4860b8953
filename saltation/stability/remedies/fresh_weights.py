"""Weights drawn anew where they are no start to learn from."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability.drives import called_maps
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.homeostasis import Homeostasis
from saltation.stability.remedies.measure import measure
from saltation.stepping import Stepped


@dataclass(frozen=True)
class FreshWeights(Remedy):
    """Draws those maps anew in which all neurons have the same weights, be they zero or not.

    Such neurons do the same and get the same gradient, so that a layer of them is one neuron; where
    the weights are zero, nothing behind them has an input. As torch draws them (Kaiming uniform),
    without biases, and then scaled like `Homeostasis` where a layer does not fire. Source: Glorot &
    Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """

    name: ClassVar[str] = "fresh_weights"
    answers: ClassVar[tuple[str, ...]] = ("same weights",)
    what: ClassVar[str] = "draws weights anew that are the same for all neurons of a layer"
    cost: ClassVar[str] = "some passes; nothing later"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        before = measure(whole, x)
        names = {module: name for name, module in whole.network.named_modules()}
        changed = {}
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(0)
            for module in called_maps(whole, x)[0]:
                if alike(module):
                    _draw(module)
                    changed[names[module]] = "weights drawn anew, biases 0"
        if not changed:
            raise self.refused("in every map neurons have weights of their own")
        with suppress(SaltationError):  # every layer fires, or one cannot
            Homeostasis()._apply(whole, x)
        after = measure(whole, x)
        return Treatment(
            self.name,
            changed,
            "spikes per neuron and step",
            {layer.name: layer.rate for layer in before},
            {layer.name: layer.rate for layer in after},
        )


def _draw(module: Any) -> None:
    module.reset_parameters()
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def alike(module: Any) -> bool:
    """Whether all neurons that a map drives have the same weights."""
    rows = module.weight.detach().flatten(1)
    return len(rows) > 1 and bool((rows == rows[0]).all())
