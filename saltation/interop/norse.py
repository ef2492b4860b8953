"""Neurons of Norse: states are handed from call to call, of one step or of a sequence.

Leaky integrators that do not spike are readouts here: their states are no neurons'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stepping import Port, RefusedError, SeenSpike, State, Stepped

_MODULES = "norse.torch.module."
# What has one threshold in a step; cells, and layers of sequences without "Cell".
MODELS = ("LIF", "LIFBox", "IAF", "LIFAdEx", "LIFEx", "LSNN", "Izhikevich")
_READOUTS = ("LI", "LIBox", "LILinear")


class NorsePort(Port):
    """Of a cell or a layer of Norse."""

    module: Any
    spike: SeenSpike
    keeps = False

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__(name, module)
        from norse.torch.functional.threshold import threshold

        self.sequences = not type(module).__name__.endswith("Cell")
        self._state: Any = None  # the type of its state, once it is seen
        self._called = False
        self.spike = SeenSpike(
            lambda u: threshold(u, self.module.p.method, self.module.p.alpha),
            own=False,
        )

    @property
    def decay(self) -> float:
        """What a step leaves of the potential."""
        p = self.module.p
        return 1 - self.module.dt * self.one("tau_mem_inv") if hasattr(p, "tau_mem_inv") else 1.0

    def one(self, name: str) -> float:
        """A parameter as one number for all neurons.

        Raises
        ------
        SaltationError
            If neurons differ in it, or have none.
        """
        value = torch.as_tensor(getattr(self.module.p, name, float("nan"))).detach().flatten()
        if not bool((value == value[0]).all()):
            raise SaltationError(
                f"the neurons of '{self.name}' have no {name}, or differ in it, and one number for "
                f"all of them is needed"
            )
        return float(value[0])

    def set(self, **new: Any) -> None:
        """Other parameters of the neurons."""
        self.module.p = self.module.p._replace(
            **{name: torch.as_tensor(value) for name, value in new.items()}
        )

    @property
    def variables(self) -> tuple[str, ...]:
        return tuple(self._state._fields)

    def handed(self, arguments: tuple[Any, ...]) -> State | None:
        if arguments[1:] in ((), (None,)):
            return None
        self._state = type(arguments[1])
        return self._full(arguments, arguments[1])

    def returned(self, output: Any) -> State | None:
        self._state = type(output[1])
        return tuple(output[1])

    def rest(self, arguments: tuple[Any, ...]) -> State:
        given = self.handed(arguments)
        if given is not None:
            return given
        state = self.module.state_fallback(arguments[0])
        self._state = type(state)
        return self._full(arguments, state)

    def _full(self, arguments: tuple[Any, ...], state: Any) -> State:
        """The state in the shape of the neurons; Norse begins with one number for all."""
        x = arguments[0][0] if self.sequences else arguments[0]
        hidden = getattr(self.module, "hidden_size", None)
        shape = x.shape if hidden is None else (*x.shape[:-1], int(hidden))
        for part in state:
            if not isinstance(part, Tensor):
                raise RefusedError(
                    f"'{self.name}' is a {type(self.module).__name__}, whose state is more than "
                    f"tensors of numbers"
                )
        # At rest it wants gradients, which nobody asks for.
        return tuple(
            part if part.shape == shape else part.detach().to(x.dtype).expand(shape).clone()
            for part in state
        )

    def enter(self, arguments: tuple[Any, ...], state: State) -> tuple[Any, ...]:
        return arguments[0], self._state(*state)

    def leave(self, output: Any, handed: bool) -> tuple[State, Any]:
        return tuple(output[1]), output

    def states(self, arguments: tuple[Any, ...], state: State) -> State:
        module, current, after = self.module, self._state(*state), []
        weights: tuple[Tensor, ...] = ()
        if hasattr(module, "recurrent_weights"):
            weights = (module.input_weights, module.recurrent_weights)
        for step in arguments[0]:
            _, current = module.activation(step, current, *weights, module.p, module.dt)
            after.append(tuple(current))
        return tuple(torch.stack(parts) for parts in zip(*after, strict=True))

    def open(self) -> Callable[[], None]:
        # The functions of Norse ask one of their module for spikes; while this neuron is called, it
        # is its own that is asked.
        space = self.module.activation.__globals__
        before = space["threshold"]

        def threshold(u: Tensor, method: str, alpha: Any) -> Tensor:
            if self._called:
                return self.spike(u)
            asked: Tensor = before(u, method, alpha)
            return asked

        def call(*_: Any) -> None:
            self._called = True

        def end(*_: Any) -> None:
            self._called = False

        space["threshold"] = threshold
        # Behind the hooks that take its states in hand.
        enter = self.module.register_forward_pre_hook(call)
        leave = self.module.register_forward_hook(end, always_call=True)

        def close() -> None:
            enter.remove()
            leave.remove()
            self._called = False
            space["threshold"] = before

        return close


def _by_state(network: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
    """Call a `SequentialState` of cells step by step, with the states that it returns."""
    state, outputs = None, []
    for step in x.unbind(0):
        output, state = network(step, state)
        outputs.append(output)
        end()
    return torch.stack(outputs)


def stepped(network: nn.Module) -> Stepped:
    """A network of Norse's neurons."""
    ports: list[NorsePort] = []
    for name, module in network.named_modules():
        kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith(_MODULES)]
        if not kinds:
            continue
        model = kinds[0].__name__.removesuffix("Cell").removesuffix("Recurrent")
        if model in MODELS:
            if getattr(module.p, "method", "") == "adjoint":
                raise RefusedError(
                    f"'{name or 'neurons'}' has method='adjoint', whose gradients are its own: "
                    f"saltation follows methods of a surrogate, such as 'super'"
                )
            ports.append(NorsePort(name or "neurons", module))
        elif model not in _READOUTS and (
            hasattr(module, "state_fallback") or hasattr(module, "activation")
        ):
            raise RefusedError(
                f"'{name or 'neurons'}' is a {type(module).__name__}; of Norse's neurons saltation "
                f"knows {', '.join(MODELS)}"
            )
    if not ports:
        raise SaltationError(
            f"{type(network).__name__} holds modules of Norse, but no neurons that saltation knows "
            f"({', '.join(MODELS)})"
        )
    whole = type(network).__name__ == "SequentialState"
    cells = whole and not any(port.sequences for port in ports)
    return Stepped(network, ports, walk=_by_state if cells else None)
