"""Branches that begin closed are no fault: their factors of 0 open with the first step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.models.ms_mlp import ms_mlp


class Rezero(nn.Module):
    """A block whose branch is multiplied by one number, which begins at 0 (Bachlechner et al.,
    2021)."""

    def __init__(self, width: int, lost: bool = False) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.branch = nn.Sequential(st.LIF(beta=0.5), nn.Linear(width, width))
        self.lost = lost

    def forward(self, x: Tensor) -> Tensor:
        made = self.branch(x)
        return x + self.alpha * (made.detach() if self.lost else made)


def diagnosed(net: nn.Module) -> st.Diagnosis:
    torch.manual_seed(2)
    x = (torch.rand(8, 16, 12) < 0.3).float()
    return st.diagnose(net, x, torch.arange(16) % 5, trial=0)


def rezero(lost: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    blocks = Rezero(24, lost), Rezero(24)
    return nn.Sequential(nn.Linear(12, 24), *blocks, st.LIF(beta=0.5), nn.Linear(24, 5))


@pytest.mark.parametrize("kind", ["ms_mlp", "rezero"])
def test_closed_branches_are_noted_and_not_faults(kind: str) -> None:
    torch.manual_seed(1)
    net = ms_mlp((12,), 5, 9, base_channels=24, steps=8) if kind == "ms_mlp" else rezero()
    before = [p.detach().clone() for p in net.parameters()]
    found = diagnosed(net)
    assert {one.kind for one in found.findings} <= {"modes disagree", "readout size"}
    (note,) = [one for one in found.notes if one.kind == "closed"]
    branches = {name for name, p in net.named_parameters() if "branch" in name and p.ndim >= 2}
    assert branches <= set(note.weights)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_gradient_that_stays_away_from_an_open_branch_is_a_fault() -> None:
    found = diagnosed(rezero(lost=True))
    assert any(
        "1.branch.1.weight" in one.weights for one in found.findings if one.kind == "no gradient"
    )


def test_a_network_whose_factors_are_not_zero_has_no_such_note() -> None:
    net = ms_mlp((12,), 5, 5, base_channels=24, steps=8)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.ndim == 1 and "bias" not in name:
                p.fill_(0.5)
    assert not [one for one in diagnosed(net).notes if one.kind == "closed"]
