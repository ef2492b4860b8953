"""Neurons that do not spike: their potential is the output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saltation.layers.inputs import check_currents
from saltation.layers.numerics import WithNumerics
from saltation.neurons.base import Neuron


class Integrator(WithNumerics):
    """A linear model whose potential is the output, as NIR's I, LI and CubaLI.

    Parameters
    ----------
    neuron : Neuron
        A linear model, whose threshold and jump do nothing here; its scheme makes the step.
    """

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        """Potentials ``[T, B, ...]`` at the end of every step, for currents ``[T, B, ...]``."""
        check_currents(x, "[T, B, ...] with at least one step", 2)
        step: Any = self.neuron.affine_step
        state: Any = self.neuron.rest(x[0])
        potentials = []
        for current in x:
            state = step(current, state)
            potentials.append(state[0])
        return torch.stack(potentials)

    def numerics(self) -> dict[str, Any]:
        names = [n for n in self.neuron.parameters() if n not in self.neuron.tensors]
        return {"integrator": type(self.neuron).__qualname__} | {
            name: getattr(self.neuron, name) for name in names
        }

    def extra_repr(self) -> str:
        return f"{self.neuron}"


class Scaled(torch.nn.Module):
    """Every number times one of its own (NIR's Scale)."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
