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
        Singular values; of a convolution, of its gradient as ``[out, in · k · k]``. One that is no
        more than rounding counts as 0: below ``eps √max(m, n)`` times the largest, with the eps of
        the gradient's dtype.
    condition
        Their ratio; infinite if the smallest is 0.
    rank
        Number of singular values above 0; -1 if the gradient is not finite.
    """

    name: str
    norm: float
    largest: float
    smallest: float
    condition: float
    rank: int


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
        return GradientHealth(name, norm, math.nan, math.nan, math.nan, -1)
    if not matrix.numel():
        return GradientHealth(name, norm, 0.0, 0.0, math.inf, 0)
    values = torch.linalg.svdvals(matrix)
    largest = float(values[0])
    # Independent errors of eps in the entries have singular values of up to about eps times the
    # largest; the root is a margin for sums. The usual factor max(m, n) would take a convolution of
    # 512 x 4608 in float32 for singular from a condition of 1,800 on.
    least = torch.finfo(gradient.dtype).eps * math.sqrt(max(matrix.shape)) * largest
    rank = int((values > least).sum())
    if rank < len(values):
        return GradientHealth(name, norm, largest, 0.0, math.inf, rank)
    smallest = float(values[-1])
    return GradientHealth(name, norm, largest, smallest, largest / smallest, rank)
