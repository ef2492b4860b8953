"""What a trained network costs on a test sample."""

from __future__ import annotations

from torch import Tensor, nn

from saltation.activity import energy
from saltation.activity.costs import Energy
from saltation.errors import SaltationError

COUNTED = 16
"""Test samples that are counted on."""


def cost_of(network: nn.Module, x: Tensor) -> dict[str, float]:
    """Columns ``synops``, synaptic operations of a sample, and ``energy_nj``, the estimate of their
    energy and that of the states' updates in nJ.

    Nothing of a network whose weights are not finite, or of a user's that cannot be followed.
    """
    try:
        cost = energy(network, x)
    except SaltationError:
        return {}
    return in_columns(cost)


def in_columns(cost: Energy) -> dict[str, float]:
    """The columns of a cost."""
    return {"synops": cost.synops / cost.samples, "energy_nj": cost.pj / 1e3}
