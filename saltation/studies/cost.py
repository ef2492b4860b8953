"""What a trained network costs on a test sample."""

from __future__ import annotations

from torch import Tensor, nn

from saltation.activity import energy
from saltation.activity.costs import Energy
from saltation.errors import SaltationError

COUNTED = 16
"""Test samples that are counted on."""


def cost_of(network: nn.Module, x: Tensor, mask: Tensor | None = None) -> dict[str, float]:
    """Columns ``synops``, synaptic operations of a sample, and ``energy_nj``, the estimate of their
    energy and that of the states' updates in nJ.

    Of samples ``[T, B, ...]`` that end before the last step a ``mask [T, B]`` says which are
    theirs, the first ones; the others cost nothing. Nothing of a network whose weights are not
    finite, or of a user's that cannot be followed.
    """
    if mask is not None:
        return _cost_until_the_end(network, x, mask)
    try:
        cost = energy(network, x)
    except SaltationError:
        return {}
    return in_columns(cost)


def _cost_until_the_end(network: nn.Module, x: Tensor, mask: Tensor) -> dict[str, float]:
    """Costs of samples of one length after the other: what a network does up to a step does not
    depend on what comes then."""
    lengths, found = mask.sum(0), {"synops": 0.0, "energy_nj": 0.0}
    for length in sorted(set(lengths.tolist())):
        same = lengths == length
        try:
            cost = cost_of(network, x[:length, same])
        except RuntimeError:  # a user's network that is made for one number of steps
            return {}
        if not cost:
            return {}
        for name in found:
            found[name] += cost[name] * int(same.sum()) / len(lengths)
    return found


def in_columns(cost: Energy) -> dict[str, float]:
    """The columns of a cost."""
    return {"synops": cost.synops / cost.samples, "energy_nj": cost.pj / 1e3}
