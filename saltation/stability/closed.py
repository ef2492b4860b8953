"""Branches that begin closed: what they make is multiplied by factors that are 0 before training.

Residual networks often begin so (Goyal et al., "Accurate, large minibatch SGD: training ImageNet
in 1 hour", 2017): a block hands on what it gets. The gradient of all that is in a branch is then 0,
and no longer after the first step, which moves the factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from saltation.stability.layer import Finding, Layer, Weight, listed
from saltation.stability.spared import spared

# Gradients of layers and of weights, by name.
Gradients = tuple[Sequence[Layer], Sequence[Weight]]


def closed_factors(weights: Sequence[Weight]) -> list[str]:
    """Names of the factors that are 0 everywhere and that training moves; those of normalisations,
    and single numbers. A bias of 0 closes nothing."""
    return [
        w.name
        for w in weights
        if w.dimensions <= 1
        and w.size == 0
        and (w.gradient or 0) > 0
        and not w.name.rpartition(".")[2].startswith("bias")
    ]


def waiting(
    network: nn.Module,
    layers: Sequence[Layer],
    weights: Sequence[Weight],
    measure: Callable[[], Gradients],
) -> tuple[list[Layer], list[Weight], list[Finding]]:
    """Layers and weights without what closed branches keep from them, and a note that says so.

    Parameters
    ----------
    network : Module
        The network; its factors are as they were afterwards.
    layers, weights
        As they were seen.
    measure
        Sees them again, with open branches.

    Returns
    -------
    Layers, of which those that wait have no gradient (NaN) in place of 0; weights without those
    that wait; and the note, if any does.
    """
    factors = closed_factors(weights)
    if not factors:
        return list(layers), list(weights), []
    with spared(network, weights=True):
        named = dict(network.named_parameters())
        with torch.no_grad():
            for name in factors:
                named[name].fill_(1.0)
        open_layers, open_weights = measure()
    reached = {one.name for one in open_layers if one.gradient > 0}
    moved = {w.name for w in open_weights if (w.gradient or 0) > 0}
    shut = [w.name for w in weights if w.gradient == 0 and w.name in moved]
    behind = [
        one._replace(gradient=float("nan")) if one.gradient == 0 and one.name in reached else one
        for one in layers
    ]
    if not shut:
        return behind, list(weights), []
    what = (
        f"the gradient of {listed(shut)} is zero in the first step alone: factors of 0 close the "
        f"branches that they are in, {listed(factors)}, and that step opens them"
    )
    note = Finding("closed", factors[0], what, "", tuple(shut))
    return behind, [w for w in weights if w.name not in shut], [note]
