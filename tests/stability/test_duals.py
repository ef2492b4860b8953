"""Operations with one tangent, against torch's own forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

from saltation.stability.duals import differentiable, dual, parts

D = torch.float64
OTHER = torch.rand(5, 1, dtype=D) + 1
MASK = torch.tensor([True, False, True, True, False])
WEIGHT = torch.randn(3, 5, dtype=D)
KERNEL = torch.randn(3, 4, 2, 2, dtype=D)
OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "add": lambda x: x + OTHER,
    "add a number": lambda x: 2 + x,
    "add to one that is larger": lambda x: torch.add(OTHER.expand(2, 5, 5), x),
    "add, scaled": lambda x: torch.add(x, OTHER, alpha=3),
    "sub": lambda x: x - OTHER,
    "sub from a number": lambda x: 1 - x,
    "sub from": lambda x: OTHER - x,
    "mul": lambda x: x * OTHER,
    "mul a number": lambda x: 0.5 * x,
    "div": lambda x: x / OTHER,
    "div a number": lambda x: 3 / x,
    "div from": lambda x: OTHER.div(x),
    "matmul": lambda x: x @ OTHER,
    "matmul from": lambda x: OTHER.mT @ x,
    "linear": lambda x: functional.linear(x, WEIGHT, WEIGHT[:, 0]),
    "convolution": lambda x: functional.conv2d(x.expand(1, 4, 5, 5), KERNEL, KERNEL[:, 0, 0, 0]),
    "where": lambda x: torch.where(MASK, x, OTHER),
    "where not": lambda x: torch.where(MASK, 1.0, x),
    "both": lambda x: (x * x + x - x / (1 + x)) @ x,
    "in place": lambda x: (x * 1).add_(OTHER).mul_(2),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_what_torch_makes_of_it(name: str) -> None:
    """Value, tangent, and the gradient of the tangent."""
    noise = torch.Generator().manual_seed(0)
    value = (torch.rand(5, 5, generator=noise, dtype=D) + 0.5).requires_grad_()
    tangent = torch.randn(5, 5, generator=noise, dtype=D).requires_grad_()
    found = []
    for block in (differentiable, forward_ad.dual_level):
        with block():  # type: ignore[operator]
            found.append(parts(OPERATIONS[name](dual(value, tangent))))
    (ours, our_tangent), (plain, plain_tangent) = found
    assert torch.equal(ours, plain)
    torch.testing.assert_close(our_tangent, plain_tangent)
    gradients = [
        torch.autograd.grad((one**2).sum(), (value, tangent), materialize_grads=True)
        for one in (our_tangent, plain_tangent)
    ]
    torch.testing.assert_close(*gradients)
