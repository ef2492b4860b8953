"""What remedies measure: a pass of the network, layer by layer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stepping import Port, SeenSpike, Session, Stepped


class Measured(NamedTuple):
    """One layer of neurons over all steps and samples of a batch.

    Attributes
    ----------
    port
        The layer.
    rate
        Spikes per neuron and step.
    above, spread
        Mean and standard deviation of potential - threshold.
    width
        Half-width of the surrogate's derivative.
    square
        Mean square of the input currents.
    steps
        Number of them.
    """

    port: Port
    rate: float
    above: float
    spread: float
    width: float
    square: float
    steps: int

    @property
    def name(self) -> str:
        """Of the layer in its network."""
        return self.port.name


class _Seen:
    def __init__(self, port: Port, spike: SeenSpike) -> None:
        self.port, self.spike = port, spike
        self.currents: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.potentials: list[Tensor] = []

    def clear(self) -> None:
        """Forget what was seen."""
        for kept in (self.currents, self.spikes, self.potentials):
            kept.clear()

    def before(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.currents.append(arguments[0])

    def after(self, _: nn.Module, __: Any, output: Any) -> None:
        self.spikes.append(output[0] if isinstance(output, tuple) else output)

    def measured(self) -> Measured:
        u = torch.cat([one.flatten() for one in self.potentials]).double()
        steps = sum(len(s) if self.port.sequences else 1 for s in self.spikes)
        sites = sum(s.numel() for s in self.spikes)
        spikes = sum(float((s > 0).sum()) for s in self.spikes)
        square = sum(float(c.double().square().sum()) for c in self.currents)
        return Measured(
            port=self.port,
            rate=spikes / sites,
            above=float(u.mean()),
            spread=float(u.std()),
            width=self.spike.width(),
            square=square / sum(c.numel() for c in self.currents),
            steps=steps,
        )


def measure(whole: Stepped, x: Tensor) -> list[Measured]:
    """Every layer of neurons with a spike function, in the order of their calls.

    Raises
    ------
    SaltationError
        If none was called, or potentials are not finite.
    """
    seen = [_Seen(port, port.spike) for port in whole.ports if port.spike is not None]
    order: list[_Seen] = []
    with ExitStack() as stack, torch.no_grad():
        for one in seen:
            one.spike.seen = one.potentials
            stack.callback(setattr, one.spike, "seen", None)
            first = one.port.module.register_forward_pre_hook(
                lambda _, __, one=one: None if one in order else order.append(one)
            )
            stack.callback(first.remove)
            stack.callback(one.port.module.register_forward_pre_hook(one.before).remove)
            stack.callback(one.port.module.register_forward_hook(one.after).remove)

        def again() -> None:
            for one in seen:
                one.clear()

        Session(whole).native(x, again)
    if not order:
        raise SaltationError("no layer of neurons with a spike function was called")
    found = [one.measured() for one in order]
    for layer in found:
        if not torch.isfinite(torch.tensor(layer.above)):
            raise SaltationError(f"potentials of '{layer.name}' are not finite: nothing can be set")
    return found
