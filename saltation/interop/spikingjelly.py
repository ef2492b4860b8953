"""Memory modules of SpikingJelly: neurons and the containers that feed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop.adapting import by_steps
from saltation.layers.stepping import Port, SeenSpike, State, Stepped, by_slices


class _AsModule(nn.Module):
    """A spike function in the place of a module."""

    def __init__(self, spike: SeenSpike) -> None:
        super().__init__()
        self.spike = spike

    def forward(self, u: Tensor) -> Tensor:
        return self.spike(u)


class SpikingJellyPort(Port):
    """Of a module with memories."""

    module: Any

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__(name, module)
        self._names = list(self.module._memories)
        self.sequences = self.module.step_mode == "m"
        if hasattr(module, "surrogate_function"):
            self.spike = SeenSpike(self.module.surrogate_function, own=False)

    def rest(self, arguments: tuple[Any, ...]) -> State:
        mode = self.module.step_mode
        first = arguments[0] if mode == "s" else arguments[0][0]
        values = [self.module._memories_rv[name] for name in self._names]
        if hasattr(self.module, "materialize_states"):
            values = self.module.materialize_states(arguments[:1], tuple(values), mode)
        return tuple(
            value if isinstance(value, Tensor) else torch.full_like(first, value)
            for value in values
        )

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        self.module._memories.update(zip(self._names, state, strict=True))
        return arguments

    def leave(self, output: Any) -> tuple[State, Any]:
        return tuple(self.module._memories[name] for name in self._names), output

    def open(self) -> Callable[[], None]:
        module, memories = self.module, dict(self.module._memories)
        kept = {
            name: getattr(module, name) for name in ("training", "backend") if _has(module, name)
        }
        function = getattr(module, "surrogate_function", None)
        module.training = True  # otherwise the neurons leave their spike function out
        if "backend" in kept:
            module.backend = "torch"
        if self.spike is not None:
            module.surrogate_function = _AsModule(self.spike)

        def close() -> None:
            module._memories.update(memories)
            if function is not None:
                module.surrogate_function = function
            for name, value in kept.items():
                setattr(module, name, value)

        return close


def _has(module: Any, name: str) -> bool:
    return getattr(module, name, None) is not None


def stepped(network: nn.Module) -> Stepped:
    """A network of SpikingJelly's memory modules, all in the same step mode."""
    memories: dict[str, Any] = {
        name: module
        for name, module in network.named_modules()
        if getattr(module, "_memories", None)
    }
    if not memories:
        raise SaltationError(f"{type(network).__name__} holds no memory module of SpikingJelly")
    modes = {module.step_mode for module in memories.values()}
    if len(modes) != 1:
        raise SaltationError(f"all memory modules must be in one step mode, found {sorted(modes)}")
    ports = [SpikingJellyPort(name or "neurons", module) for name, module in memories.items()]
    return Stepped(network, ports, 1, by_steps if modes == {"s"} else by_slices)
