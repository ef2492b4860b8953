"""Pooling of maps whose channels are last in memory, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from saltation.kernels import dispatch
from saltation.kernels.cpu.conv import pooling
from saltation.models.blocks import AvgPool


def normal(*shape: int) -> Tensor:
    """Random numbers, channels last in memory."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(3, 16, 8, 6), (2, 48, 7, 5), (1, 32, 2, 3), (5, 16, 3, 2)])
@pytest.mark.parametrize("threads", [1, 3])
def test_has_torchs_bits(shape: tuple[int, ...], threads: int) -> None:
    """Means and gradients; zeros that no window has included."""
    x = normal(*shape).requires_grad_()
    x.data[0, 0, 0, :2] = -0.0
    exact = functional.avg_pool2d(x, 2)
    g = normal(*exact.shape)
    expected = torch.autograd.grad(exact, x, g)[0]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        out = pooling.pooled(x)
        found = torch.autograd.grad(out, x, g.contiguous())[0]
    finally:
        torch.set_num_threads(before)
    for one, two in ((out, exact), (found, expected)):
        assert torch.equal(one.view(torch.int32), two.view(torch.int32))
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_gradients_have_gradients() -> None:
    """A graph of the backward pass, as torch's."""
    x = normal(2, 16, 5, 4).requires_grad_()
    found = []
    for pool in (pooling.pooled, lambda x: functional.avg_pool2d(x, 2)):
        first = torch.autograd.grad(pool(x).pow(3).sum(), x, create_graph=True)[0]
        found += torch.autograd.grad(first.square().sum(), x)
    torch.testing.assert_close(*found)


def test_elsewhere_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels first, or no multiple of 16, double precision, one line, other windows."""
    calls: list[Tensor] = []
    monkeypatch.setattr(pooling, "pooled", calls.append)
    for x in (
        normal(2, 16, 6, 6).contiguous(),
        normal(2, 20, 6, 6),
        normal(2, 16, 6, 6).double(),
        normal(2, 16, 1, 6),
    ):
        assert dispatch.pooled(x) is None
    x = normal(2, 16, 7, 7)
    for options in ({"kernel_size": 3}, {"kernel_size": 2, "ceil_mode": True}):
        assert torch.equal(AvgPool(**options)(x[None])[0], functional.avg_pool2d(x, **options))
    assert calls == []
