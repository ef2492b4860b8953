"""What remedies measure: a pass of the network, layer by layer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.observe import Seen, observe
from saltation.stepping import Port, Stepped


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


def measure(whole: Stepped, x: Tensor) -> list[Measured]:
    """Every layer of neurons with a spike function, in the order of their first calls.

    Raises
    ------
    SaltationError
        If none was called, or potentials are not finite.
    """
    order: list[str] = []
    with ExitStack() as stack, torch.no_grad():
        for port in whole.ports:
            note = port.module.register_forward_pre_hook(
                lambda _, __, name=port.name: order.append(name)
            )
            stack.callback(note.remove)
        _, seen, _ = observe(whole, x)
    if not seen:
        raise SaltationError("no layer of neurons with a spike function was called")
    for one in seen:
        if not one.finite:
            raise SaltationError(
                f"potentials of '{one.port.name}' are not finite: nothing can be set"
            )
    return [_measured(one) for one in sorted(seen, key=lambda one: order.index(one.port.name))]


def _measured(seen: Seen) -> Measured:
    u = torch.cat([one.flatten() for one in seen.potentials]).double()
    spikes = sum(float((s > 0).sum()) for s in seen.spikes)
    square = sum(float(c.double().square().sum()) for c in seen.inputs)
    return Measured(
        port=seen.port,
        rate=spikes / sum(s.numel() for s in seen.spikes),
        above=float(u.mean()),
        spread=float(u.std()),
        width=seen.spike.width(),
        square=square / sum(c.numel() for c in seen.inputs),
        steps=sum(len(s) if seen.port.sequences else 1 for s in seen.spikes),
    )
