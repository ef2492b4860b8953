"""SpikingJelly's networks, as an independent second reading of the papers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

# What a network holds that is compared: in both libraries subclasses of these.
WEIGHTED = (nn.Conv2d, nn.Conv1d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d)


def imported(name: str) -> Any:
    """A module of ``spikingjelly.activation_based``; the test is skipped where it is missing."""
    return pytest.importorskip(
        f"spikingjelly.activation_based.{name}",
        reason="comparison with SpikingJelly needs: pip install --no-deps spikingjelly==2.0.0",
    )


def weighted(network: nn.Module) -> Iterator[nn.Module]:
    """The modules with weights, in the order they were made in."""
    return (module for module in network.modules() if isinstance(module, WEIGHTED))


def spread(network: nn.Module) -> None:
    """Running statistics, factors and offsets other than those of a fresh network."""
    noise = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for tensor, low in (
                    (module.weight, 1.0),
                    (module.bias, 0.2),
                    (module.running_mean, -0.3),
                    (module.running_var, 0.5),
                ):
                    tensor.copy_(low + 0.6 * torch.rand(tensor.shape, generator=noise))  # type: ignore[union-attr]


def take(theirs: nn.Module, ours: list[nn.Module]) -> None:
    """Give the modules of ``theirs`` the parameters and statistics of ``ours``, one by one."""
    others = list(weighted(theirs))
    assert len(others) == len(ours)
    for one, two in zip(others, ours, strict=True):
        mine = two.state_dict()
        state: dict[str, Any] = {
            name: mine[name].reshape(tensor.shape) for name, tensor in one.state_dict().items()
        }
        one.load_state_dict(state)


def images(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers with deviation 2."""
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
