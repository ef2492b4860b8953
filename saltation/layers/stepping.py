"""Networks run with the states of all their neurons in hand, step by step.

A network stays the module it is. While a `Session` lasts, the neuron modules in it begin every step
from states that are given to them, and the states they end it with are taken out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from saltation.errors import SaltationError
from saltation.kernels.recurrent import RecurrentState
from saltation.layers.neuron import SpikingLayer
from saltation.layers.recurrent import Recurrent, neuron_layers
from saltation.surrogate import Smooth

State = tuple[Tensor, ...]


class Port(ABC):
    """Where the state of one neuron module goes in and comes out.

    Parameters
    ----------
    name
        Of the module in its network.
    module
        The module.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module

    @abstractmethod
    def rest(self, arguments: tuple[Any, ...]) -> State:
        """The state before the first step of a call with these arguments."""

    @abstractmethod
    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        """The arguments of a call that begins with ``state``."""

    @abstractmethod
    def leave(self, output: Any) -> tuple[State, Any]:
        """The state that a call ended with, and what the network expects of it."""

    def open(self) -> Callable[[], None]:
        """Make the module ready for a session; what is returned makes it as it was."""
        return lambda: None

    def potentials(self, arguments: tuple[Any, ...], state: State) -> Tensor | None:
        """``h - v_threshold`` of a call with these arguments from ``state``, before any jump;
        None where the module does not tell."""
        return None

    def slope(self, u: Tensor) -> Tensor | None:
        """The surrogate's derivative at ``u = h - v_threshold``, if there is one."""
        return None


class LayerPort(Port):
    """Of a layer of saltation."""

    module: SpikingLayer | Recurrent

    def __init__(self, name: str, module: SpikingLayer | Recurrent) -> None:
        super().__init__(name, module)
        self._layer = module.layer if isinstance(module, Recurrent) else module

    def rest(self, arguments: tuple[Any, ...]) -> State:
        state = self.module.rest(arguments[0][0])
        return (state.spikes, *state.neuron) if isinstance(state, RecurrentState) else tuple(state)

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        return arguments[0], self._whole(state)

    def leave(self, output: Any) -> tuple[State, Any]:
        spikes, state = output
        if isinstance(state, RecurrentState):
            state = (state.spikes, *state.neuron)
        return tuple(state), spikes

    def potentials(self, arguments: tuple[Any, ...], state: State) -> Tensor | None:
        h = self.module.record(arguments[0], self._whole(state)).h
        return None if h is None else h - self._layer.neuron.v_threshold

    def slope(self, u: Tensor) -> Tensor | None:
        spike = self._layer.surrogate
        return (spike.surrogate if isinstance(spike, Smooth) else spike).derivative(u)

    def _whole(self, state: State) -> Any:
        if isinstance(self.module, Recurrent):
            return RecurrentState(state[0], self._layer.neuron.State(*state[1:]))
        return self._layer.neuron.State(*state)


@dataclass(frozen=True)
class Stepped:
    """A network, its ports, and how it goes through the steps of an input.

    Attributes
    ----------
    network
        The module.
    ports
        One for every neuron module.
    batch_dim
        Dimension of the samples in the input.
    walk
        ``(network, x, end) -> None``: takes the network through all steps of ``x`` and calls
        ``end`` after each.
    in_loop
        Whether the network has the loop over the steps within it. A step then ends where a neuron
        module is called again.
    at_once
        ``(network, x) -> output`` of all steps in one call, where the network can; else None.
    """

    network: nn.Module
    ports: Sequence[Port]
    batch_dim: int
    walk: Callable[[nn.Module, Tensor, Callable[[], None]], None]
    in_loop: bool = False
    at_once: Callable[[nn.Module, Tensor], Any] | None = None


def by_slices(network: nn.Module, x: Tensor, end: Callable[[], None]) -> None:
    """Call the network on ``x[t:t + 1]``, step by step."""
    for step in torch.split(x, 1):
        network(step)
        end()


