"""The looks of a diagnosis: each reads the numbers for one kind of fault."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from saltation.stability.layer import Finding, Layer, Weight, listed
from saltation.stability.result import Lyapunov

# Below this rate a layer passes nothing on; above that one its spikes say nothing.
SILENT, SATURATED = 1e-3, 0.95
_DEAD = 0.5  # share of neurons
_QUIET = 0.5  # share of steps
_REACHED = 0.05  # share of potentials
_PER_LAYER = 10.0  # factor of the gradient from one layer to the next
_OVER_DEPTH = 1e3  # and over all of them
_PER_STEP = 0.1  # exponent
_OVER_TIME = 5.0  # and factor of a perturbation over all steps: in a short window little can grow
_FAR = 10.0  # potentials' spread, in surrogate half-widths, from which the feedback overwhelms
# Changing a weight by all of its size would change the loss by less than its rounding.
_NOTHING = 1e-7


def not_finite(layers: Sequence[Layer], weights: Sequence[Weight], loss: float) -> list[Finding]:
    """Potentials, gradients or a loss that are not; weights and input are known to be."""
    for layer in layers:
        if not math.isfinite(layer.distance):
            what = f"potentials of '{layer.name}' are not finite"
            advice = "a smaller dt or a scheme without a stability limit, smaller weights"
            return [Finding("not finite", layer.name, what, advice)]
    bad = next((w.name for w in weights if not math.isfinite(w.gradient or 0)), "")
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
        if layer.rate >= SILENT:
            continue
        first: tuple[str, ...] = ()
        what = f"activity dies at '{layer.name}' (layer {number + 1} of {len(layers)}): "
        what += f"{layer.rate:.2g} spikes per neuron and step"
        if number == len(layers) - 1:
            what += ", so that what reads it is fed by nothing"
        if not layer.driven:
            what += ", its input is zero everywhere"
            first = ("fresh_weights",)
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
        return [Finding("silent", layer.name, what, advice, first=first)]
    return []


def _fades(layers: Sequence[Layer]) -> list[Finding]:
    """The first layer that stops to spike though its input goes on."""
    for layer in layers:
        steps = len(layer.over_time)
        last = next((t for t in reversed(range(steps)) if layer.over_time[t] >= SILENT), steps)
        rest = layer.starved[last + 1 :]
        if layer.rate < SILENT or any(rest) or not 0 < _QUIET * steps <= len(rest):
            continue
        what = f"activity of '{layer.name}' dies in time: {layer.over_time[last]:.2g} spikes per "
        what += f"neuron at step {last + 1} of {steps}, and none later, though its input goes on"
        advice = "look at the reset and the resting potential: in one unit with the threshold"
        return [Finding("silent in time", layer.name, what, advice)]
    return []


def _dead(layers: Sequence[Layer]) -> list[Finding]:
    """Neurons without spikes that no gradient can wake, either."""
    return [
        Finding(
            "dead",
            layer.name,
            f"{layer.dead:.0%} of the neurons of '{layer.name}' never spike, and {layer.lost:.0%} "
            "get no gradient either",
            "larger weights or a lower threshold there, batch normalisation before the neurons",
        )
        for layer in layers
        if layer.rate >= SILENT and layer.lost > _DEAD
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
        if layer.rate > SATURATED
    ]


def _steep(layers: Sequence[Layer]) -> list[Finding]:
    """Layers that are active, but where hardly a potential is within the surrogate's reach."""
    steep = steep_layers(layers)
    if not steep:
        return []
    worst = min(steep, key=lambda layer: layer.reached)
    return [
        Finding(
            "steep surrogate",
            steep[0].name,
            f"the surrogate is too steep in {listed([layer.name for layer in steep])}: "
            f"{worst.reached:.1%} of the potentials of "
            f"'{worst.name}' are within its reach (half-width {worst.width:.2g}, potentials "
            f"spread by {worst.spread:.2g})",
            "a smaller slope (alpha), so that the width is near the spread, or smaller weights",
        )
    ]


def steep_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Layers with spikes, hardly a potential of which is within the surrogate's reach."""
    return [layer for layer in layers if layer.rate >= SILENT and layer.reached < _REACHED]


def _over_depth(layers: Sequence[Layer]) -> list[Finding]:
    """Where the gradient changes too much from a layer to the next, or over all of them."""
    found = []
    for kind, word, advice, sign in (
        ("vanishing gradient", "shrinks", "a wider surrogate, larger weights", -1),
        ("exploding gradient", "grows", "smaller weights, a smaller slope of the surrogate", 1),
    ):
        advice += ", normalisation, residual connections, a Lyapunov penalty"
        jump = _largest_jump(layers, sign)
        whole = _largest_change(layers, sign)
        if jump is not None:
            a, b, factor = jump
            times = f"{factor:.3g}-fold" if math.isfinite(factor) else "to zero"
            what = (
                f"going back from '{b.name}' to '{a.name}' the gradient {word} {times}: potentials "
                f"of '{b.name}' are {b.distance:.1f} surrogate widths from threshold, and a "
                f"perturbation changes by a factor {b.growth:.2g} there"
            )
            if whole is not None and whole[2] > 2 * factor:
                what += f"; {_in_all(*whole, word)}"
            found.append(Finding(kind, a.name, what, advice))
        elif whole is not None:
            what = _in_all(*whole, word)
            found.append(Finding(kind, whole[0].name, what, advice))
    return found


