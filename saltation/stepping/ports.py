"""Where the state of a neuron module goes in and comes out."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from saltation.errors import SaltationError
from saltation.kernels.recurrent import RecurrentState
from saltation.kernels.reference import Trace
from saltation.kernels.tangents import Carrying
from saltation.layers.neuron import SpikingLayer
from saltation.layers.recurrent import Recurrent
from saltation.surrogate import Surrogate

State = tuple[Tensor, ...]


class RefusedError(SaltationError):
    """A network that cannot be followed, whatever its input."""


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
    keeps : bool
        Whether the module keeps its state from call to call, so that there is one state however
        often it is called in a step.
    """

    spike: SeenSpike | None = None
    sequences = False
    keeps = True

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of a call by position.

        Raises
        ------
        SaltationError
            If there is no tensor among them, or some have no position.
        """
        if kwargs:
            given = inspect.signature(self.module.forward).bind(*args, **kwargs)
            args, kwargs = given.args, given.kwargs
        if kwargs or not args or not isinstance(args[0], Tensor):
            what = ", ".join(kwargs) or (type(args[0]).__name__ if args else "nothing")
            raise RefusedError(f"neurons '{self.name}' must be called with a tensor, got {what}")
        return args

    def extent(self, arguments: tuple[Any, ...]) -> tuple[int, int]:
        """Numbers of steps and samples in a call.

        Raises
        ------
        SaltationError
            If its input has no dimension for them.
        """
        shape = arguments[0].shape
        if len(shape) < 1 + self.sequences:
            form = "[T, B, ...]" if self.sequences else "[B, ...]"
            raise SaltationError(
                f"neurons '{self.name}' must be given {form}, got {list(shape)}: the input of the "
                f"network lacks a dimension"
            )
        return (shape[0], shape[1]) if self.sequences else (1, shape[0])

    def handed(self, arguments: tuple[Any, ...]) -> State | None:
        """The state that the caller handed over, if any."""
        return None

    def returned(self, output: Any) -> State | None:
        """The state that a call returned to its caller, if any."""
        return None

    def emitted(self, output: Any) -> Tensor:
        """The spikes in what a call returned."""
        spikes: Tensor = output[0] if isinstance(output, tuple) else output
        return spikes

    @property
    @abstractmethod
    def variables(self) -> tuple[str, ...]:
        """Names of the tensors of a state, in their order."""

    @abstractmethod
    def rest(self, arguments: tuple[Any, ...]) -> State:
        """The state before the first step of a call with these arguments."""

    @abstractmethod
    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        """The arguments of a call that begins with ``state``."""

    @abstractmethod
    def leave(self, output: Any, handed: bool) -> tuple[State, Any]:
        """The state that a call ended with, and what its caller expects of it: who ``handed`` a
        state over expects one back."""

    @abstractmethod
    def states(self, arguments: tuple[Any, ...], state: State) -> State:
        """The states after every step of the call that is about to begin, with ``state``,
        ``[T, B, ...]`` each. For modules that take sequences."""

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
    keeps = False

    def __init__(self, name: str, module: SpikingLayer | Recurrent) -> None:
        super().__init__(name, module)
        self._layer = module.layer if isinstance(module, Recurrent) else module
        self.spike = SeenSpike(self._layer.surrogate, own=True)
        self._trace: Trace | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        own: tuple[str, ...] = self._layer.neuron.State._fields
        return ("spikes", *own) if isinstance(self.module, Recurrent) else own

    def handed(self, arguments: tuple[Any, ...]) -> State | None:
        return None if arguments[1:] in ((), (None,)) else _flat(arguments[1])

    def returned(self, output: Any) -> State | None:
        return _flat(output[1]) if isinstance(output, tuple) else None

    def rest(self, arguments: tuple[Any, ...]) -> State:
        return self.handed(arguments) or _flat(self.module.rest(arguments[0][0]))

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        return arguments[0], self._whole(state)

    def leave(self, output: Any, handed: bool) -> tuple[State, Any]:
        spikes, state = output
        return _flat(state), output if handed else spikes

    def open(self) -> Callable[[], None]:
        layer, kept = self._layer, self._layer.surrogate
        if self.spike.seen is not None:  # else the compiled loops may run
            layer.surrogate = self.spike  # type: ignore[assignment]
        elif forward_ad._current_level >= 0 and isinstance(kept, Surrogate):
            layer.surrogate = Carrying(kept)  # type: ignore[assignment]

        forward, recorded = self.module.forward, type(self.module).record
        wanted = False
        kept_trace: Trace | None = None

        @wraps(forward)
        def once(*arguments: Any) -> Any:
            nonlocal wanted, kept_trace
            trace, self._trace = self._trace, None
            if wanted and trace is None:
                trace = recorded(self.module, *arguments)  # type: ignore[arg-type]
            if trace is None:
                return forward(*arguments)
            if wanted:
                wanted, kept_trace = False, trace
            state = arguments[1] if arguments[1:] else None
            return trace.spikes if state is None else (trace.spikes, trace.state)

        def record(*arguments: Any, **named: Any) -> Trace:
            # A call of the layer, which the session sees, and from which the record is taken.
            nonlocal wanted, kept_trace
            wanted = True
            self.module(*arguments, **named)
            trace, kept_trace = kept_trace, None
            return trace  # type: ignore[return-value]

        self.module.record = record  # type: ignore[method-assign]
        self.module.forward = once  # type: ignore[assignment, method-assign]

        def close() -> None:
            # The methods of its class are there again.
            del self.module.record, self.module.forward
            self._trace = None
            layer.surrogate = kept

        return close

    def states(self, arguments: tuple[Any, ...], state: State) -> State:
        # The call itself is given what is recorded here, so that the neurons run once.
        record = type(self.module).record
        trace = record(self.module, *self.enter(arguments, state))  # type: ignore[arg-type]
        self._trace = trace
        return _flat(trace.states)

    def _whole(self, state: State) -> Any:
        if isinstance(self.module, Recurrent):
            return RecurrentState(state[0], self._layer.neuron.State(*state[1:]))
        return self._layer.neuron.State(*state)


def _flat(state: Any) -> State:
    """The tensors of a layer's state, one after the other."""
    return (state.spikes, *state.neuron) if isinstance(state, RecurrentState) else tuple(state)
