"""Memory modules of SpikingJelly: neurons and the containers that feed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stepping import Port, RefusedError, SeenSpike, State, Stepped

_PACKAGE = "spikingjelly.activation_based."
# Where its neurons are defined, and its recurrent units, which have states of their own.
_STATES = (_PACKAGE + "neuron", _PACKAGE + "rnn")

_MASKS = ("Dropout", "DropConnectLinear")


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

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(self._names)

    def rest(self, arguments: tuple[Any, ...]) -> State:
        mode = self.module.step_mode
        first = arguments[0] if mode == "s" else arguments[0][0]
        values = tuple(self.module._memories_rv[name] for name in self._names)
        if hasattr(self.module, "materialize_states"):
            values = self.module.materialize_states(arguments[:1], values, mode)
        return tuple(
            self._filled(name, value, first)
            for name, value in zip(self._names, values, strict=True)
        )

    def _filled(self, name: str, value: Any, like: Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return torch.full_like(like, value)
        raise self._unknown(name, value)

    def _unknown(self, name: str, value: Any) -> SaltationError:
        return RefusedError(
            f"'{self.name}' is a {type(self.module).__name__}, whose memory '{name}' is a "
            f"{type(value).__name__}: saltation follows memories that are tensors of numbers"
        )

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        self.module._memories.update(zip(self._names, state, strict=True))
        return arguments

    def leave(self, output: Any, handed: bool) -> tuple[State, Any]:
        state = tuple(self.module._memories[name] for name in self._names)
        for name, value in zip(self._names, state, strict=True):
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise self._unknown(name, value)
        return state, output

    def states(self, arguments: tuple[Any, ...], state: State) -> State:
        kept, after = dict(self.module._memories), []
        self.enter(arguments, state)
        for step in arguments[0].unbind(0):
            self.module.single_step_forward(step)
            after.append(tuple(self.module._memories[name] for name in self._names))
        self.module._memories.update(kept)
        return tuple(torch.stack(parts) for parts in zip(*after, strict=True))

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
    """A network of SpikingJelly's memory modules."""
    ports = []
    for name, module in network.named_modules():
        kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith(_PACKAGE)]
        if any(kind.__name__ in _MASKS for kind in kinds):
            continue  # its mask is no state, and while it does not train there is none
        known = getattr(module, "_memories", None) and not hasattr(module, "T")
        if kinds and known:
            ports.append(SpikingJellyPort(name or "neurons", module))
        elif any(kind.__module__.startswith(_STATES) for kind in kinds):
            raise RefusedError(
                f"'{name or 'neurons'}' is a {type(module).__name__}, which takes all steps "
                f"together: saltation follows modules of SpikingJelly that keep their state in "
                f"memories, step by step"
            )
    if not ports:
        raise SaltationError(f"{type(network).__name__} holds no memory module of SpikingJelly")
    return Stepped(network, ports)
