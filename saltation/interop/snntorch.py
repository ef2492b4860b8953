"""Neurons of snnTorch: hidden states, and states that are handed from call to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stepping import Port, RefusedError, SeenSpike, State, Stepped

# Attributes that hold the state, in the order of the arguments of ``forward``.
VARIABLES = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "RLeaky": ("spk", "mem"),
    "Synaptic": ("syn", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
}
_NEURONS = "snntorch._neurons."  # where snnTorch defines them


def kind_of(module: nn.Module) -> str | None:
    """The neuron of snnTorch that a module is or is made from, None if it is no neuron."""
    names = [k.__name__ for k in type(module).__mro__ if k.__module__.startswith(_NEURONS)]
    return names[0] if names else None


class SnnTorchPort(Port):
    """Of a neuron of snnTorch."""

    module: Any
    spike: SeenSpike

    def __init__(self, name: str, module: nn.Module, kind: str) -> None:
        super().__init__(name, module)
        self._variables = VARIABLES[kind]
        self.spike = SeenSpike(self.module.spike_grad, own=False)
        self._seen = 0

    @property
    def variables(self) -> tuple[str, ...]:
        return self._variables

    def handed(self, arguments: tuple[Any, ...]) -> State | None:
        given = tuple(part for part in arguments[1:] if part is not None)
        return given if len(given) == len(self._variables) else None

    def returned(self, output: Any) -> State | None:
        given = output[1:] if isinstance(output, tuple) else ()
        return tuple(given) if len(given) == len(self._variables) else None

    def rest(self, arguments: tuple[Any, ...]) -> State:
        x: Tensor = arguments[0]
        given = self.handed(arguments)
        # As in snnTorch, a state of another shape is none.
        if given is not None and all(part.shape == x.shape for part in given):
            return given
        return tuple(torch.zeros_like(x) for _ in self._variables)

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        self._seen = len(self.spike.seen or ())
        if not self.module.init_hidden:
            return arguments[0], *state
        for name, part in zip(self._variables, state, strict=True):
            setattr(self.module, name, part)
        return (arguments[0],)

    def leave(self, output: Any, handed: bool) -> tuple[State, Any]:
        if self.spike.seen:  # the neuron asks for the spike before the step as well
            del self.spike.seen[self._seen : -1]
        return tuple(getattr(self.module, name) for name in self._variables), output

    def states(self, arguments: tuple[Any, ...], state: State) -> State:
        raise RefusedError(f"neurons '{self.name}' of snnTorch take one step per call")

    def open(self) -> Callable[[], None]:
        kept = {name: getattr(self.module, name) for name in (*self._variables, "spike_grad")}
        self.module.spike_grad = self.spike

        def close() -> None:
            for name, value in kept.items():
                setattr(self.module, name, value)

        return close


def stepped(network: nn.Module) -> Stepped:
    """A network of snnTorch's neurons."""
    ports: list[SnnTorchPort] = []
    for name, module in network.named_modules():
        kind = kind_of(module)
        if kind is None:
            continue
        if kind not in VARIABLES:
            raise SaltationError(
                f"'{name or 'neurons'}' is a {type(module).__name__}; of snnTorch's neurons "
                f"saltation knows {', '.join(VARIABLES)}"
            )
        ports.append(SnnTorchPort(name or "neurons", module, kind))
    if not ports:
        raise SaltationError(
            f"{type(network).__name__} holds modules of snnTorch, but no neurons that saltation "
            f"knows ({', '.join(VARIABLES)})"
        )
    if len({bool(port.module.init_hidden) for port in ports}) != 1:
        raise SaltationError("some of snnTorch's neurons have init_hidden=True and some do not")
    return Stepped(network, ports)
