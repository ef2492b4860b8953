"""Checks of the loops on a GPU, where there is one: what they give there is what a CPU's reference
gives for the same input and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saltation.encoding import POISSON_METHODS, poisson
from saltation.kernels.dispatch import KERNELS
from saltation.layers import LAYERS, SpikingLayer
from saltation.selftest.cases import doubled, inputs, run
from saltation.selftest.row import Row

# More steps than there are between two checkpoints; more neurons than an instance has, and some.
_SHAPE = (10, 3, 67)
_DT = 0.1


def printed(models: Sequence[str]) -> Iterator[tuple[str, Callable[[Row], None]]]:
    """The checks by their names, of these models; none where such loops can run nothing."""
    if KERNELS["triton"].absent():
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for layer in map(LAYERS.__getitem__, models):
        yield f"{layer.neuron_type.title} on {device.type}", partial(_loop, layer, device)
    yield f"poisson on {device.type}", partial(_sampler, device)


def _loop(layer: type[SpikingLayer], device: torch.device, row: Row) -> None:
    """A neuron's loop with every jump, with gradients and without."""
    for jump in layer.neuron_type.jumps:
        settings: Any = {"jump": jump, "dt": _DT}
        reference = layer(backend="reference", **settings)
        ours = layer(backend="triton", **settings)
        x, state = inputs(reference, reference, *_SHAPE)
        there = x.to(device), type(state)(*(part.to(device) for part in state))
        expected = run(reference, x, state, gradients=False).values
        row.same(_back(run(ours, *there, gradients=False).values), expected)
        result = run(ours, *there)
        row.note(result.values[0])
        row.same(_back(result.values), expected)
        row.near(_back(result.gradients), run(reference, doubled(x), doubled(state)).gradients)


def _sampler(device: torch.device, row: Row) -> None:
    """The bits of an encoder are the same on every device."""
    x = torch.rand(3, 155, generator=torch.Generator().manual_seed(0))
    for method in POISSON_METHODS:
        draw: Any = {"method": method, "seed": 2**40, "epoch": 3}
        row.same(_back([poisson(x.to(device), 33, **draw)]), [poisson(x.double(), 33, **draw)])
    row.ran = "reference"


def _back(tensors: list[Tensor]) -> list[Tensor]:
    return [tensor.cpu() for tensor in tensors]
