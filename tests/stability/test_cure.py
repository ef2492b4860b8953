"""From the diagnosis to the cure: planted faults are mended, and healthy networks left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.layers.recurrent import neuron_layers
from saltation.stability.cure_search import GROUPS, Search
from saltation.stability.cure_trials import Outcome
from saltation.stability.remedies.passes import copied, output
from saltation.stability.taken import taken
from saltation.surrogate import FastSigmoid, Sigmoid
from tests.stability.remedies.networks import LIBRARIES, imported, linears

DEEP = (20, 40, 40, 40)


def task(samples: int = 120, steps: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Spikes with the rates of one of five patterns."""
    noise = torch.Generator().manual_seed(seed)
    patterns = torch.rand(5, 20, generator=noise) ** 2
    y = torch.arange(samples) % 5
    return (torch.rand(steps, samples, 20, generator=noise) < patterns[y]).float(), y


def silent(maps: list[nn.Linear]) -> None:
    for one in maps[:-1]:
        one.weight.mul_(0.03)


def saturated(maps: list[nn.Linear]) -> None:
    maps[1].bias.fill_(40.0)
    maps[2].bias.fill_(40.0)


def steep(maps: list[nn.Linear]) -> None:
    """Nothing: the surrogates of all these networks are narrow."""


def planted(library: str, fault: Any) -> nn.Module:
    maps = linears(DEEP, gain=2.0)
    with torch.no_grad():
        for one in maps:
            one.bias.zero_()
        fault(maps)
    return LIBRARIES[library](maps)[0]


CASES = [
    *(("saltation", fault) for fault in (silent, saturated, steep)),
    pytest.param("snntorch loop", silent, marks=pytest.mark.slow),
    ("snntorch hidden", steep),
    ("spikingjelly m", saturated),
]


@pytest.mark.parametrize(("library", "fault"), CASES)
def test_planted_faults_are_mended(library: str, fault: Any) -> None:
    """What is kept learns in the trial what the network as it was did not, or not as well; the
    network that was given is as it was, and the mended one is not trained."""
    x, y = task()
    network = planted(library, fault)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    found = st.cure(network, x, y, steps=35, lr=0.01)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert found.treatments
    kept = [one for one in found.attempts if one.kept]
    # A larger learning rate is kept as well where it suits what was mended, and is no treatment.
    assert len([one for one in kept if one.group != "rate"]) == len(found.treatments)
    assert found.lr == (0.03 if any(one.group == "rate" for one in kept) else 0.01)
    assert found.after == kept[-1].outcome
    assert found.after.loss < 0.75 * found.before.loss
    assert found.after.accuracy > 80
    if fault is not steep:
        assert found.before.loss > 0.9 * found.chance
    else:  # where gradients vanish for the surrogate alone, weights are of the right size
        assert not {one.group for one in found.attempts} & {"activity", "growth"}
    # Untrained: the readout is what it was, for no remedy touches it.
    last = [n for n in before if n.endswith("weight")][-1]
    assert torch.equal(found.network.state_dict()[last], before[last])
    assert all(one.remedy in str(found) for one in found.attempts)


def test_the_mended_network_learns_in_a_loop_of_ones_own() -> None:
    """As in the trial, and the given one does not."""
    x, y = task()
    network = planted("saltation", silent)
    found = st.cure(network, x, y, steps=20, lr=0.01)
    losses = []
    for trained in (copy.deepcopy(network), found.network):
        optimizer = torch.optim.Adam(trained.parameters(), lr=0.01)
        for _ in range(40):
            loss = cross_entropy(trained(x).mean(0), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] < 0.3 < 1.5 < losses[0]


def test_a_healthy_network_is_left_alone() -> None:
    """Nothing is tried, and what is given back is a copy."""
    x, y = task()
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(20, 64), st.LIF(beta=0.8, surrogate=st.surrogate.Sigmoid(2.0)), nn.Linear(64, 5)
    )
    with torch.no_grad():
        network[0].weight.mul_(4)
    found = st.cure(network, x, y, steps=25, lr=0.01)
    assert not found.treatments
    assert not found.attempts
    assert found.findings == []
    assert found.before == found.after
    assert found.after.accuracy > 90
    assert found.network is not network
    for one, two in zip(found.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, two)
        assert one is not two
    assert "kept: nothing" in str(found)


