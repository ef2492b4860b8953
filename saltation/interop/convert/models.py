"""Neurons of other libraries that are no model of saltation's, written as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saltation.layers.learned import Range
from saltation.neurons.base import Neuron
from saltation.surrogate import Surrogate


class SynapticNeuron(Neuron):
    """snnTorch's Synaptic with its reset one step late, a map of one step to the next.

    ``i' = alpha i + x``, ``v' = beta v + i'``; after a spike, in the next step, the threshold is
    subtracted from v' (``subtract``), v' is 0 (``zero``), or nothing happens (``none``).

    Parameters
    ----------
    alpha, beta : float
        What a step leaves of the current and of the potential.
    v_threshold : float
        Threshold; it is just above the one that is subtracted, because a potential at threshold is
        no spike in snnTorch.
    subtracted : float
        What is subtracted, 0 for ``zero`` and ``none``.
    kept : float
        What is kept of v' after a spike: 0 for ``zero``, else 1.
    """

    alpha: float = 0.9
    beta: float = 0.8
    subtracted: float = 1.0
    kept: float = 1.0

    ranges = {"alpha": "unit", "beta": "unit"}  # noqa: RUF012  # as its type in the base says

    def step(self, x: Any, v: Any, i: Any, r: Any) -> Any:  # type: ignore[override]
        i = self.alpha * i + x
        v = self.beta * v + i
        return v - r * ((1 - self.kept) * v + self.subtracted), i, 0.0 * r

    def jump(self, v: Any, i: Any, r: Any) -> Any:
        return v, i, 1.0


class ParametricLIFNeuron(Neuron):
    """SpikingJelly's ParametricLIFNode: ``dv/dt = k (x - (v - v_rest))``, k learned.

    Without ``decay_input`` ``dv/dt = x - k (v - v_rest)``. k = 1 / tau is the logistic function of
    what is learned (Fang et al., 2021).

    Parameters
    ----------
    k : float
        One over the time constant in steps.
    decay_input : bool
        Whether the input is multiplied by k.
    """

    k: float = 0.5
    decay_input: bool = True
    v_rest: float = 0.0

    learns = ("k",)
    ranges = {"k": "unit"}  # noqa: RUF012  # as above

    def velocity(self, x: Any, v: Any) -> Any:
        if self.decay_input:
            return (self.k * (x - (v - self.v_rest)),)
        return (x - self.k * (v - self.v_rest),)


class StraightThrough(Surrogate):
    """Derivative 1 everywhere (snnTorch's straight_through_estimator)."""

    def primitive(self, u: Tensor) -> Tensor:
        return 1.0 * u


class Clamped(Range):
    """A learned parameter that is held between 0 and 1, as snnTorch holds decays."""

    def value(self, raw: Tensor) -> Tensor:
        return raw.clamp(0, 1)


class JustAbove(Range):
    """A learned threshold that a potential must exceed: the next number above it."""

    def value(self, raw: Tensor) -> Tensor:
        return raw + (just_above(raw.detach()) - raw.detach())


def just_above(value: Tensor) -> Tensor:
    """The next number above, so that ``v >= just_above(t)`` is ``v > t``."""
    return torch.nextafter(value, torch.full_like(value, torch.inf))
