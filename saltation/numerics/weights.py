"""Scaling what drives neurons: weights on spikes by one factor, constant currents by another.

A network is followed from its input on. What flows is spikes, or currents that weights have made of
them; the first weights behind spikes get the factor of spikes, and all that is added on the way,
biases and what normalisation shifts by, that of constants.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from saltation.layers import Readout, Recurrent, SpikingLayer

_GIVEN, _SPIKES, _CURRENTS = "input currents", "spikes", "currents"


class Gains(NamedTuple):
    """Factors of what a spike adds to a neuron's input, and of what is there in every step."""

    spikes: Any
    constant: Any


def map_weights(network: nn.Module, gains: Gains, of_spikes: bool, ratio: float) -> list[str]:
    """Scale the weights of ``network`` in place, for steps of ``ratio`` times the old.

    Parameters
    ----------
    network, gains
        The network, and the factors of what drives its neurons.
    of_spikes
        Whether its input is spikes, and not currents.

    Returns
    -------
    What could not be mapped, a line each.
    """
    walk = _Walk(gains)
    walk.through(network, _SPIKES if of_spikes else _GIVEN, "")
    walk.scale(_of_readout(network, gains, ratio))
    return walk.lost


def _of_readout(network: nn.Module, gains: Gains, ratio: float) -> Gains:
    """Factors of weights behind the last neurons, whose outputs are read over time."""
    found = [m for m in network.modules() if isinstance(m, Readout) or hasattr(m, "over_time")]
    last: Any = found[-1] if found else None
    kind = getattr(last, "kind", None) or getattr(last, "over_time", None)
    # A mean over more steps has the same spikes in it; a sum of outputs has more of the biases.
    spikes = {"mean": 1 / ratio, "sum": 1.0}.get(str(kind), gains.spikes)
    return Gains(spikes, ratio if kind == "sum" and isinstance(last, Readout) else 1.0)


class _Walk:
    """Through a network, in the order in which it is run."""

    def __init__(self, gains: Gains) -> None:
        self.lost: list[str] = []
        self._gains = gains
        # What stands between the last neurons and the next, and what flows into each.
        self._between: list[tuple[nn.Module, str]] = []
        self._seen: set[nn.Module] = set()

    def through(self, module: nn.Module, flow: str, name: str) -> str:
        """What flows out of ``module``, of what flows in."""
        if isinstance(module, SpikingLayer | Recurrent):
            self._reach(module, flow, name)
            return _SPIKES
        if isinstance(module, nn.Linear | _ConvNd | _BatchNorm):
            self._between.append((module, flow))
            return _CURRENTS
        parts = dict(module.named_children())
        prefix = f"{name}." if name else ""
        if {"branch", "shortcut"} <= parts.keys():
            flows = [self.through(parts[k], flow, prefix + k) for k in ("branch", "shortcut")]
            return _SPIKES if set(flows) == {_SPIKES} else _CURRENTS
        if self._is_guessed(module, parts):
            self.lost.append(
                f"'{name}': the parts of {type(module).__name__} are taken to be run in the order "
                "in which they were defined"
            )
        for own, part in parts.items():
            flow = self.through(part, flow, prefix + own)
        return flow

    def _is_guessed(self, module: nn.Module, parts: dict[str, nn.Module]) -> bool:
        ours = type(module).__module__.startswith(("saltation.models.", "saltation.layers."))
        sure = ours or isinstance(module, nn.Sequential) or len(parts) < 2
        return not sure and self._gains != (1.0, 1.0)

    def _reach(self, module: SpikingLayer | Recurrent, flow: str, name: str) -> None:
        """Neurons: what is in front of them is scaled, and what feeds back."""
        own = {_SPIKES: self._gains.spikes, _GIVEN: self._gains.constant}.get(flow, 1.0)
        if own != 1:
            self.lost.append(
                f"'{name}' is given {flow} without weights: they would have to be {own:.4g} times "
                "as large"
            )
        self.scale(self._gains)
        if isinstance(module, Recurrent) and module not in self._seen:
            self._seen.add(module)
            _multiply(module.weight, self._gains.spikes)
            _multiply(module.bias, self._gains.constant)

    def scale(self, gains: Gains) -> None:
        """Scale what stands between neurons, each module once."""
        for module, flow in self._between:
            if module in self._seen:
                continue
            self._seen.add(module)
            gain = {_SPIKES: gains.spikes, _GIVEN: gains.constant}.get(flow, 1.0)
            _multiply(module.weight, gain)
            _multiply(module.bias, gains.constant)
            if isinstance(module, _BatchNorm):
                _multiply(module.running_mean, gains.constant / gain)
        self._between = []


def _multiply(parameter: Any, gain: float) -> None:
    if isinstance(parameter, Tensor) and gain != 1:
        with torch.no_grad():
            parameter.mul_(gain)
