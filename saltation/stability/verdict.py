"""From numbers to words: what is wrong with a network, and what to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from saltation.stability.gradients import GradientHealth
from saltation.stability.result import Lyapunov

# Below this rate a layer passes nothing on; above that one its spikes say nothing.
_SILENT, _SATURATED = 1e-3, 0.95
_DEAD = 0.5  # share of neurons
_REACHED = 0.05  # share of potentials
_PER_LAYER = 10.0  # factor of the gradient from one layer to the next
_PER_STEP = 0.1  # exponent
_FAR = 10.0  # potentials' spread, in surrogate half-widths, from which the feedback overwhelms


class Layer(NamedTuple):
    """One layer of neurons, over all steps and samples of a batch.

    Attributes
    ----------
    name
        In the network.
    rate
        Spikes per neuron and step.
    silent, dead
        Share of (sample, neuron) without a spike; of neurons without one in any sample.
    distance
        Mean |potential - threshold|, in half-widths of the surrogate's derivative.
    reached
        Share of potentials within three half-widths of threshold.
    gradient
        Norm of the gradient of the loss with respect to the layer's input.
    growth
        Factor from the layer before, of a perturbation of the first layer.
    width
        Half-width of the surrogate's derivative, in units of the potential.
    above, spread
        Mean and standard deviation of potential - threshold.
    driven
        Whether its input is anywhere not zero.
    """

    name: str
    rate: float
    silent: float
    dead: float
    distance: float
    reached: float
    gradient: float
    growth: float
    width: float
    above: float
    spread: float
    driven: bool


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes
    ----------
    kind
        ``not finite``, ``silent``, ``dead``, ``saturated``, ``steep surrogate``, ``chaotic``,
        ``vanishing gradient``, ``exploding gradient``.
    layer
        Where it begins; empty for the network as a whole.
    what, advice
        In words.
    """

    kind: str
    layer: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}. Try: {self.advice}."


def verdict(
    layers: Sequence[Layer],
    weights: Sequence[GradientHealth],
    loss: float,
    chance: float,
    tangent: Lyapunov | None,
    finite: Lyapunov | None,
) -> list[Finding]:
    """What is wrong, the gravest first."""
    broken = _not_finite(layers, weights, loss)
    if broken and not all(math.isfinite(layer.distance) for layer in layers):
        return broken
    found = [*broken, *(finding for look in _LOOKS for finding in look(layers))]
    if tangent is not None and finite is not None:
        found += _chaotic(layers, float(tangent.exponent), float(finite.exponent), tangent.horizon)
    if layers[-1].rate < _SILENT and not math.isnan(chance) and abs(loss - chance) < 0.02 * chance:
        found = [
            f._replace(what=f"{f.what}; the loss stays at ln(classes) = {chance:.3f}")
            if f.kind == "silent"
            else f
            for f in found
        ]
    return found


def _not_finite(
    layers: Sequence[Layer], weights: Sequence[GradientHealth], loss: float
) -> list[Finding]:
    for layer in layers:
        if not math.isfinite(layer.distance):
            what = f"potentials of '{layer.name}' are not finite"
            advice = "a smaller dt or a scheme without a stability limit, smaller weights"
            return [Finding("not finite", layer.name, what, advice)]
    bad = next((w.name for w in weights if not math.isfinite(w.norm)), "")
    if bad or not math.isfinite(loss):
        what = f"the gradient of '{bad}' is not finite" if bad else "the loss is not finite"
        if bad and math.isfinite(loss):
            what += " although all potentials are: the surrogate's derivative overflows"
        return [
            Finding("not finite", bad, what, "a smaller dt, clipped gradients, smaller weights")
        ]
    return []


def _silent(layers: Sequence[Layer]) -> list[Finding]:
    """The first layer that passes nothing on; what is behind it has no choice."""
    for number, layer in enumerate(layers):
        if layer.rate >= _SILENT:
            continue
        what = f"activity dies at '{layer.name}' (layer {number + 1} of {len(layers)}): "
        what += f"{layer.rate:.2g} spikes per neuron and step"
        if not layer.driven:
            what += ", its input is zero everywhere"
            advice = "check the weights before it: they are zero, or what feeds it is"
        else:
            what += (
                f", potentials are on average {-layer.above / layer.width:.1f} surrogate widths "
                f"below threshold, {layer.reached:.0%} of them within its reach"
            )
            advice = (
                "larger weights or a lower threshold there, batch normalisation before the "
                "neurons, a wider surrogate"
            )
        return [Finding("silent", layer.name, what, advice)]
    return []


