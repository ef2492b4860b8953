"""Passes as training makes them: they count in running statistics, and dropout drops."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop import adapt
from saltation.interop.adapting import by_steps
from saltation.layers.stepping import Stepped, by_slices


def output(whole: Stepped, x: Tensor) -> Any:
    """What the network makes of ``x`` from rest: the first part of a tuple, stacked over time where
    the network is called once a step.

    Raises
    ------
    SaltationError
        If the network is walked through its steps in another way.
    """
    forget(whole)
    try:
        if whole.at_once or whole.in_loop or whole.walk is by_slices:
            return _first(whole.network(x))
        if whole.walk is not by_steps:
            raise SaltationError(
                "a network with a walk of its own cannot be trained here: give the module itself"
            )
        return torch.stack([_first(whole.network(step)) for step in x.unbind(0)])
    finally:
        forget(whole)


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple) else out


def forget(whole: Stepped) -> None:
    """Bring hidden states of other libraries' neurons, and of normalisations, to rest."""
    for port in whole.ports:
        module: Any = port.module
        if getattr(module, "_memories", None):  # SpikingJelly
            module.reset()
        elif getattr(module, "init_hidden", False):  # snnTorch
            module.reset_mem()
    for module in whole.network.modules():
        if hasattr(module, "rewind"):
            module.rewind()


def copied(network: nn.Module) -> nn.Module:
    """A deep copy of a network, whose hidden states may hold graphs of the user's last pass."""
    graphs: list[tuple[dict[str, Any], str, Tensor]] = []
    for module in network.modules():
        places = [module.__dict__, module._buffers, module.__dict__.get("_memories") or {}]
        for place in places:
            for name, value in list(place.items()):
                if isinstance(value, Tensor) and value.grad_fn is not None:
                    graphs.append((place, name, value))
    try:
        for place, name, value in graphs:
            place[name] = value.detach()
        return copy.deepcopy(network)
    finally:
        for place, name, value in graphs:
            place[name] = value


def adapted(network: nn.Module, batch_dim: int | None) -> Stepped:
    """As `adapt`."""
    return adapt(network, batch_dim=batch_dim)
