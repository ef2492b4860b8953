"""Layers that begin by passing on what they get."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability.drives import called_maps
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import measure
from saltation.stepping import Stepped


@dataclass(frozen=True)
class RelayStart(Remedy):
    """Square layers begin as the identity and a share of their own weights.

    ``W <- a I + noise W``, a being the norm of a row of W, so that currents keep their size: each
    neuron fires where the one before it did, and a deep network begins as a shallow one. Weights
    that are drawn pass less on from layer to layer, until nothing of the input is left. Sources:
    Zagoruyko & Komodakis, "DiracNets: training very deep neural networks without skip-connections",
    2017; Xiao et al., "Dynamical isometry and a mean field theory of CNNs", ICML 2018
    (delta-orthogonal weights).

    Parameters
    ----------
    noise : float, default 0.2
        How much of their own weights stays.
    """

    noise: float = 0.2

    name: ClassVar[str] = "relay_start"
    answers: ClassVar[tuple[str, ...]] = (
        "does not learn",
        "vanishing gradient",
        "exploding gradient",
        "silent",
    )
    what: ClassVar[str] = "lets layers that keep the shape begin near the identity"
    cost: ClassVar[str] = "two passes; nothing later"

    def __post_init__(self) -> None:
        if not 0 <= self.noise < math.inf:
            raise SaltationError(f"noise must be at least 0, got {self.noise!r}")

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        before = measure(whole, x)
        called, _ = called_maps(whole, x)
        square: list[Any] = [m for m in called if _square(m)]
        # The first map sees the input, and the last is the readout's: neither has spikes to relay.
        square = [m for m in square if m is not called[0] and m is not called[-1]]
        if len(square) < 2:
            raise self.refused(
                f"{len(square)} of its convolutions and linear maps keep their number of channels, "
                f"and it is for the many of a deep network"
            )
        names = {m: name for name, m in whole.network.named_modules()}
        changed = {}
        for module in square:
            size = math.sqrt(float(module.weight.square().sum()) / len(module.weight))
            with torch.no_grad():
                module.weight.mul_(self.noise)
                centre = [k // 2 for k in module.weight.shape[2:]]
                diagonal = module.weight[(slice(None), slice(None), *centre)].diagonal()
                diagonal.add_(size)
            changed[names[module]] = f"the identity times {size:.3g}, its own times {self.noise:g}"
        after = measure(whole, x)
        return Treatment(
            self.name,
            changed,
            "spikes per neuron and step",
            {layer.name: layer.rate for layer in before},
            {layer.name: layer.rate for layer in after},
        )


def _square(module: Any) -> bool:
    """Whether a map keeps the shape, so that it can be the identity."""
    if isinstance(module, nn.Linear):
        return module.in_features == module.out_features
    sides = all(k % 2 for k in module.kernel_size)
    padded = isinstance(module.padding, str) and module.padding == "same"
    padded = padded or all(
        not isinstance(module.padding, str) and p == k // 2
        for p, k in zip(module.padding, module.kernel_size, strict=False)
    )
    return bool(
        module.in_channels == module.out_channels
        and module.groups == 1
        and sides
        and padded
        and all(s == 1 for s in (*module.stride, *module.dilation))
    )
