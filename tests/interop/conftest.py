"""The peers, each a fixture that skips where it is not installed."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor


class SpikingJelly(NamedTuple):
    """The two modules of SpikingJelly that are compared."""

    neuron: ModuleType
    surrogate: ModuleType


@pytest.fixture(scope="session")
def spikingjelly() -> SpikingJelly:
    """SpikingJelly 2, if installed."""
    why = "comparison with SpikingJelly needs: pip install --no-deps spikingjelly==2.0.0"
    package = "spikingjelly.activation_based"
    return SpikingJelly(
        pytest.importorskip(f"{package}.neuron", reason=why),
        pytest.importorskip(f"{package}.surrogate", reason=why),
    )


@pytest.fixture(scope="session")
def snntorch() -> Any:
    """snnTorch 1, if installed."""
    why = "comparison with snnTorch needs: pip install snntorch==1.0.0"
    pytest.importorskip("snntorch.surrogate", reason=why)
    return pytest.importorskip("snntorch", reason=why)


class Weighted(NamedTuple):
    """Random input ``[T, B, I]`` and weights ``[N, I]``, to be differentiated by both sides."""

    x: Tensor
    weight: Tensor

    @property
    def currents(self) -> Tensor:
        """``[T, B, N]``."""
        return self.x @ self.weight.T


def weighted(gain: float, bias: float, dtype: torch.dtype = torch.float64) -> Weighted:
    """40 steps, 8 samples, 12 inputs, 10 neurons: currents of mean ``bias``, deviation ``gain``."""
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(40, 8, 12, dtype=torch.float64, generator=noise)
    weight = torch.randn(10, 12, dtype=torch.float64, generator=noise)
    weight = weight * gain / (12 / 3) ** 0.5 + bias / 6
    return Weighted(x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_())


class Result(NamedTuple):
    """What two simulators must agree on; each ``[T, B, N]`` or of the parameters' shapes."""

    spikes: Tensor
    potentials: Tensor
    gradients: tuple[Tensor, ...]


def differentiate(parameters: Weighted, spikes: Tensor, potentials: Tensor) -> Result:
    """Gradients of a random functional of spikes and potentials, in input and weights."""
    noise = torch.Generator().manual_seed(1)
    g, r = (torch.randn(spikes.shape, dtype=torch.float64, generator=noise) for _ in range(2))
    loss = (g * spikes).sum() + (r * potentials).sum()
    gradients = torch.autograd.grad(loss, parameters)
    return Result(spikes.detach(), potentials.detach(), gradients)


def assert_same(
    ours: Result, theirs: Result, tolerance: float, gradients: float | None = None
) -> None:
    """Equal spikes at a rate of 5 to 60 %; potentials, and gradients of their size, to rounding."""
    assert 0.05 < ours.spikes.mean() < 0.6
    assert torch.equal(ours.spikes, theirs.spikes.to(ours.spikes.dtype))
    torch.testing.assert_close(ours.potentials, theirs.potentials, rtol=0, atol=tolerance)
    for mine, other in zip(ours.gradients, theirs.gradients, strict=True):
        size = mine.abs().max().item()
        assert size > 1e-3
        torch.testing.assert_close(mine, other, rtol=0, atol=(gradients or tolerance) * size)