def _largest_jump(layers: Sequence[Layer], sign: int) -> tuple[Layer, Layer, float] | None:
    """The neighbours between which the gradient grows (+1) or shrinks (-1) most, if too much."""
    pairs = [(a, b, _factor(a, b, sign)) for a, b in pairwise(layers)]
    beyond = [pair for pair in pairs if pair[2] > _PER_LAYER]
    return max(beyond, key=lambda one: one[2], default=None)


def _largest_change(layers: Sequence[Layer], sign: int) -> tuple[Layer, Layer, float, int] | None:
    """Two layers, the factor from the later to the earlier and the steps between, if too much."""
    pairs = [
        (a, b, _factor(a, b, sign), j - i)
        for i, a in enumerate(layers)
        for j, b in enumerate(layers[i + 1 :], i + 1)
    ]
    beyond = [pair for pair in pairs if _OVER_DEPTH < pair[2] < math.inf]
    return max(beyond, key=lambda one: one[2], default=None)


def _factor(a: Layer, b: Layer, sign: int) -> float:
    """By how much the gradient grows (+1) or shrinks (-1) on its way back from b to a."""
    if not (a.gradient >= 0 and b.gradient > 0):
        return 0.0
    if a.gradient == 0:
        return math.inf if sign < 0 else 0.0
    return math.exp(sign * (math.log(a.gradient) - math.log(b.gradient)))


def _in_all(a: Layer, b: Layer, factor: float, layers: int, word: str) -> str:
    return (
        f"going back from '{b.name}' to '{a.name}', over {layers} layers, the gradient {word} "
        f"{factor:.2g}-fold, {factor ** (1 / layers):.3g}-fold per layer"
    )


def chaotic(
    layers: Sequence[Layer], tangents: Lyapunov, finite_ones: Lyapunov | None
) -> list[Finding]:
    """Perturbations that grow from step to step."""
    tangent = float(tangents.exponent)
    finite = math.nan if finite_ones is None else float(finite_ones.exponent)
    horizon, largest = tangents.horizon, tangent if finite_ones is None else max(tangent, finite)
    if horizon < 2 or not largest > _PER_STEP or not largest * horizon > math.log(_OVER_TIME):
        return []
    widest = max(layers, key=lambda layer: layer.spread / layer.width)
    far = widest.spread / widest.width
    more = (
        f"; potentials of '{widest.name}' spread over {far:.0f} surrogate widths"
        if far > _FAR
        else ""
    )
    between = "" if finite_ones is None else f" and {finite:+.2f} between two trajectories"
    what = "perturbations explode in time"
    if finite_ones is None:
        what = "gradients explode in time"
    elif finite <= 0:
        what = "gradients explode in time, though spike trains come together"
    elif tangent <= 0:
        what = "spike trains part in time, though gradients decay"
    return [
        Finding(
            "chaotic",
            widest.name,
            f"{what}: λ = {tangent:+.2f} per step with the surrogate's derivative"
            f"{between}, a factor of "
            f"{math.exp(min(largest * horizon, 700)):.2g} over {horizon} steps{more}",
            "smaller recurrent weights, a LyapunovPenalty, shorter windows, clipped gradients",
        )
    ]


def cut_off(weights: Sequence[Weight]) -> list[Finding]:
    """Weights that the loss does not depend on, though the modules that hold them are called."""
    names = [w.name for w in weights if not w.frozen and w.gradient is None and w.used]
    if not names:
        return []
    what = f"no gradient reaches {listed(names)}: the loss does not depend on "
    what += "it" if len(names) == 1 else "them"
    advice = (
        "look for detach(), torch.no_grad(), .data, .item() or a conversion to numpy between them "
        "and the loss, or a part of the output that the loss does not take"
    )
    return [Finding("no gradient", names[0], what, advice, tuple(names))]


def unused(weights: Sequence[Weight]) -> list[Finding]:
    """Weights of modules that are never called."""
    names = [w.name for w in weights if not w.frozen and w.gradient is None and not w.used]
    if not names:
        return []
    what = f"{listed(names)} {'is' if len(names) == 1 else 'are'} not used: the module that holds "
    what += f"{'it' if len(names) == 1 else 'them'} is never called"
    return [Finding("unused", names[0], what, "call it, or leave it out", tuple(names))]


def without_gradient(weights: Sequence[Weight], loss: float) -> list[Finding]:
    """Weights whose gradient is zero, or so small that the loss does not feel it."""
    reached = [w for w in weights if not w.frozen and w.gradient is not None]
    alive = {w.module for w in reached if not _nothing(w, loss)}
    # Beside a weight that learns, a bias without a gradient is one that normalisation takes out.
    zero = [
        w
        for w in reached
        if _nothing(w, loss) and (w.module not in alive or (w.dimensions > 1 and w.gradient == 0))
    ]
    if not zero:
        return []
    names = [w.name for w in zero]
    largest = max(w.gradient or 0 for w in zero)
    what = f"the gradient of {listed(names)} is "
    what += f"{largest:.1g}, nothing to speak of" if largest else "zero"
    advice = "look at the layers behind them: silent, saturated, or out of the surrogate's reach"
    if len(zero) == len(reached):
        what += ": no weight has any"
        advice = (
            "give cross-entropy logits, without a softmax, sigmoid or argmax in front of it; look "
            "whether the loss is the same whatever the output"
        )
    return [Finding("no gradient", names[0], what, advice, tuple(names))]


def _nothing(weight: Weight, loss: float) -> bool:
    gradient = weight.gradient or 0.0
    return gradient * max(weight.size, 1) <= _NOTHING * abs(loss)


LOOKS: tuple[Callable[[Sequence[Layer]], list[Finding]], ...] = (
    _silent,
    _fades,
    _saturated,
    _dead,
    _steep,
    _over_depth,
)
