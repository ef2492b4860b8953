"""Neurons of snnTorch: hidden states, and states that are handed from call to call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop.adapting import by_steps
from saltation.layers.stepping import Port, SeenSpike, State, Stepped

# Attributes that hold the state, in the order of the arguments of ``forward``.
VARIABLES = {
    "Leaky": ("mem",),
    "Lapicque": ("mem",),
    "RLeaky": ("spk", "mem"),
    "Synaptic": ("syn", "mem"),
    "RSynaptic": ("spk", "syn", "mem"),
    "Alpha": ("syn_exc", "syn_inh", "mem"),
}


class SnnTorchPort(Port):
    """Of a neuron of snnTorch."""

    module: Any
    spike: SeenSpike

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__(name, module)
        self._variables = VARIABLES[type(module).__name__]
        self.spike = SeenSpike(self.module.spike_grad, own=False)
        self._seen = 0

    def rest(self, arguments: tuple[Any, ...]) -> State:
        return tuple(torch.zeros_like(arguments[0]) for _ in self._variables)

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        self._seen = len(self.spike.seen or ())
        if not self.module.init_hidden:
            return arguments[0], *state
        for name, part in zip(self._variables, state, strict=True):
            setattr(self.module, name, part)
        return (arguments[0],)

    def leave(self, output: Any) -> tuple[State, Any]:
        if self.spike.seen:  # the neuron asks for the spike before the step as well
            del self.spike.seen[self._seen : -1]
        return tuple(getattr(self.module, name) for name in self._variables), output

    def open(self) -> Callable[[], None]:
        kept = {name: getattr(self.module, name) for name in (*self._variables, "spike_grad")}
        self.module.spike_grad = self.spike

        def close() -> None:
            for name, value in kept.items():
                setattr(self.module, name, value)

        return close


def stepped(network: nn.Module) -> Stepped:
    """A network of snnTorch's neurons."""
    neurons = {
        name: module
        for name, module in network.named_modules()
        if type(module).__module__.startswith("snntorch.") and hasattr(module, "spike_grad")
    }
    for name, neuron in neurons.items():
        if type(neuron).__name__ not in VARIABLES:
            raise SaltationError(
                f"'{name}' is a {type(neuron).__name__}; of snnTorch's neurons saltation knows "
                f"{', '.join(VARIABLES)}"
            )
    hidden = {bool(neuron.init_hidden) for neuron in neurons.values()}
    if len(hidden) != 1:
        raise SaltationError("some of snnTorch's neurons have init_hidden=True and some do not")
    ports = [SnnTorchPort(name or "neurons", neuron) for name, neuron in neurons.items()]
    if hidden == {True}:
        return Stepped(network, ports, 1, by_steps)
    return Stepped(network, ports, 0, _in_its_loop, in_loop=True)


def _in_its_loop(network: nn.Module, x: Tensor, end: Callable[[], None]) -> None:
    network(x)
