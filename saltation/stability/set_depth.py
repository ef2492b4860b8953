"""Initial weights by what they do: growth of perturbations over depth brought to a target.

The ancestor is LSUV (Mishkin & Matas, "All you need is a good init", ICLR 2016), which scales layer
after layer until outputs have variance 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability.depth import DepthGrowth, depth_growth
from saltation.stability.drives import Scaled, check_search, seen_drives
from saltation.stability.taken import taken
from saltation.stepping import Stepped

# The most a logarithm of a factor changes from pass to pass, and the largest factor.
_STEP = 1.0
_LARGEST = 1e4


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

    A steep surrogate lets tangents through the few neurons that are near threshold. The larger the
    weights, the fewer these are, so that growth from layer to layer can only be had up to a point:
    beyond it factors run away, and the target is refused.

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
        more than once in a step, or the target is not reached with factors up to 10⁴. The network
        is then as it was.

    References
    ----------
    Mishkin & Matas, "All you need is a good init", ICLR 2016 (for the variance of outputs).
    """
    check_search(target, tolerance, passes)
    whole, x = taken(network, x)

    def measure() -> DepthGrowth:
        with torch.no_grad():
            return depth_growth(whole, x, seed=seed)

    with seen_drives(whole) as drives:
        found = measure()
    if len(found.layers) < 2:
        raise SaltationError("growth over depth needs two layers of neurons or more, got one")
    weights = [_own(drives.weights, name) for name in found.layers[1:]]
    with Scaled(weights) as scaled:
        gains = torch.ones(len(weights), dtype=torch.float64)
        before = torch.zeros_like(gains)
        for done in range(1, passes + 1):
            missing = target - found.growth.mean(1).double().cpu()
            outside = missing.abs() > tolerance
            if not outside.any():
                scaled.keep()
                factors = scaled.logs.exp().tolist()
                return DepthScaling(dict(zip(found.layers[1:], factors, strict=True)), found, done)
            # Growth jumps as spikes come and go: where it went past the target, go half as far.
            gains = torch.where(missing * before < 0, gains / 2, (1.5 * gains).clamp(max=1))
            logs = scaled.logs + outside * (gains * missing).clamp(-_STEP, _STEP)
            if done == passes or float(logs.abs().max()) > math.log(_LARGEST):
                break
            scaled.set(logs)
            before = missing
            found = measure()
        worst = int(missing.abs().argmax())
        raise SaltationError(
            f"growth of {target} from each layer to the next, within {tolerance}, was not reached "
            f"in {done} passes: into '{found.layers[worst + 1]}' it is "
            f"{float(found.growth[worst].mean()):+.3f}, and its weight times "
            f"{float(scaled.logs[worst].exp()):.3g} (allowed: factors up to {_LARGEST:g}). The "
            f"weights are as they were. Take more samples, a larger tolerance, another target or a "
            f"less steep surrogate"
        )


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
