"""One pass of a network as its user would run it, and what its neurons did in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop.dynamics import threshold_of
from saltation.stability.layer import Layer
from saltation.stepping import (
    Port,
    SeenSpike,
    Session,
    Slices,
    Stepped,
    Unchanged,
    by_steps,
    in_its_loop,
)
from saltation.stepping.session import joined

# A surrogate reaches the neurons whose potential is so many half-widths of its derivative from
# threshold, or less; there a sigmoid's has fallen to a fiftieth of its peak.
REACH = 3.0
_LOST = 1e-4  # share of the largest gradient of a neuron in the layer
_BELOW = 5.0  # thresholds


class Seen:
    """What one neuron module was given and gave, call by call."""

    def __init__(self, port: Port, spike: SeenSpike) -> None:
        self.port = port
        self.spike = spike
        self.inputs: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.potentials: list[Tensor] = []

    @property
    def finite(self) -> bool:
        """Whether all its potentials are."""
        return all(bool(torch.isfinite(u).all()) for u in self.potentials)

    def layer(self, gradients: Sequence[Tensor], growth: float) -> Layer:
        """What it comes to; the gradients are those of its inputs, as far as there are any."""
        in_time = [s if self.port.sequences else s[None] for s in self.spikes]
        spikes = torch.cat(in_time).detach().flatten(2)
        u = torch.cat([one.flatten() for one in self.potentials]).double()
        width = self.spike.width()
        within = u.abs() <= REACH * width
        dead = (spikes == 0).all(0).all(0)
        if gradients:
            parts = [g.reshape(-1, len(dead)) for g in gradients]
            by_neuron = torch.cat(parts).double().norm(dim=0)
            gradient, most = float(by_neuron.norm()), by_neuron.max()
            reached = (by_neuron > _LOST * most) | (most == 0)
        else:
            gradient, reached = math.nan, within.reshape(-1, len(dead)).any(0)
        given = torch.cat([x if self.port.sequences else x[None] for x in self.inputs]).detach()
        # Some thresholds below it whatever comes, as with a bias that was meant for another unit.
        threshold = threshold_of(self.port)
        below = u.reshape(-1, len(dead)).amax(0) < -_BELOW * threshold
        return Layer(
            name=self.port.name,
            rate=float((spikes > 0).double().mean()),
            silent=float((spikes == 0).all(0).double().mean()),
            dead=float(dead.double().mean()),
            distance=float(u.abs().mean()) / width,
            reached=float(within.double().mean()),
            gradient=gradient,
            growth=growth,
            width=width,
            above=float(u.mean()),
            spread=float(u.std()),
            driven=any(bool((one != 0).any()) for one in self.inputs),
            lost=float((dead & (below | ~reached)).double().mean()),
            threshold=threshold,
            over_time=tuple((spikes > 0).double().flatten(1).mean(1).tolist()),
            starved=tuple((given == 0).flatten(1).all(1).tolist()),
        )


def observe(whole: Stepped, x: Tensor) -> tuple[Any, list[Seen], set[str]]:
    """A pass under watch.

    Returns
    -------
    The network's output as `output_of` has it; what every neuron module with a spike function did;
    and the names of the modules that were called.
    """
    seen = [Seen(port, port.spike) for port in whole.ports if port.spike is not None]
    called: set[str] = set()
    with ExitStack() as stack:
        for name, module in whole.network.named_modules():
            note = module.register_forward_pre_hook(lambda _, __, name=name: called.add(name))
            stack.callback(note.remove)
        for one in seen:
            one.spike.seen = one.potentials
            stack.callback(setattr, one.spike, "seen", None)
            for handle in _listen(one):
                stack.callback(handle.remove)

        def forget() -> None:
            for one in seen:
                for kept in (one.inputs, one.spikes, one.potentials):
                    kept.clear()

        output = output_of(whole, x, forget)
    return output, [one for one in seen if one.inputs], called


def _listen(one: Seen) -> list[Any]:
    asked = 0

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        nonlocal asked
        asked = len(one.potentials)
        one.inputs.append(arguments[0])

    def after(_: nn.Module, __: Any, output: Any) -> None:
        if not one.port.sequences:
            # snnTorch's neurons ask for the spike of the step before as well, for the reset.
            del one.potentials[asked:-1]
        one.spikes.append(output[0] if isinstance(output, tuple) else output)

    module = one.port.module
    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


def output_of(whole: Stepped, x: Tensor, again: Callable[[], None] = lambda: None) -> Any:
    """What the user's own loop would have at its end: see `Session.native`.

    Where a walk of the user's returns nothing and calls one module within the network once a step,
    the output is that of this module, stacked over time.

    Parameters
    ----------
    whole, x
        The network and its input.
    again
        Called before a second pass, if there is one.

    Raises
    ------
    SaltationError
        If a walk of the user's returns nothing and calls several modules in turn, and the network
        called with x does not call its neurons as often.
    """
    own = whole.walk is None or isinstance(whole.walk, Slices)
    if own or whole.walk in (by_steps, in_its_loop):
        return Session(whole).native(x)
    given: Any = whole.walk
    counts: Counter[str] = Counter()

    def walk(network: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
        ends = 0

        def ended() -> None:
            nonlocal ends
            ends += 1
            end()

        with _outermost(network) as calls:
            returned = given(network, x, ended)
        if returned is None and len(calls) == ends and len({name for name, _ in calls}) == 1:
            return joined([output for _, output in calls], torch.stack)
        return returned

    with ExitStack() as stack:
        for port in whole.ports:
            note = port.module.register_forward_pre_hook(
                lambda *_, name=port.name: counts.update([name])
            )
            stack.callback(note.remove)
        # Under a control, for layers without a hidden state go on from where they were.
        output = Session(replace(whole, walk=walk), Unchanged()).run(x)
        if output is not None:
            return output
        of_walk = counts.total()
        counts.clear()
        again()
        output = Session(replace(whole, walk=None)).native(x)
    if of_walk != counts.total():
        raise SaltationError(
            "the walk must call the network once a step or return its output, for the loss to have "
            f"one: it calls neurons {of_walk} times, and the network called with the whole input "
            f"{counts.total()} times"
        )
    return output


@contextmanager
def _outermost(network: nn.Module) -> Iterator[list[tuple[str, Any]]]:
    """The calls of modules that were made from outside, each with its output."""
    calls: list[tuple[str, Any]] = []
    depth = 0

    def before(*_: Any) -> None:
        nonlocal depth
        depth += 1

    def after(name: str, output: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            calls.append((name, output))

    with ExitStack() as stack:
        for name, module in network.named_modules():
            shown = f"'{name}'" if name else "the network"
            stack.callback(module.register_forward_pre_hook(before).remove)
            hook = module.register_forward_hook(
                lambda _, __, output, shown=shown: after(shown, output)
            )
            stack.callback(hook.remove)
        yield calls
