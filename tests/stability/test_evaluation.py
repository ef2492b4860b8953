"""Whether evaluation is the network that was trained: what is found, and what mends it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from tests.stability.digits import IMAGES, LABELS, squares

BATCH = torch.arange(1300, 1332)


class Normalised(nn.Module):
    """A perceptron whose normalisation sees all steps together."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(64, 48), nn.BatchNorm1d(48, **options)
        self.lif = st.LIF(beta=0.8, surrogate=st.surrogate.Sigmoid(2.0))
        self.out = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        current = self.norm(self.linear(x).flatten(0, 1)).unflatten(0, x.shape[:2])
        logits: Tensor = self.out(self.lif(current))
        return logits


def vgg(statistics: str, depth: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return st.spiking_vgg(
        1,
        10,
        8,
        stages=2,
        blocks_per_stage=depth // 2,
        base_channels=8,
        batch_norm=statistics,
        surrogate=st.surrogate.Sigmoid(2.0),
    )


def disagreements(network: nn.Module, x: Tensor) -> list[Any]:
    found = st.diagnose(network, x, LABELS[BATCH], trial=0)
    return [one for one in found.findings if one.kind == "modes disagree"]


def x() -> Tensor:
    return st.direct(IMAGES[BATCH], 6)


@pytest.mark.parametrize(
    ("momentum", "words"),
    [(1e-4, "after 100 steps 99% of them is what they began with"), (0.99, "by the last batch")],
)
def test_a_momentum_that_does_not_follow(momentum: float, words: str) -> None:
    torch.manual_seed(0)
    network = Normalised(momentum=momentum)
    (one,) = disagreements(network, x())
    assert words in one.what
    assert one.remedies[0] == "running_statistics"
    done = st.REMEDIES["running_statistics"]().apply(network, x())
    assert network.norm.momentum == 0.1
    assert done.changed == {"norm": f"statistics of the batch, momentum {momentum:g} -> 0.1"}
    assert disagreements(network, x()) == []


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"track_running_stats": False}])
def test_a_network_whose_modes_agree(options: dict[str, Any]) -> None:
    """Fresh, though its running statistics are not those of any data yet."""
    torch.manual_seed(0)
    assert disagreements(Normalised(**options), x()) == []


def test_running_statistics_of_other_data() -> None:
    """In a network that was trained; both losses and accuracies are told, and it is mended."""
    torch.manual_seed(0)
    network = Normalised()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(40):
        loss = cross_entropy(network(x()).mean(0), LABELS[BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert disagreements(network, x()) == []
    with torch.no_grad():
        network.norm.running_mean.add_(3.0)  # type: ignore[union-attr]
    (one,) = disagreements(network, x())
    assert "running statistics are not those of the data" in one.what
    assert "accuracy 100.0 and " in one.what
    st.REMEDIES["running_statistics"]().apply(network, x())
    assert disagreements(network, x()) == []


def test_steps_that_are_normalised_apart() -> None:
    """Disagree from some depth on, though running statistics are those of the very batch; with
    those of each step or of all steps they do not."""
    images = squares(BATCH, 4)
    (one,) = disagreements(vgg("step", 8), images)
    assert "with running statistics of this very batch; 'stages.0.0.norm'" in one.what
    assert one.remedies[0] == "statistics_per_step"
    assert disagreements(vgg("step", 2), images) == []
    assert disagreements(vgg("all", 8), images) == []
    assert disagreements(vgg("per_step", 8), images) == []


def test_the_network_is_left_as_it_was() -> None:
    """Statistics, modes and random numbers, dropout or not."""
    network = vgg("step")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    st.diagnose(network, squares(BATCH, 4), LABELS[BATCH], trial=0)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert torch.equal(random, torch.get_rng_state())
