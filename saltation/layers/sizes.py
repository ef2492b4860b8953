"""Sizes of weights by what they make of potentials and rates, from the equations of the neurons.

A linear neuron answers a pulse of current with a postsynaptic potential of ε[k] after k more steps;
of LIF, ε[k] = C A^k. Currents that are independent from step to step, of mean m and variance s²,
give potentials of mean m Σε and variance s² Σε², as long as none spikes.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saltation.errors import SaltationError, positive
from saltation.neurons import Neuron
from saltation.neurons.base import Spike

# Where a postsynaptic potential has fallen to nothing, and how long that may take.
_NOTHING, _LONGEST = 1e-9, 20_000
# Neurons that stand for a layer of infinitely many, layers until rates stay and how near they then
# are, and of the search for a variance the halvings and largest logarithm to the base 2.
_NEURONS, _LAYERS, _SAME = 2048, 60, 1e-5
_HALVINGS, _WIDEST = 12, 60.0
# Rates that are tried, and what is asked of them: that with weights of a variance less by a factor,
# as those of a narrow layer may be, the rate far behind is not less by more than another.
_RATES = (0.25, 0.3, 0.35, 0.4, 0.45)
_LESS, _BACK, _KEPT = 0.9, 200, 0.8


class Response(NamedTuple):
    """What a pulse of one unit of current makes of a potential.

    Attributes
    ----------
    total, square
        Σε and Σε² over all steps.
    """

    total: float
    square: float


@lru_cache(maxsize=64)
def response(neuron: Neuron) -> Response:
    """Sums of the postsynaptic potential of a linear neuron.

    Raises
    ------
    SaltationError
        If the model is not linear or its potential does not return to rest.
    """
    if not neuron.linear:
        raise SaltationError(
            f"{neuron.title} is not linear, so that its potential is no sum of responses: take "
            f"spike_aware, which needs no more than spikes"
        )
    zero = torch.zeros(1, dtype=torch.float64)
    rest = neuron.rest(zero)
    state, total, square, largest = rest, 0.0, 0.0, 0.0
    for step in range(_LONGEST):
        state = neuron.integrate(zero + 1 if step == 0 else zero, state, torch.zeros_like)
        value = float(state.v - rest.v)
        total, square, largest = total + value, square + value**2, max(largest, abs(value))
        gone = all(float((a - b).abs()) < _NOTHING for a, b in zip(state, rest, strict=True))
        if gone and largest:
            return Response(total, square)
    raise SaltationError(
        f"a pulse of current stays in the potential of {neuron.title} for more than {_LONGEST} "
        f"steps, so that it has no stationary variance: take a neuron that leaks"
    )


def potential_gain(neuron: Neuron) -> float:
    """Factor on currents with which potentials spread like the currents did without it.

    ``1 / sqrt(Σε²)`` for currents that are independent from step to step; of LIF ``sqrt(1 - A²) /
    C``, which with ``decay_input`` is ``sqrt((1 + A) / (1 - A))``.
    """
    return 1 / math.sqrt(response(neuron).square)


class Weights(NamedTuple):
    """Mean and standard deviation of weights."""

    mean: float
    deviation: float


def fluctuation_driven(
    neuron: Neuron, fan_in: int, rate: float, *, mean: float = 0.0, xi: float = 1.0
) -> Weights:
    """Weights with which potentials fluctuate about a mean, ξ deviations below threshold.

    For ``fan_in`` inputs that spike independently with probability ν per step, potentials without a
    jump have the mean μ_U and over time the standard deviation σ_U = (v_threshold - μ_U) / ξ::

        μ_w = (μ_U - v_rest) / (n ν Σε)      σ_w² + μ_w² = σ_U² / (n ν (1 - ν) Σε²)

    which for rare spikes, ν → 0, are the equations of Rossbroich, Gygax & Zenke,
    "Fluctuation-driven initialization for spiking neural network training", Neuromorphic Computing
    and Engineering, 2022.

    Parameters
    ----------
    neuron
        A linear model.
    fan_in
        Number of inputs n.
    rate
        ν, in (0, 1).
    mean
        μ_U.
    xi
        ξ.

    Raises
    ------
    SaltationError
        If a number is out of range, μ_U is not below threshold, or inputs are so few that with
        this mean no variance is left to the weights.
    """
    positive("xi", xi)
    if not 0 < rate < 1:
        raise SaltationError(f"rate must be in (0, 1) spikes per step, got {rate!r}")
    if not mean < neuron.v_threshold:
        raise SaltationError(
            f"mean must be below v_threshold = {neuron.v_threshold:g}, got {mean!r}"
        )
    psp = response(neuron)
    deviation = (neuron.v_threshold - mean) / xi
    of_weights = (mean - getattr(neuron, "v_rest", 0.0)) / (fan_in * rate * psp.total)
    square = deviation**2 / (fan_in * rate * (1 - rate) * psp.square)
    if square <= of_weights**2:
        raise SaltationError(
            f"{fan_in} inputs of rate {rate:.3g} cannot give potentials of mean {mean:g} and "
            f"deviation {deviation:.3g}: weights of the mean alone give more. Take a smaller mean "
            f"or xi"
        )
    return Weights(of_weights, math.sqrt(square - of_weights**2))


class Balance(NamedTuple):
    """Where a deep network of such neurons keeps its rate.

    Attributes
    ----------
    rate
        Spikes per neuron and step, P.
    variance
        Of currents, from step to step and neuron to neuron, with which neurons fire at this rate.
    """

    rate: float
    variance: float

    @property
    def of_weights(self) -> float:
        """Variance of weights times their fan-in: with inputs of the rate, currents have the
        variance."""
        return self.variance / self.rate


@lru_cache(maxsize=64)
def balance(neuron: Neuron, steps: int) -> Balance:
    """Variance of weights with which layer after layer fires at one rate.

    Spikes s are 0 or 1, so that weights of mean 0 make currents of variance ``n Var(w) P``, P being
    the probability of a spike, in place of the half of a variance that rectifiers let through:

        Var(w) = σ² / (n P),      P = P(u > v_threshold) of neurons with currents of variance σ².

    Source: Micheli, Booij, van Gemert & Tömen, "Deep activity propagation via weight initialization
    in spiking neural networks", 2024 (arXiv:2410.00580), where σ is the potential's, of one step.
    Neurons with memory fire less than currents of one step say, for they begin at rest and jump,
    and more than independent currents say, for what drives them comes again. So σ is found from the
    neurons themselves: with Gaussian currents over ``steps`` steps, as in an infinitely wide layer,
    correlated in time as the spikes of the layer before, until layer after layer fires at one rate.
    Of the rates 0.25, 0.3, ..., 0.45 it is the first that does not hang on the exact variance: at
    lower ones activity dies sooner or later in layers that are not infinitely wide.

    Parameters
    ----------
    neuron
        Any model.
    steps
        Steps of an input, from rest.

    Raises
    ------
    SaltationError
        If with no variance layer after layer fires at such a rate.
    """
    noise = torch.Generator().manual_seed(0)
    normal = torch.randn(steps, _NEURONS, generator=noise, dtype=torch.float64)
    kept = 0.0
    for rate in _RATES:
        of_weights, found, second = _variance_for(neuron, normal, rate)
        kept = max(kept, found)
        if abs(found - rate) > 0.1 * rate:
            continue
        less, _ = _deep(neuron, normal, _LESS * of_weights, second, _BACK)
        if less > _KEPT * found:
            return Balance(found, of_weights * found)
    raise SaltationError(
        f"{neuron.title} over {steps} steps keeps no rate from {_RATES[0]:g} to {_RATES[-1]:g} in "
        f"a deep network, at most {kept:.3g}: take more steps or another threshold or jump"
    )


def _variance_for(neuron: Neuron, normal: Tensor, rate: float) -> tuple[float, float, Tensor]:
    """Variance of weights times fan-in, the rate that a deep layer then has, nearest to the one
    wanted, and its second moment."""
    steps = len(normal)
    always = torch.ones(steps, steps, dtype=torch.float64)

    def fires(log: float) -> bool:
        return _deep(neuron, normal, 2.0**log, always, _LAYERS)[0] >= rate

    low = high = 0.0
    direction = -4.0 if fires(0.0) else 4.0
    while fires(high if direction > 0 else low) == (direction < 0):
        low, high = (high, high + direction) if direction > 0 else (low + direction, low)
        if max(-low, high) > _WIDEST:
            break
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if fires(middle) else (middle, high)
    found, second = _deep(neuron, normal, 2.0**high, always, _LAYERS)
    return 2.0**high, found, second


def _deep(
    neuron: Neuron, normal: Tensor, of_weights: float, second: Tensor, layers: int
) -> tuple[float, Tensor]:
    """Rate and second moment ``E[s s']`` some layers behind one with this second moment."""
    rate = 1.0
    for _ in range(layers):
        spikes = _spikes(neuron, _root(of_weights * second) @ normal)
        before, rate = rate, float(spikes.mean())
        second = spikes @ spikes.T / spikes.shape[1]
        if rate == 0 or abs(rate - before) < _SAME:
            break
    return rate, second


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _spikes(neuron: Neuron, currents: Tensor) -> Tensor:
    """Spikes ``[T, N]`` for currents of that shape, from rest."""
    state: Any = neuron.rest(currents[0])
    spike: Spike = _step
    out = []
    for x in currents:
        s, state, _ = neuron.step(x, state, spike)
        out.append(s)
    return torch.stack(out)


def _step(u: Tensor) -> Tensor:
    return (u >= 0).to(u.dtype)
