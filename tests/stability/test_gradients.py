"""Singular values and ranks of gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import saltation as st
from saltation.stability.gradients import matrix_health


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_gradients_are_called_so(dtype: torch.dtype) -> None:
    """Rounding would make a large condition number of what has none, and hide the rank."""
    rising = torch.arange(1, 9, dtype=dtype)
    one = matrix_health("one", torch.outer(rising, rising[:5]))
    assert (one.smallest, one.condition, one.rank) == (0, math.inf, 1)
    zero = matrix_health("zero", torch.zeros(3, 2, dtype=dtype))
    assert (zero.largest, zero.condition, zero.rank) == (0, math.inf, 0)
    assert matrix_health("empty", torch.zeros(0, 2, dtype=dtype)).rank == 0
    broken = matrix_health("broken", torch.full((3, 2), math.nan, dtype=dtype))
    assert math.isnan(broken.condition)
    assert broken.rank == -1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("classes", "inputs", "samples"), [(10, 64, 16), (10, 784, 128), (4, 5, 8), (100, 512, 32)]
)
def test_the_rank_of_a_readout(classes: int, inputs: int, samples: int, dtype: torch.dtype) -> None:
    """Over the classes the gradient of a cross-entropy adds up to zero."""
    torch.manual_seed(0)
    readout = nn.Linear(inputs, classes, dtype=dtype)
    x = (torch.rand(samples, inputs, dtype=dtype) < 0.3).to(dtype)
    y = torch.randint(0, classes, (samples,))
    nn.functional.cross_entropy(readout(x), y).backward()
    (found,) = st.gradient_health(readout)
    assert found.rank == min(classes - 1, samples, inputs)
    assert found.condition == math.inf
    assert found.smallest == 0


@pytest.mark.parametrize("condition", [1.0, 1e3, 3e4])
@pytest.mark.parametrize("shape", [(6, 5), (64, 576), (64, 4608)])
def test_what_can_be_told_is(shape: tuple[int, int], condition: float) -> None:
    """In float32 as well, and in matrices as wide as the gradients of large convolutions."""
    torch.manual_seed(0)
    m, n = shape
    k = min(shape)
    left, right = (torch.linalg.qr(torch.randn(s, k, dtype=torch.float64))[0] for s in (m, n))
    values = torch.logspace(0, -math.log10(condition), k, dtype=torch.float64)
    found = matrix_health("wide", ((left * values) @ right.T).float())
    assert found.rank == k
    assert found.condition == pytest.approx(condition, rel=1e-2)
