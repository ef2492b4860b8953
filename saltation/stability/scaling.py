"""Initial weights by what they do: scaled until perturbations grow as they should.

The ancestor is LSUV (Mishkin & Matas, "All you need is a good init", ICLR 2016), which scales layer
after layer until outputs have variance 1. Here it is the measured growth of perturbations that is
brought to a target, over depth or over time; see `depth_growth` and `lyapunov`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, positive
from saltation.layers.stepping import Stepped, stepped
from saltation.stability.depth import DepthGrowth, depth_growth
from saltation.stability.drives import feedback, seen_drives
from saltation.stability.lyapunov import lyapunov
from saltation.stability.result import Lyapunov

# The most a logarithm of a factor changes from pass to pass, and the most it can become.
_STEP = 1.0
_WIDEST = math.log(64)


class DepthScaling(NamedTuple):
    """What `set_depth_growth` did.

    Attributes
    ----------
    factors
        By the name of each layer of neurons but the first, what its weight was multiplied by.
    reached
        The growth with these weights.
    passes
        How often it was measured.
    """

    factors: dict[str, float]
    reached: DepthGrowth
    passes: int


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


def set_depth_growth(
    network: nn.Module | Stepped,
    x: Tensor,
    target: float = 0.0,
    *,
    tolerance: float = 0.05,
    passes: int = 50,
    seed: int = 0,
) -> DepthScaling:
    """Scale the layers of a network until perturbations grow by ``target`` from each to the next.

    What is measured is `depth_growth`, mean over samples: ``log(|δ[l + 1]| / |δ[l]|)`` for the
    tangents δ of the layers' states, over all steps of ``x``. It is nearly proportional to the size
    of what drives layer l + 1, so the weight there is multiplied by ``exp(target - growth)``, for
    all layers at once, until all are within the tolerance. The weight is the last before the
    neurons: the normalisation's (γ) where there is one. Nothing else is changed.

    Layers are taken in the order of their calls, also where branches are parallel: with target 0,
    the perturbation of every layer becomes as large as that of the first.

    Parameters
    ----------
    network : Module or Stepped
        As for `lyapunov`; every layer of neurons but the first has a weight of its own.
    x : Tensor, [T, B, ...]
        A batch of its input.
    target : float
        Growth per layer, natural logarithm: 0 neither grows nor dies.
    tolerance : float
        Largest distance from the target, of any layer.
    passes : int
        How often to measure at most.
    seed : int
        Of the perturbation.

    Returns
    -------
    DepthScaling

    Raises
    ------
    SaltationError
        If the neurons of a layer are driven by no weight, by one that drives others too, or called
        more than once in a step, or the target is not reached. The network is then as it was.

    References
    ----------
    Mishkin & Matas, "All you need is a good init", ICLR 2016 (for the variance of outputs).
    """
    whole = network if isinstance(network, Stepped) else stepped(network)
    _check(target, tolerance, passes)

    def measure() -> DepthGrowth:
        with torch.no_grad():
            return depth_growth(whole, x, seed=seed)

    with seen_drives(whole) as drives:
        found = measure()
    if len(found.layers) < 2:
        raise SaltationError("growth over depth needs two layers of neurons or more, got one")
    weights = [_own(drives.weights, name) for name in found.layers[1:]]
    with _Scaled(weights) as scaled:
        for done in range(1, passes + 1):
            missing = target - found.growth.mean(1)
            if bool((missing.abs() <= tolerance).all()):
                scaled.keep()
                factors = scaled.logs.exp().tolist()
                return DepthScaling(dict(zip(found.layers[1:], factors, strict=True)), found, done)
            scaled.set(scaled.logs + missing.double().cpu().clamp(-_STEP, _STEP))
            found = measure()
        worst = int(missing.abs().argmax())
        raise SaltationError(
            f"the growth into '{found.layers[worst + 1]}' is {float(target - missing[worst]):+.3f} "
            f"after {passes} passes, not within {tolerance} of {target}; the weights are as they "
            f"were. Take more samples, a larger tolerance or another target"
        )


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

    What is measured is ``lyapunov(network, x, **settings).exponent``. Scaled is what drives each
    layer of neurons (see `set_depth_growth`; layers that no weight drives are left), and the
    weights with which recurrent layers drive themselves. The factor, between 1/64 and 64, is the
    nearest to 1 that doubling and halving find, then bisected.

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
    whole = network if isinstance(network, Stepped) else stepped(network)
    _check(target, tolerance, passes)
    seen: dict[float, Lyapunov] = {}

    def above(log: float) -> float:
        with torch.no_grad():
            seen[log] = lyapunov(whole, x, **settings)
        return float(seen[log].exponent) - target

    with seen_drives(whole) as drives:
        first = above(0.0)
    weights = [weight for weight in drives.weights.values() if weight is not None]
    weights += feedback(whole)
    if not weights:
        raise SaltationError("no weight drives the neurons of this network: nothing can be scaled")
    with _Scaled(weights) as scaled:

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
        while abs(near) < _WIDEST and done < passes:
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


class _Scaled:
    """Weights that are multiplied by factors within the block, and as they were behind it, unless
    they are to be kept."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.logs = torch.zeros(len(weights), dtype=torch.float64)
        self._weights = weights
        self._originals = [weight.detach().clone() for weight in weights]
        self._kept = False

    def set(self, logs: Tensor | Sequence[float]) -> None:
        """Multiply each weight by the exponential of its number."""
        self.logs = torch.as_tensor(logs, dtype=torch.float64)
        with torch.no_grad():
            for weight, original, factor in zip(
                self._weights, self._originals, self.logs.exp().tolist(), strict=True
            ):
                weight.copy_(original * factor)

    def keep(self) -> None:
        """Leave the weights as they are."""
        self._kept = True

    def __enter__(self) -> _Scaled:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.set(torch.zeros(len(self._weights)))


def _own(weights: dict[str, Tensor | None], name: str) -> Tensor:
    """The weight that drives the neurons ``name`` and nothing else."""
    if name not in weights:
        raise SaltationError(
            f"'{name}': a neuron module that is called more than once in a step has no growth of "
            f"its own that could be set"
        )
    weight = weights[name]
    if weight is None:
        raise SaltationError(
            f"the neurons '{name}' are driven by no weight of their own (a linear map, convolution "
            f"or normalisation since the neurons before them)"
        )
    return weight


def _check(target: float, tolerance: float, passes: int) -> None:
    if not math.isfinite(target):
        raise SaltationError(f"target must be a finite number, got {target!r}")
    positive("tolerance", tolerance)
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise SaltationError(f"passes must be an integer of at least 1, got {passes!r}")
