"""Initial weights by what they do: the Lyapunov exponent brought to a target."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability.drives import Scaled, check_search, feedback, seen_drives
from saltation.stability.lyapunov import lyapunov
from saltation.stability.result import Lyapunov
from saltation.stability.taken import taken
from saltation.stepping import Stepped

# The largest factor.
_WIDEST = 64.0


class LyapunovScaling(NamedTuple):
    """What `set_lyapunov` did.

    Attributes
    ----------
    factor
        What all weights were multiplied by.
    reached
        The exponent with these weights.
    passes
        How often it was measured.
    """

    factor: float
    reached: Lyapunov
    passes: int


def set_lyapunov(
    network: nn.Module | Stepped,
    x: Tensor,
    target: float = 0.0,
    *,
    tolerance: float = 0.02,
    passes: int = 50,
    **settings: Any,
) -> LyapunovScaling:
    """Scale all layers of a network by one factor until its Lyapunov exponent is ``target``.

    What is measured is ``lyapunov(network, x, **settings).exponent``. Scaled is, of a recurrent
    layer, what it drives itself with, and of any other what drives it (see `set_depth_growth`; a
    layer that no weight drives is left). The factor, between 1/64 and 64, is found by doubling or
    halving until the target is passed, and then bisection.

    The weights of a feed-forward network move its exponent only as far as the horizon is short:
    over many steps it is that of single neurons (see `depth_growth`).

    Parameters
    ----------
    network, x, **settings
        As for `lyapunov`.
    target : float
        The exponent wanted, per step.
    tolerance : float
        Largest distance from it.
    passes : int
        How often to measure at most.

    Returns
    -------
    LyapunovScaling

    Raises
    ------
    SaltationError
        If nothing in the network can be scaled, or the target is not reached: below the exponent of
        a silent network, above that of a saturated one, or within a jump, as spikes come and go,
        that is larger than the tolerance. The network is then as it was.
    """
    check_search(target, tolerance, passes)
    whole, x = taken(network, x)
    seen: dict[float, Lyapunov] = {}

    def above(log: float) -> float:
        with torch.no_grad():
            seen[log] = lyapunov(whole, x, **settings)
        return float(seen[log].exponent) - target

    with seen_drives(whole) as drives:
        first = above(0.0)
    weights: list[Tensor] = []
    for port in whole.ports:
        drive = drives.weights.get(port.name)
        weights += feedback(port) or ([] if drive is None else [drive])
    if not weights:
        raise SaltationError("no weight drives the neurons of this network: nothing can be scaled")
    with Scaled(weights) as scaled:

        def scaled_above(log: float) -> float:
            scaled.set([log] * len(weights))
            return above(log)

        found = _root(scaled_above, first, tolerance, passes)
        if found is None:
            values = {math.exp(log): float(one.exponent) for log, one in seen.items()}
            nearest = min(values, key=lambda factor: abs(values[factor] - target))
            raise SaltationError(
                f"an exponent within {tolerance} of {target} was not found in {len(seen)} passes; "
                f"the weights are as they were. The nearest was {values[nearest]:+.3f}, with all "
                f"weights times {nearest:.3g}; all were from {min(values.values()):+.3f} to "
                f"{max(values.values()):+.3f}"
            )
        scaled.keep()
    return LyapunovScaling(math.exp(found), seen[found], len(seen))


def _root(f: Callable[[float], float], first: float, tolerance: float, passes: int) -> float | None:
    """Where ``f`` is within the tolerance of 0, from ``f(0) = first`` outwards; None if it is not
    found."""
    if abs(first) <= tolerance:
        return 0.0
    done = 1
    downwards = -1 if first > 0 else 1  # towards 0, if f grows
    for direction in (downwards, -downwards):
        near, value = 0.0, first
        while abs(near) < math.log(_WIDEST) and done < passes:
            far = near + direction * math.log(2)
            beyond, done = f(far), done + 1
            if abs(beyond) <= tolerance:
                return far
            if value * beyond < 0:
                return _bisect(f, (near, value), far, tolerance, passes - done)
            near, value = far, beyond
    return None


def _bisect(
    f: Callable[[float], float],
    near: tuple[float, float],
    far: float,
    tolerance: float,
    passes: int,
) -> float | None:
    """Where ``f`` is within the tolerance of 0, between ``near``, with its value, and ``far``."""
    start, value = near
    for _ in range(passes):
        middle = (start + far) / 2
        between = f(middle)
        if abs(between) <= tolerance:
            return middle
        if value * between < 0:
            far = middle
        else:
            start, value = middle, between
    return None