def test_modes_that_disagree_are_found_and_mended() -> None:
    """A network whose normalisation trains per step and evaluates with one running mean, shown
    images that become brighter from step to step."""
    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(3)
    y = torch.arange(96) % 4
    patterns = torch.rand(4, 1, 8, 8, generator=noise)
    images = patterns[y] + 0.2 * torch.randn(96, 1, 8, 8, generator=noise)
    x = torch.tensor([0.1, 1.0, 4.0]).view(3, 1, 1, 1, 1) * images
    network = st.spiking_vgg(1, 4, 8, steps=3, stages=1, base_channels=8, batch_norm="step")
    found = st.cure(network, x, y, steps=15, lr=0.01, batch_size=24)
    assert "modes disagree" in found.findings
    assert found.before.loss > found.before.batch_loss + 0.1 * found.chance
    (kept,) = (one for one in found.attempts if one.kept and one.group != "rate")
    assert kept.remedy == "statistics_per_step"
    assert abs(found.after.loss - found.after.batch_loss) < 0.1 * found.chance
    assert found.table.loc["held-out loss", "after"] == found.after.loss
    assert len(found.tried) == len(found.attempts)


class Told:
    """Trials whose outcome the network's surrogate and reset tell."""

    lr, chance = 0.01, 2.0
    sample = (torch.rand(5, 16, 20, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def adapted(self, network: nn.Module) -> st.Stepped:
        return st.adapt(network)

    def findings(self, network: nn.Module) -> list[str]:
        return ["steep surrogate", "vanishing gradient"]

    def score(self, outcome: Outcome, group: str) -> float:
        return outcome.batch_loss

    def of(self, network: nn.Module, lr: float | None = None) -> Outcome:
        (layer,) = neuron_layers(network).values()
        hard, logistic = layer.neuron.jump == "hard", isinstance(layer.surrogate, Sigmoid)
        loss = 1.9 if layer.surrogate == FastSigmoid(25.0) else 1.87 if logistic else 1.6
        return Outcome(*[loss - 0.8 * hard - 0.57 * (hard and logistic)] * 2, 50.0)


def test_surrogates_are_chosen_again_in_a_network_that_learns() -> None:
    """What is best while it hardly learns is not what is best when another fault is mended."""
    fast = st.LIF(beta=0.9, jump="soft", surrogate=FastSigmoid(25.0))
    search = Search(Told(), nn.Sequential(nn.Linear(20, 8), fast, nn.Linear(8, 5)))  # type: ignore[arg-type]
    search.run()
    kept = [one.remedy for one in search.attempts if one.kept]
    assert kept[0] == "surrogate_width(c=0.6)"
    assert kept[-1] == "surrogate_width(c=0.6, family=sigmoid)"
    assert "hard_reset" in kept
    assert search.best == search.trials.of(search.network)
    assert search.best.loss == pytest.approx(0.5)
    wider = [one for one in search.attempts if one.group == "surrogate"]
    assert len(wider) == 2 * len(GROUPS["surrogate"])


def test_a_loss_of_ones_own() -> None:
    """Then there is no accuracy, and chance is what the fresh network has."""
    x, y = task()
    network = planted("saltation", silent)

    def loss(output: Tensor, labels: Tensor) -> Tensor:
        return st.tet_loss(output, labels)

    found = st.cure(network, x, y, loss=loss, steps=20, lr=0.01)
    assert found.after.accuracy != found.after.accuracy
    assert found.after.loss < 0.75 * found.before.loss


def test_states_with_a_graph_are_copied() -> None:
    """As a pass of the user's own leaves them in snnTorch's neurons."""
    snn = imported("snntorch")
    network = nn.Sequential(nn.Linear(20, 8), snn.Leaky(beta=0.9, init_hidden=True))
    x, _ = task()
    network(x[0]).sum()
    network(x[1])
    mem = network[1].mem
    assert mem.grad_fn is not None
    twin = copied(network)
    assert network[1].mem is mem
    whole, _ = taken(twin, x)
    first = output(whole, x)
    assert torch.equal(first, output(whole, x))  # every pass begins at rest
    assert first.shape == (5, 120, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": torch.zeros(5, 15, 20), "y": torch.zeros(15).long()}, "at least 16 samples"),
        ({"y": torch.zeros(7).long()}, "as many samples in dimension 1 as there are labels"),
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer, got 2.5"),
        ({"lr": -1.0}, "lr must be a finite number above 0, got -1.0"),
        ({"network": nn.Linear(20, 5)}, "must hold neurons"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    x, y = task()
    given = {"network": planted("saltation", steep), "x": x, "y": y, **options}
    network, x, y = (given.pop(name) for name in ("network", "x", "y"))
    with pytest.raises(st.SaltationError, match=message):
        st.cure(network, x, y, **given)
