"""Neurons that remember for as long as an input lasts, and that forget when they spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saltation.errors import positive
from saltation.interop.dynamics import is_hard, set_hard, set_steps, steps_of
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import measure
from saltation.stepping import Stepped

# A time constant of so many steps or fewer hands on less than a hundredth from step to step; from
# so many times the input on, nothing leaks.
FORGETS, KEEPS = 0.2, 100.0


@dataclass(frozen=True)
class TimeConstant(Remedy):
    """Time constants that are no matter of the input's steps become a share of them.

    Milliseconds in place of seconds make a neuron forget everything from one step to the next, or
    nothing at all. Where a thousandfold or a thousandth is within the input it is taken, else the
    share. Source: Neftci, Mostafa & Zenke, 2019 (time constants of the order of the task's).

    Parameters
    ----------
    share : float, default 1
        Of the number of steps.
    """

    share: float = 1.0

    name: ClassVar[str] = "time_constant"
    answers: ClassVar[tuple[str, ...]] = ("time constant",)
    what: ClassVar[str] = "gives neurons a time constant in the order of the input's steps"
    cost: ClassVar[str] = "two passes; nothing later"

    def __post_init__(self) -> None:
        positive("share", self.share)

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        layers = measure(whole, x)
        off = [layer for layer in layers if out_of_range(steps_of(layer.port), layer.steps)]
        if not off:
            raise self.refused("no layer's time constant is known to be far from the input's steps")
        before = {layer.name: steps_of(layer.port) for layer in off}
        changed = {
            layer.name: set_steps(layer.port, self._wanted(before[layer.name], layer.steps))
            for layer in off
        }
        after = {layer.name: steps_of(layer.port) for layer in off}
        return Treatment(self.name, changed, "time constant in steps", before, after)

    def _wanted(self, given: float, steps: int) -> float:
        for factor in (1e3, 1e-3):
            if 1 <= given * factor <= 2 * steps:
                return given * factor
        return max(self.share * steps, 1.0)


def out_of_range(constant: float, steps: int) -> bool:
    """Whether a time constant, in steps, has nothing to do with an input of ``steps``."""
    # Without a leak is a model of its own, not a mistake.
    forgets = constant < FORGETS and steps > 1
    return forgets or KEEPS * steps < constant < float("inf")


@dataclass(frozen=True)
class HardReset(Remedy):
    """Potentials go to rest after a spike.

    With a subtracted threshold what is above it stays, so that neurons that were driven hard go on
    spiking whatever comes; in deep networks less is left of the input.
    """

    name: ClassVar[str] = "hard_reset"
    answers: ClassVar[tuple[str, ...]] = ("vanishing gradient", "does not learn")
    what: ClassVar[str] = "lets potentials go to rest after a spike"
    cost: ClassVar[str] = "one pass; nothing later"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        before = measure(whole, x)
        soft = [layer for layer in before if is_hard(layer.port) is False]
        if not soft:
            raise self.refused("no layer is known to have another reset")
        changed = {layer.name: set_hard(layer.port) for layer in soft}
        after = {layer.name: layer.rate for layer in measure(whole, x)}
        rates = {layer.name: layer.rate for layer in before}
        return Treatment(self.name, changed, "spikes per neuron and step", rates, after)