def _dead(layers: Sequence[Layer]) -> list[Finding]:
    return [
        Finding(
            "dead",
            layer.name,
            f"{layer.dead:.0%} of the neurons of '{layer.name}' never spike",
            "larger weights or a lower threshold there, batch normalisation before the neurons",
        )
        for layer in layers
        if layer.rate >= _SILENT and layer.dead > _DEAD
    ]


def _saturated(layers: Sequence[Layer]) -> list[Finding]:
    return [
        Finding(
            "saturated",
            layer.name,
            f"'{layer.name}' spikes in {layer.rate:.0%} of all steps and so passes nothing on",
            "smaller weights or a higher threshold there, batch normalisation before the neurons",
        )
        for layer in layers
        if layer.rate > _SATURATED
    ]


def _steep(layers: Sequence[Layer]) -> list[Finding]:
    """Layers that are active, but where hardly a potential is within the surrogate's reach."""
    steep = [layer for layer in layers if layer.rate >= _SILENT and layer.reached < _REACHED]
    if not steep:
        return []
    worst = min(steep, key=lambda layer: layer.reached)
    names = ", ".join(f"'{layer.name}'" for layer in steep)
    return [
        Finding(
            "steep surrogate",
            worst.name,
            f"the surrogate is too steep in {names}: {worst.reached:.1%} of the potentials of "
            f"'{worst.name}' are within its reach (half-width {worst.width:.2g}, potentials "
            f"spread by {worst.spread:.2g})",
            "a smaller slope (alpha), so that the width is near the spread, or smaller weights",
        )
    ]


def _over_depth(layers: Sequence[Layer]) -> list[Finding]:
    """Where the gradient changes most between two layers, if it changes too much."""
    active = [(a, b) for a, b in pairwise(layers) if a.gradient >= 0 and b.gradient > 0]
    factors = [(a, b, a.gradient / b.gradient) for a, b in active]
    found = []
    for kind, word, advice, sign in (
        ("vanishing gradient", "shrinks", "a wider surrogate, larger weights", -1),
        ("exploding gradient", "grows", "smaller weights, a smaller slope of the surrogate", 1),
    ):
        beyond = [
            (a, b, f) for a, b, f in factors if (f > 0 and f**sign > _PER_LAYER) or (f == 0 > sign)
        ]
        if beyond:
            a, b, factor = max(beyond, key=lambda one: abs(math.log(one[2] or 1e-300)))
            times = f"{factor**sign:.0f}-fold" if factor else "to zero"
            what = (
                f"going back from '{b.name}' to '{a.name}' the gradient {word} {times}: potentials "
                f"of '{b.name}' are {b.distance:.1f} surrogate widths from threshold, and a "
                f"perturbation changes by a factor {b.growth:.2g} there"
            )
            more = "normalisation, residual connections, a Lyapunov penalty"
            found.append(Finding(kind, a.name, what, f"{advice}, {more}"))
    return found


def _chaotic(layers: Sequence[Layer], tangent: float, finite: float, horizon: int) -> list[Finding]:
    largest = max(tangent, finite)
    if horizon < 2 or not largest > _PER_STEP:
        return []
    widest = max(layers, key=lambda layer: layer.spread / layer.width)
    far = widest.spread / widest.width
    more = (
        f"; potentials of '{widest.name}' spread over {far:.0f} surrogate widths"
        if far > _FAR
        else ""
    )
    what = "perturbations explode in time"
    if finite <= 0:
        what = "gradients explode in time, though spike trains come together"
    elif tangent <= 0:
        what = "spike trains part in time, though gradients decay"
    return [
        Finding(
            "chaotic",
            widest.name,
            f"{what}: λ = {tangent:+.2f} per step with the surrogate's "
            f"derivative and {finite:+.2f} between two trajectories, a factor of "
            f"{math.exp(min(largest * horizon, 700)):.2g} over {horizon} steps{more}",
            "smaller recurrent weights, a LyapunovPenalty, shorter windows, clipped gradients",
        )
    ]


_LOOKS: tuple[Callable[[Sequence[Layer]], list[Finding]], ...] = (
    _silent,
    _dead,
    _saturated,
    _steep,
    _over_depth,
)
