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

State = tuple[Tensor, ...]


class Port(ABC):
    """Where the state of one neuron module goes in and comes out.

    Parameters
    ----------
    name
        Of the module in its network.
    module
        The module.

    Attributes
    ----------
    spike : SeenSpike or None
        Its spike function, if it has one.
    sequences : bool
        Whether a call takes all steps ``[T, B, ...]``, not one.
    """

    spike: SeenSpike | None = None
    sequences = False

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

    @abstractmethod
    def open(self) -> Callable[[], None]:
        """Make the module ready for a session; what is returned makes it as it was."""


class SeenSpike:
    """A spike function that remembers what it was asked, and works in forward mode.

    Attributes
    ----------
    seen
        Where ``u = h - v_threshold`` of every call is kept, if anywhere.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], own: bool) -> None:
        """``own`` functions are saltation's, which have every derivative; those of others get
        their missing ones from the one they have, of backpropagation."""
        self.function = function
        self.own = own
        self.seen: list[Tensor] | None = None

    def __call__(self, u: Tensor) -> Tensor:
        if self.seen is not None:
            self.seen.append(u.detach())
        if self.own:
            return self.function(u)
        return _Borrowed.apply(u, self)  # type: ignore[no-untyped-call, no-any-return]

    def slope(self, u: Tensor) -> Tensor:
        """The derivative that backpropagation sees, at ``u``; itself differentiable."""
        with torch.enable_grad():
            at = u if u.requires_grad else u.detach().requires_grad_()
            spikes = self.function(at)
            (slope,) = torch.autograd.grad(spikes.sum(), at, create_graph=True)
        slope = slope.to(u.dtype)
        return slope if u.requires_grad else slope.detach()

    def width(self) -> float:
        """Distance from threshold at which the derivative has fallen to half its peak."""
        u = torch.logspace(-5, 2, 701, dtype=torch.float64)
        slope = self.slope(u)
        below = (slope < self.slope(torch.zeros(1, dtype=torch.float64)) / 2).nonzero()
        return float(u[int(below[0])]) if len(below) else float("inf")


class _Borrowed(torch.autograd.Function):
    """Another library's spike function with the derivative it has, in every mode."""

    @staticmethod
    def forward(u: Tensor, spike: SeenSpike) -> Tensor:
        return spike.function(u).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, SeenSpike], output: Tensor) -> None:
        u, ctx.spike = inputs
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradient * ctx.spike.slope(u), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (u,) = ctx.saved_tensors
        slope: Tensor = ctx.spike.slope(u)
        return tangent * slope


class LayerPort(Port):
    """Of a layer of saltation."""

    module: SpikingLayer | Recurrent
    spike: SeenSpike
    sequences = True

    def __init__(self, name: str, module: SpikingLayer | Recurrent) -> None:
        super().__init__(name, module)
        self._layer = module.layer if isinstance(module, Recurrent) else module
        self.spike = SeenSpike(self._layer.surrogate, own=True)

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

    def open(self) -> Callable[[], None]:
        layer, kept = self._layer, self._layer.surrogate
        if self.spike.seen is not None:  # else the compiled loops may run
            layer.surrogate = self.spike  # type: ignore[assignment]
        return lambda: setattr(layer, "surrogate", kept)

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
        Whether ``network(x)`` takes all steps in one call.
    """

    network: nn.Module
    ports: Sequence[Port]
    batch_dim: int
    walk: Callable[[nn.Module, Tensor, Callable[[], None]], None]
    in_loop: bool = False
    at_once: bool = False


def by_slices(network: nn.Module, x: Tensor, end: Callable[[], None]) -> None:
    """Call the network on ``x[t:t + 1]``, step by step."""
    for step in torch.split(x, 1):
        network(step)
        end()


def stepped(network: nn.Module) -> Stepped:
    """A network of saltation's layers, which takes ``[T, B, ...]``."""
    layers = neuron_layers(network)
    ports = [LayerPort(name or "neurons", layer) for name, layer in layers.items()]
    return Stepped(network, ports, 1, by_slices, at_once=True)


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
        self._ended: dict[int, State] = {}
        self._begun: list[int] = []
        self._calls: dict[str, int] = {}
        self._steps = 0

    def run(self, x: Tensor) -> None:
        """Take the network through all steps of ``x``."""
        with self._open():
            self._stepped.walk(self._stepped.network, x, self._end)
            if self._ended:
                self._end()

    def run_at_once(self, x: Tensor) -> Any:
        """All steps of ``x`` in one call, for a network that takes them so; it counts as one step.

        Returns
        -------
        The network's output.
        """
        with self._open():
            output = self._stepped.network(x)
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
            place = sum(self._calls.values())
            self._calls[port.name] = calls = self._calls.get(port.name, 0) + 1
            self._begun.append(place)
            name = port.name if calls == 1 else f"{port.name} (call {calls})"
            if self._steps == 0:
                self.names.append(name)
                return port.enter(arguments, self._control.start(name, port.rest(arguments)))
            if place >= len(self.names) or self.names[place] != name:
                raise SaltationError(
                    f"step {self._steps + 1} calls neuron module '{name}' out of the order of the "
                    f"first step ({', '.join(self.names)})"
                )
            return port.enter(arguments, self.states[place])

        def after(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
            # A module within another one ends before it.
            state, output = port.leave(output)
            self._ended[self._begun.pop()] = state
            return output

        return before, after

    def _end(self) -> None:
        if len(self._ended) != len(self.names):
            raise SaltationError(
                f"step {self._steps + 1} called {len(self._ended)} neuron modules, the first "
                f"{len(self.names)}"
            )
        ended = [self._ended[place] for place in range(len(self.names))]
        self.states = self._control.advance(ended)
        self._ended, self._calls = {}, {}
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
