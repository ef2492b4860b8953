"""Weights of the size that neurons need: three rules for how large that is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saltation.errors import SaltationError, positive
from saltation.interop.parameters import equations
from saltation.layers.sizes import balance, potential_gain, response
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.currents import Drive, bring_currents, drives_of
from saltation.stability.remedies.measure import Measured, measure
from saltation.stepping import Stepped

_FINDINGS = ("silent", "dead", "saturated", "vanishing gradient", "exploding gradient")


def _factors(drives: dict[str, Drive], layers: Sequence[Measured]) -> dict[str, str]:
    return {
        layer.name: f"weights times {drives[layer.name].factor:.3g}"
        for layer in layers
        if layer.name in drives and drives[layer.name].factor != 1
    }


class _Currents(Remedy):
    """Base of those that bring currents to a mean square."""

    @abstractmethod
    def _target(self, layer: Measured) -> float:
        """Mean square of the currents of a layer."""

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        try:
            before, after, drives = bring_currents(whole, x, self._target)
        except SaltationError as error:
            raise self.refused(str(error)) from error
        changed = _factors(drives, after)
        if not changed:
            raise self.refused("currents have this size as they are")
        return Treatment(
            self.name,
            changed,
            "spikes per neuron and step",
            {layer.name: layer.rate for layer in before},
            {layer.name: layer.rate for layer in after},
        )


@dataclass(frozen=True)
class SpikeAwareVariance(_Currents):
    """Var(w) = σ² / (n P): currents with which layer after layer fires at one rate.

    P, the inputs' probability of a spike, is measured, and σ² is that of `layers.sizes.balance`.
    Source: Micheli et al., 2024 (arXiv:2410.00580).
    """

    name: ClassVar[str] = "spike_aware_variance"
    answers: ClassVar[tuple[str, ...]] = _FINDINGS
    what: ClassVar[str] = "scales weights until every layer fires at the rate that depth keeps"
    cost: ClassVar[str] = "some passes; nothing later"

    def _target(self, layer: Measured) -> float:
        return balance(equations(layer.port), layer.steps).variance


@dataclass(frozen=True)
class FluctuationDriven(_Currents):
    """Potentials that fluctuate, threshold being ξ of their standard deviations above rest.

    ``Var(w) = (v_threshold / ξ)² / (n ν Σε²)`` for inputs that spike with the measured ν, as the
    fluctuation-driven initialisation of Rossbroich, Gygax & Zenke (2022) with mean 0.

    Parameters
    ----------
    xi : float, default 1
        ξ.
    """

    xi: float = 1.0

    name: ClassVar[str] = "fluctuation_driven"
    answers: ClassVar[tuple[str, ...]] = _FINDINGS
    what: ClassVar[str] = "scales weights until potentials fluctuate with threshold / ξ"
    cost: ClassVar[str] = "some passes; nothing later"

    def __post_init__(self) -> None:
        positive("xi", self.xi)

    def _target(self, layer: Measured) -> float:
        neuron = equations(layer.port)
        return (neuron.v_threshold / self.xi) ** 2 / response(neuron).square


@dataclass(frozen=True)
class PotentialGain(Remedy):
    """Weights times sqrt((1 + A) / (1 - A)): potentials spread as currents did.

    With ``decay_input`` a step lets through 1 - A of a current, and white currents of deviation 1
    make potentials of deviation sqrt((1 - A) / (1 + A)); in general, see `layers.sizes`.
    """

    name: ClassVar[str] = "potential_gain"
    answers: ClassVar[tuple[str, ...]] = ("silent", "dead", "vanishing gradient")
    what: ClassVar[str] = "scales weights so that potentials spread as currents did"
    cost: ClassVar[str] = "two passes; nothing later"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        before = measure(whole, x)
        drives = drives_of(whole, x)
        layers = [layer for layer in before if layer.name in drives]
        try:
            gains = {layer.name: potential_gain(equations(layer.port)) for layer in layers}
        except SaltationError as error:
            raise self.refused(str(error)) from error
        if not any(abs(gain - 1) > 1e-3 for gain in gains.values()):
            raise self.refused("no layer of neurons with a weight of its own has a gain but 1")
        for name, gain in gains.items():
            drives[name].scale(gain)
        after = measure(whole, x)
        return Treatment(
            self.name,
            _factors(drives, layers),
            "standard deviation of the potential",
            {layer.name: layer.spread for layer in before},
            {layer.name: layer.spread for layer in after},
        )
