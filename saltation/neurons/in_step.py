"""Spikes at their own time within a step, and the rest of the step after the jump.

A step that ends above the threshold has crossed it at a fraction theta of its length, which
interpolation of the potential between its ends finds: a line (Hansel, Mato, Meunier & Neltner, "On
numerical simulations of integrate-and-fire neural networks", Neural Computation, 1998), or the
cubic through values and velocities (Hermite's; Shelley & Tao, "Efficient and accurate time-stepping
schemes for integrate-and-fire neuronal networks", J. Comput. Neurosci., 2001), which a step of the
scheme up to there puts right. The state jumps there, and is integrated over the rest of the step.

theta is a function of the state and the current, and has their derivatives: those of where the
interpolated potential meets the threshold (the implicit function theorem).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saltation.derivatives import Dual
from saltation.errors import SaltationError, choose
from saltation.neurons import linear

SPIKE_TIMES = ("grid", "linear", "hermite")

# Newton's steps to the root of the cubic, each within the interval that is known to hold it.
_STEPS = 8
# Of dt: no step is shorter, for fractions of none are nothing.
_SHORTEST = 1e-12
# How often a spike is put right by a step up to it.
_LANDINGS = 2
# Of the chord's slope: a cubic that is flatter where it meets the threshold has no derivative.
_FLAT = 1e-3


class Fired(NamedTuple):
    """What a step comes to.

    Attributes
    ----------
    spikes
        0 or 1.
    state
        At the end of the step, after any jump.
    theta
        When in the step the spike was, from 0 to 1; 1 without a spike.
    """

    spikes: Tensor
    state: Any
    theta: Tensor


class _Rest:
    """The system over a part of its step."""

    def __init__(self, neuron: Any, dt: Any) -> None:
        self._neuron, self.dt, self.stiffness = neuron, dt, neuron.stiffness

    def velocity(self, x: Any, *state: Any) -> Sequence[Any]:
        found: Sequence[Any] = self._neuron.velocity(x, *state)
        return found


def check(neuron: Any) -> None:
    """Whether the setting is known and can be followed.

    Raises
    ------
    SaltationError
        If not.
    """
    given = choose(f"{neuron.title} spike_time", neuron.spike_time, SPIKE_TIMES)
    if given == "grid":
        return
    reason = None
    if neuron.is_map:
        reason = "it is a discrete map, with no time within a step"
    elif getattr(neuron, "beta", None) is not None and neuron.name == "lif":
        reason = "beta is a decay per step; give tau"
    elif neuron.jump in ("none", "soft_delayed"):
        reason = f"a jump '{neuron.jump}' is none within the step; take hard or soft"
    elif neuron.refractory:
        reason = "its refractory time is counted in whole steps"
    if reason:
        raise SaltationError(f"{neuron.title} has no spike_time '{given}': {reason}")


def advance(neuron: Any, x: Any, state: Any, time: Any, spike: Any) -> Fired:
    """A step of any length ``time``, a tensor that may have a derivative."""
    time = time.clamp(min=_SHORTEST * neuron.dt)
    h = neuron.State(*_rest_of(neuron, x, state, time))
    return fire(neuron, x, state, h, spike, time)


def fire(neuron: Any, x: Any, before: Any, h: Any, spike: Any, time: Any) -> Fired:
    """Spikes, and the state at the end of a step from ``before`` to ``h``, which is without a jump.

    A state that begins at or above the threshold, such as an impulse brings there, spikes at once.
    Of several spikes in one step the second comes at the beginning of the next.
    """
    starts, ends = _Line(neuron, x, before), _Line(neuron, x, h)
    at_once = starts.gap.detach() >= 0
    s = spike(torch.where(at_once, starts.gap, ends.gap))
    crosses = ~at_once & (ends.gap.detach() >= 0)
    one, none = torch.ones_like(ends.gap), torch.zeros_like(ends.gap)
    # Where nothing crosses, a line that does.
    low, high = torch.where(crosses, starts.gap, -one), torch.where(crosses, ends.gap, none)
    is_line = neuron.spike_time == "linear"
    slopes = starts.slope * time, ends.slope * time
    found = low / (low - high) if is_line else _root(low, high, *slopes, crosses)
    theta = torch.where(crosses, found, torch.where(at_once, none, one))
    if is_line:
        at = [a + theta * (b - a) for a, b in zip(before, h, strict=True)]
    else:
        theta, at = _landed(neuron, x, before, h, theta, crosses, time)
    jumped = neuron.apply_jump(neuron.State(*at), one)
    end = _rest_of(neuron, x, jumped, (1.0 - theta) * time)
    chosen = s.detach() if neuron.detach_reset else s
    after = (a + chosen * (b - a) for a, b in zip(h, end, strict=True))
    return Fired(s, neuron.State(*after), theta)


class _Line:
    """One end of a step: its velocity, and the potential against the threshold with its rate."""

    def __init__(self, neuron: Any, x: Any, state: Any) -> None:
        self.velocity = list(neuron.velocity(x, *state))
        threshold = neuron.threshold(*map(Dual, state, self.velocity))
        self.slope = self.velocity[0]
        if isinstance(threshold, Dual):
            rise = threshold.tangents[0]
            threshold, self.slope = threshold.value, self.slope - (0.0 if rise is None else rise)
        self.gap = state[0] - threshold


def _cubic(theta: Any, a: Any, b: Any, p: Any, q: Any) -> Any:
    """Hermite's: values a and b, slopes p and q at 0 and 1."""
    left = 1.0 - theta
    line = a * left + b * theta
    return line + theta * left * ((p - (b - a)) * left - (q - (b - a)) * theta)