def stepped(network: nn.Module) -> Stepped:
    """A network of saltation's layers, which takes ``[T, B, ...]``.

    Raises
    ------
    SaltationError
        If there is no neuron layer in it.
    """
    layers = neuron_layers(network)
    if not layers:
        raise SaltationError(
            f"{type(network).__name__} holds no neuron layer of saltation. For a network of "
            f"snnTorch or SpikingJelly give saltation.adapt(network)"
        )
    ports = [LayerPort(name or "neurons", layer) for name, layer in layers.items()]
    return Stepped(network, ports, 1, by_slices, at_once=lambda net, x: net(x))


class Control(Protocol):
    """What decides from which states the steps begin."""

    def start(self, name: str, rest: State) -> State:
        """The state of a neuron module before its first step, from that at rest."""

    def advance(self, states: list[State]) -> list[State]:
        """The states a step begins with, from those that the one before ended with."""


class Session:
    """One pass of a network over an input, under the control of another.

    A module that is called more than once in a step has a state for every call. In a network with
    the loop within it a module is expected once in a step.

    Attributes
    ----------
    names : list of str
        The neuron modules in the order of their calls, complete after the first step.
    states : list of State
        What the control gave back last.
    """

    def __init__(self, network: Stepped, control: Control) -> None:
        self.names: list[str] = []
        self._stepped = network
        self._control = control
        self.states: list[State] = []
        self._ended: list[State] = []
        self._calls: dict[str, int] = {}
        self._steps = 0

    def run(self, x: Tensor) -> None:
        """Take the network through all steps of ``x``."""
        with self._open():
            self._stepped.walk(self._stepped.network, x, self._end)
            if self._ended:
                self._end()

    def run_at_once(self, x: Tensor) -> Any:
        """All steps of ``x`` in one call, which counts as one step; the network's output."""
        if self._stepped.at_once is None:
            raise SaltationError(
                "this network goes through its steps one by one; take estimator 'tangent'"
            )
        with self._open():
            output = self._stepped.at_once(self._stepped.network, x)
            self._end()
        return output

    @contextmanager
    def _open(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self._stepped.network))
            for port in self._stepped.ports:
                stack.callback(port.open())
                before, after = self._hooks(port)
                enter = port.module.register_forward_pre_hook(before)
                # The first of all hooks, so that those of others see spikes.
                leave = port.module.register_forward_hook(after, prepend=True)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _hooks(self, port: Port) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def before(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            if self._stepped.in_loop and self._calls.get(port.name):
                self._end()
            place = len(self._ended)
            if self._steps == 0:
                self._calls[port.name] = calls = self._calls.get(port.name, 0) + 1
                self.names.append(port.name if calls == 1 else f"{port.name} (call {calls})")
                return port.enter(
                    arguments, self._control.start(self.names[-1], port.rest(arguments))
                )
            self._calls[port.name] = self._calls.get(port.name, 0) + 1
            if place >= len(self.names) or self.names[place].split(" (")[0] != port.name:
                raise SaltationError(
                    f"step {self._steps + 1} calls neuron module '{port.name}' out of the order of "
                    f"the first step ({', '.join(self.names)})"
                )
            return port.enter(arguments, self.states[place])

        def after(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
            state, output = port.leave(output)
            self._ended.append(state)
            return output

        return before, after

    def _end(self) -> None:
        if len(self._ended) != len(self.names):
            raise SaltationError(
                f"step {self._steps + 1} called {len(self._ended)} neuron modules, the first "
                f"{len(self.names)}"
            )
        self.states = self._control.advance(self._ended)
        self._ended = []
        self._calls = {}
        self._steps += 1


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Within the block a pass leaves the network as it was: dropout is off, for it would make two
    passes two different maps, and normalisation does not count the batch in its averages."""
    dropouts = [m for m in network.modules() if isinstance(m, _DropoutNd) and m.training]
    counting = [
        m
        for m in network.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    try:
        for dropout in dropouts:
            dropout.training = False
        for norm in counting:
            norm.track_running_stats = False
        yield
    finally:
        for dropout in dropouts:
            dropout.training = True
        for norm in counting:
            norm.track_running_stats = True
