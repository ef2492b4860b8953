"""Equations as vector code: exp, surrogates and derivatives against torch in double precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from saltation.kernels.cpu.neurons.slope import slope, slope_numbers
from saltation.kernels.cpu.neurons.vector import Dual, rowwise
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.surrogate import SURROGATES


class Numbers(NamedTuple):
    """Of the functions below."""

    two: Any = np.float32(2)


def run(function: Any, *inputs: torch.Tensor, numbers: Any = None) -> torch.Tensor:
    """``function`` over all places of one-dimensional inputs."""
    loop = rowwise(function, len(inputs))
    out = torch.full_like(inputs[0], float("nan"))

    @kernel
    def call(arrays: Any, origins: Any, size: int, numbers: Any) -> None:
        loop(arrays, origins, 0, size, numbers)

    arrays = tuple(part.numpy() for part in (*inputs, out))
    call(arrays, (0,) * len(arrays), len(out), Numbers() if numbers is None else numbers)
    return out


def test_exp() -> None:
    """To 3e-7 over the whole range, also where the vectors end; 0 far below; NaN stays."""
    u = torch.linspace(-87.2, 88.2, 100_003)
    ours, exact = run(lambda u, n: (u.exp(),), u), u.double().exp()
    assert ((ours.double() - exact).abs() / exact).max() < 3e-7
    ends = torch.tensor([0.0, -0.0, -88.0, -1e30, -torch.inf, torch.nan, 1.0])
    found = run(lambda u, n: (u.exp(),), ends)
    assert found[:5].tolist() == [1, 1, 0, 0, 0]
    assert found[5].isnan()


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates(name: str) -> None:
    """The derivative of every surrogate, to 1e-6 of its peak."""
    surrogate = SURROGATES[name]()
    u = torch.linspace(-4, 4, 1003) + 1e-4
    ours = run(lambda u, n: (slope(u, n),), u, numbers=slope_numbers(surrogate))
    exact = surrogate.derivative(u.double())
    torch.testing.assert_close(ours.double(), exact, rtol=2e-6, atol=1e-7 * exact.max().item())


@pytest.mark.parametrize("size", [1, 15, 16, 17, 100])
def test_any_length(size: int) -> None:
    """Whole vectors and what is left over, to the bit."""
    u, v = torch.randn(2, size).unbind(0)
    ours = run(lambda u, v, n: (abs(u) * v - n.two / (u * u + 1.0),), u.clone(), v.clone())
    assert torch.equal(ours, u.abs() * v - 2 / (u * u + 1))


def test_duals_are_derivatives() -> None:
    """Sums, differences, products and clipping of two variables, in both directions."""

    def f(u: Any, v: Any, two: Any) -> Any:
        return two * u * v - (v - u) * v.clamp(-two, two) + (-u) * u - two

    def tangents(u: Any, v: Any, n: Numbers) -> tuple[Any, ...]:
        one = u * 0.0 + 1.0
        return (f(Dual(u, one, None), Dual(v, None, one), n.two).tangents[0],)

    def others(u: Any, v: Any, n: Numbers) -> tuple[Any, ...]:
        one = u * 0.0 + 1.0
        return (f(Dual(u, one, None), Dual(v, None, one), n.two).tangents[1],)

    u, v = (3 * torch.randn(2, 200, generator=torch.Generator().manual_seed(0))).unbind(0)
    x, y = u.double().requires_grad_(), v.double().requires_grad_()
    expected = torch.autograd.grad(f(x, y, 2.0).sum(), (x, y))
    for part, wanted in zip((tangents, others), expected, strict=True):
        ours = run(part, u.clone(), v.clone())
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-5)


def test_nothing_is_contracted() -> None:
    """A product and a sum round twice, as torch's do: a fused one would differ somewhere."""
    u, v, w = torch.randn(3, 10_000).unbind(0)
    ours = run(lambda u, v, w, n: (u * v + w,), u.clone(), v.clone(), w.clone())
    assert torch.equal(ours, u * v + w)
    fused = (u.double() * v.double() + w.double()).float()
    assert not torch.equal(ours, fused)


def test_only_plain_rows() -> None:
    """Arrays that are not C-ordered are refused when the loop is compiled."""
    loop = rowwise(lambda u, n: (u,), 1)

    @kernel
    def call(u: Any, out: Any, n: Any) -> None:
        loop((u, out), (0, 0), 0, 4, n)

    with pytest.raises(Exception, match="C-ordered"):
        call(np.zeros(8, np.float32)[::2], np.zeros(4, np.float32), Numbers())