def _slope(theta: Any, a: Any, b: Any, p: Any, q: Any) -> Any:
    """The derivative of `_cubic` with respect to theta."""
    c, d, left = p - (b - a), q - (b - a), 1.0 - theta
    return (b - a) + (1.0 - 2.0 * theta) * (c * left - d * theta) - theta * left * (c + d)


def _root(low: Any, high: Any, p: Any, q: Any, crosses: Any) -> Any:
    """Where the cubic from ``low`` below 0 to ``high`` meets 0, with its derivatives."""
    p, q = (torch.where(crosses, part + 0.0 * low, high - low) for part in (p, q))
    known = [part.detach() for part in (low, high, p, q)]
    chord = known[1] - known[0]
    left, right = torch.zeros_like(chord), torch.ones_like(chord)
    theta = -known[0] / chord
    for _ in range(_STEPS):
        value = _cubic(theta, *known)
        left, right = torch.where(value < 0, theta, left), torch.where(value < 0, right, theta)
        move = theta - value / _slope(theta, *known)
        # Also where it is not finite.
        inside = (move > left) & (move < right)
        theta = torch.where(inside, move, torch.where(value == 0, theta, (left + right) / 2))
    steep = torch.maximum(_slope(theta, *known), _FLAT * chord)
    return (theta - _cubic(theta, low, high, p, q) / steep).clamp(0.0, 1.0)


def _landed(
    neuron: Any, x: Any, before: Any, h: Any, theta: Any, crosses: Any, time: Any
) -> tuple[Any, list[Any]]:
    """The spike put right, and the state there: by the scheme itself and Newton's steps.

    A step beyond the threshold may go by other equations, such as an upstroke that is held there,
    and its end then misleads the cubic. So may the step up to where that says, but by less.
    """
    none, one = torch.zeros_like(theta), torch.ones_like(theta)
    for _ in range(_LANDINGS):
        at = _rest_of(neuron, x, before, theta * time)
        line = _Line(neuron, x, at)
        rises = crosses & (line.slope > 0)
        late = torch.where(rises, line.gap, none) / torch.where(rises, line.slope, one)
        late = torch.minimum(torch.maximum(late, (theta - 1.0) * time), theta * time)
        theta = theta - torch.where(rises, late / time, none)
    there = [
        torch.where(crosses, a - late * f, torch.where(theta > 0.5, b, c))
        for a, f, b, c in zip(at, line.velocity, h, before, strict=True)
    ]
    return theta, there


def _rest_of(neuron: Any, x: Any, state: Any, time: Any) -> Sequence[Any]:
    """The state a ``time`` after ``state``, by the neuron's scheme."""
    scheme = neuron.stability_scheme
    if scheme.linear_only:
        step = linear.affine_step(neuron.equations, scheme, time.double())
        return [part.to(x.dtype) for part in step(x, state)]
    found: Sequence[Any] = scheme.step(_Rest(neuron, time), x, state)
    return found
