"""Health of gradients: their size and conditioning, weight by weight."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class GradientHealth(NamedTuple):
    """Of the gradient of one weight matrix.

    Attributes
    ----------
    name
        Of the parameter.
    norm
        Frobenius norm.
    largest, smallest
        Singular values; of a convolution, of its gradient as ``[out, in · k · k]``.
    condition
        Their ratio; infinite if the smallest is 0.
    """

    name: str
    norm: float
    largest: float
    smallest: float
    condition: float


def gradient_health(network: nn.Module) -> list[GradientHealth]:
    """Norm, singular values and condition number of the gradient of every weight matrix.

    Parameters that have no gradient, or fewer than two dimensions, are left out. A gradient that is
    not finite has NaN singular values.
    """
    return [
        matrix_health(name, parameter.grad)
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.ndim >= 2
    ]


def matrix_health(name: str, gradient: Tensor) -> GradientHealth:
    """`GradientHealth` of one gradient ``[out, ...]``."""
    matrix = gradient.detach().flatten(1).double()
    norm = float(matrix.norm())
    if not math.isfinite(norm):
        return GradientHealth(name, norm, math.nan, math.nan, math.nan)
    values = torch.linalg.svdvals(matrix)
    largest, smallest = float(values[0]), float(values[-1])
    return GradientHealth(
        name, norm, largest, smallest, largest / smallest if smallest else math.inf
    )
