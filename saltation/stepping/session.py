"""Networks run with the states of all their neurons in hand, step by step.

A network stays the module it is. While a `Session` lasts, the neuron modules in it begin every step
from states that are given to them, and the states they end it with are taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.errors import SaltationError
from saltation.layers.inputs import noted
from saltation.layers.normalisation import SpikingBatchNorm
from saltation.layers.statistics import as_written
from saltation.stepping.ports import Port, RefusedError, State

Walk = Callable[[nn.Module, Tensor, Callable[[], None]], Any]


@dataclass(frozen=True)
class Stepped:
    """A network, its ports, and how it goes through the steps of an input.

    What is None is found out for each input by `settled`.

    Attributes
    ----------
    network
        The module.
    ports
        One for every neuron module.
    batch_dim
        Dimension of the samples in the input.
    walk
        ``(network, x, end) -> output``: takes the network through all steps of ``x`` and calls
        ``end`` after each.
    in_loop
        Whether the network has the loop over the steps within it. A step then ends where a neuron
        module is called again.
    at_once
        Whether ``network(x)`` takes all steps in one call of every neuron module.
    whole
        Whether it must: it cannot be taken through its input step by step, because ``why``.
    copies
        Whether it treats copies of a sample alike, so draws no random numbers for each.
    closed
        Whether the states of its neurons are all that it hands on from step to step.
    """

    network: nn.Module
    ports: Sequence[Port]
    batch_dim: int | None = None
    walk: Walk | None = None
    in_loop: bool = False
    at_once: bool = False
    whole: bool = False
    why: str = ""
    copies: bool = True
    closed: bool = True
    settled: bool = field(default=False, repr=False)

    @property
    def per_sequence(self) -> bool:
        """Whether neurons are called with sequences."""
        return any(port.sequences for port in self.outermost)

    @property
    def outermost(self) -> list[Port]:
        """The ports that are not within the module of another."""
        within = {m for port in self.ports for m in port.module.modules() if m is not port.module}
        return [port for port in self.ports if port.module not in within]

    def samples(self, x: Tensor) -> int:
        """Number of samples in an input."""
        return x.shape[self.batch_dim]  # type: ignore[index]


def in_its_loop(network: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
    """Call the network once, for it has the loop over the steps within it."""
    return network(x)


def by_steps(network: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
    """Call the network on ``x[t]``, step by step; outputs are stacked over time."""
    outputs = []
    for step in x.unbind(0):
        outputs.append(network(step))
        end()
    return joined(outputs, torch.stack)


class Slices:
    """Call the network on sequences of one step, one after the other.

    Parameters
    ----------
    time_dim
        Dimension of the steps in the input.
    """

    def __init__(self, time_dim: int) -> None:
        self.time_dim = time_dim

    def __call__(self, network: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
        for step in torch.split(x, 1, self.time_dim):
            network(step)
            end()


def joined(outputs: list[Any], join: Callable[[list[Tensor]], Tensor]) -> Any:
    """The outputs of all steps as one: tensors joined, tuples and dicts part by part."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return join(outputs)
    if isinstance(first, dict):
        return {name: joined([one[name] for one in outputs], join) for name in first}
    if isinstance(first, tuple | list):
        parts = [joined(list(part), join) for part in zip(*outputs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return outputs


class Control(Protocol):
    """What decides from which states the steps begin."""

    def start(self, name: str, rest: State) -> State:
        """The state of a neuron module before its first step, from that at rest."""

    def advance(self, states: list[State]) -> list[State]:
        """The states a step begins with, from those that the one before ended with."""


class Call(NamedTuple):
    """A call of a neuron module.

    Attributes
    ----------
    name
        Of the module.
    steps, samples
        In its input.
    currents, spikes
        What it was given and what it emitted.
    handed, returned
        The states that it was handed and that it returned, if any.
    """

    name: str
    steps: int
    samples: int
    currents: Tensor
    spikes: Tensor
    handed: State | None
    returned: State | None


class Session:
    """One pass of a network over an input, under the control of another.

    A layer of saltation that is called more than once in a step has a state for every call. Modules
    that keep their state are expected once in a step, and so are all in a network with the loop
    within it. Without a control the neurons begin at rest and are then left alone.

    Parameters
    ----------
    network, control
        Who is stepped by whom.
    log : list of Call, optional
        Where calls are noted; of modules within another the other alone.

    Attributes
    ----------
    names : list of str
        The neuron modules in the order of their calls, complete after the first step.
    states : list of State
        What the control gave back last.
    steps : int
        Steps that neurons have seen.
    """

    def __init__(
        self, network: Stepped, control: Control | None = None, log: list[Call] | None = None
    ) -> None:
        self.names: list[str] = []
        self.states: list[State] = []
        self.steps = 0
        self._stepped = network
        self._control = control
        self._log = log
        self._expected: tuple[int | None, int | None] = None, None  # steps and samples of a call
        self._ended: dict[int, State] = {}
        self._begun: list[tuple[int, State | None]] = []  # places, and states handed over
        self._calls: dict[str, int] = {}
        self._history: list[State] | None = None
        modules = network.network.modules()
        self._norms = [m for m in modules if isinstance(m, SpikingBatchNorm)]

    def run(self, x: Tensor) -> Any:
        """Take the network through all steps of ``x``.

        Returns
        -------
        What the network's way through them returns; None if it returns nothing.

        Raises
        ------
        SaltationError
            If the neurons see other samples than the input has, or steps that differ.
        """
        walk = self._stepped.walk or in_its_loop
        self._expected = 1, self._stepped.samples(x)
        with self._open():
            output = walk(self._stepped.network, x, self._end)
            if self._ended:
                self._end()
        if self._control is not None and not self.names:
            raise SaltationError("no neurons were called on the way through the input")
        return output

    def run_at_once(self, x: Tensor, history: list[State] | None = None) -> Any:
        """All steps of ``x`` in one call, for a network that takes them so; for the control it
        counts as one step.

        Parameters
        ----------
        history : list of State, optional
            Where the states after every step are kept, ``[T, B, ...]``, call by call.

        Returns
        -------
        The network's output.

        Raises
        ------
        SaltationError
            If the neurons see other samples than the input has, or numbers of steps that differ.
        """
        self._expected = None, self._stepped.samples(x)
        self._history = history
        with self._open():
            output = self._stepped.network(x)
            steps = self._expected[0] or 0
            self._end()
        self.steps = steps
        return output

    def native(self, x: Tensor) -> Any:
        """The network's output as its user has it, from a pass without a control; of a network that
        takes all steps, from one call."""
        walk = self._stepped.walk
        if walk is None or isinstance(walk, Slices):
            walk = in_its_loop
        with self._open():
            return walk(self._stepped.network, x, lambda: None)

    @contextmanager
    def _open(self) -> Iterator[None]:
        network = self._stepped.network
        with ExitStack() as stack:
            stack.enter_context(undisturbed(network))
            stack.enter_context(noted())  # estimators and verdicts say themselves what they found
            self._begin_norms()
            stack.callback(self._begin_norms)
            for port in self._stepped.ports:
                stack.callback(port.open())
            outermost = {id(port) for port in self._stepped.outermost}
            for port in self._stepped.ports:
                before, after = self._hooks(port, id(port) in outermost)
                enter = port.module.register_forward_pre_hook(before, with_kwargs=True)
                # The first of all hooks, so that those of others see spikes.
                leave = port.module.register_forward_hook(after, prepend=True, with_kwargs=True)
                stack.callback(enter.remove)
                stack.callback(leave.remove)
            yield

    def _hooks(self, port: Port, outermost: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            arguments = port.bound(args, kwargs)
            handed = port.handed(arguments)
            if self._control is None:
                first = port.name not in self._calls
                self._calls[port.name] = 1
                if first and port.keeps and handed is None:
                    arguments = port.enter(arguments, port.rest(arguments))
                self._begun.append((0, handed))
                return arguments, {}
            if outermost:
                self._check(port, arguments)
            return self._controlled(port, arguments, handed), {}

        def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            # A module within another one ends before it.
            place, handed = self._begun.pop()
            if self._control is not None:
                self._ended[place], output = port.leave(output, handed is not None)
            if self._log is not None and outermost:
                extent, spikes = port.extent(args), port.emitted(output)
                returned = port.returned(output)
                self._log.append(Call(port.name, *extent, args[0], spikes, handed, returned))
            return output

        return before, after

    def _check(self, port: Port, arguments: tuple[Any, ...]) -> None:
        """Compare what a call of neurons sees with what the input has."""
        steps, samples = port.extent(arguments)
        expected, batch = self._expected
        dimension = self._stepped.batch_dim
        if samples != batch:
            raise SaltationError(
                f"neurons '{port.name}' see {samples} samples, but dimension {dimension} of the "
                f"input, taken for the samples, has {batch}: say which it is with "
                f"st.adapt(network, batch_dim=...)"
            )
        if expected is None:
            self._expected = steps, batch
        elif steps != expected:
            raise SaltationError(
                f"neurons '{port.name}' see {steps} steps at once where {expected} were expected: "
                f"the network changes the number of steps on the way"
            )

    def _controlled(
        self, port: Port, arguments: tuple[Any, ...], handed: State | None
    ) -> tuple[Any, ...]:
        control: Any = self._control
        if self._stepped.in_loop and self._calls.get(port.name):
            self._end()
        place = sum(self._calls.values())
        self._calls[port.name] = calls = self._calls.get(port.name, 0) + 1
        if calls > 1 and port.keeps:
            raise RefusedError(
                f"neurons '{port.name}' are called {calls} times in one step: one module cannot be "
                f"two layers, because it keeps one state; make a module for each"
            )
        self._begun.append((place, handed))
        name = port.name if calls == 1 else f"{port.name} (call {calls})"
        if self.steps == 0:
            self.names.append(name)
            begun = control.start(name, port.rest(arguments))
            if self._history is not None:
                self._history.append(port.states(arguments, begun))
            return port.enter(arguments, begun)
        if place >= len(self.names) or self.names[place] != name:
            raise SaltationError(
                f"step {self.steps + 1} calls neuron module '{name}' out of the order of the "
                f"first step ({', '.join(self.names)})"
            )
        return port.enter(arguments, self.states[place])

    def _begin_norms(self, step: int = 0) -> None:
        """Tell normalisations that have statistics of every step which one is next."""
        for norm in self._norms:
            norm.begins = step

    def _end(self) -> None:
        if self._control is None:
            return
        if len(self._ended) != len(self.names):
            raise SaltationError(
                f"step {self.steps + 1} called {len(self._ended)} neuron modules, the first "
                f"{len(self.names)}"
            )
        ended = [self._ended[place] for place in range(len(self.names))]
        if not ended:
            raise SaltationError("no neurons were called in the first step")
        self.states = self._control.advance(ended)
        self._ended, self._calls = {}, {}
        self.steps += 1
        if not self._stepped.in_loop:  # else the loop within the network knows its steps
            self._begin_norms(self.steps)


class Unchanged:
    """The control of a session in which nothing is perturbed."""

    def start(self, name: str, rest: State) -> State:
        return rest

    def advance(self, states: list[State]) -> list[State]:
        return states


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Within the block a pass leaves the network as it was, and is a pass of its own code.

    Dropout is off, for it would make two passes two different maps; modules whose name says that
    they drop something count as dropout. Normalisation does not count the batch in its averages.
    Compiled modules run as they were written, so that hooks within them are called. Random numbers
    drawn on a CPU do not advance torch's generator.
    """
    modules = list(network.modules())
    dropping = [m for m in modules if m.training and _drops(m)]
    counting = [
        m for m in modules if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    with as_written(modules), torch.random.fork_rng(devices=[]):
        try:
            for module in dropping:
                module.training = False
            for norm in counting:
                norm.track_running_stats = False
            yield
        finally:
            for module in dropping:
                module.training = True
            for norm in counting:
                norm.track_running_stats = True


def _drops(module: nn.Module) -> bool:
    return any("Drop" in kind.__name__ for kind in type(module).__mro__)
