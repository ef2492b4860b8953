"""Passes as training makes them: they count in running statistics, and dropout drops."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop import adapt
from saltation.stepping import Slices, Stepped, in_its_loop


def output(whole: Stepped, x: Tensor) -> Any:
    """What the network makes of ``x`` from rest.

    Raises
    ------
    SaltationError
        If it is walked through its steps by a function that returns no output.
    """
    walk = whole.walk
    if walk is None or isinstance(walk, Slices):
        walk = in_its_loop
    forget(whole)
    try:
        found = walk(whole.network, x, lambda: None)
    finally:
        forget(whole)
    if found is None:
        raise SaltationError(
            "the walk returned no output: let it return what a loss is computed of"
        )
    return found


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


def twin_of(whole: Stepped, network: nn.Module | None = None) -> Stepped:
    """A copy of the network, or of another like it, as the same adapters take it."""
    twin = copied(whole.network if network is None else network)
    return replace(whole, network=twin, ports=adapt(twin).ports)
