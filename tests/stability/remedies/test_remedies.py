"""Remedies: what each does in networks of three libraries, and that a refusal changes nothing."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.layers.sizes import balance, potential_gain
from saltation.models.vgg import BENCHMARK
from saltation.stability.observe import observe
from saltation.stability.remedies import (
    REMEDIES,
    FluctuationDriven,
    GrowthOverDepth,
    Homeostasis,
    PotentialGain,
    RelayStart,
    SpikeAwareVariance,
    StatisticsOfAllSteps,
    StatisticsPerStep,
    SurrogateWidth,
    Treatment,
    remedies_for,
)
from saltation.stability.remedies.passes import output
from saltation.stability.taken import taken
from tests.stability.remedies.networks import LIBRARIES, adapted, imported, linears, spikes

every_library = pytest.mark.parametrize("library", LIBRARIES)


def rates(whole: Any, x: Tensor) -> dict[str, float]:
    """Spikes per neuron and step by layer, of a pass of its own."""
    whole, x = taken(whole, x)
    _, seen, _ = observe(whole, x)
    return {
        one.port.name: float(torch.stack([s.mean() for s in one.spikes]).mean()) for one in seen
    }


def state(network: nn.Module) -> dict[str, Any]:
    """Everything that a remedy could change."""
    found: dict[str, Any] = {n: t.clone() for n, t in network.state_dict().items()}
    for name, module in network.named_modules():
        found[f"{name} type"] = type(module)
        found[f"{name} mode"] = module.training
        for attribute in ("surrogate", "spike_grad", "surrogate_function", "statistics", "begins"):
            found[f"{name} {attribute}"] = getattr(module, attribute, None)
        found[f"{name} hooks"] = (len(module._forward_hooks), len(module._forward_pre_hooks))
    return found


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(
        torch.equal(value, two[name]) if isinstance(value, Tensor) else value == two[name]
        for name, value in one.items()
    )


def tried(remedy: str, made: tuple[nn.Module, int]) -> tuple[Treatment | None, str]:
    """What it did, or the reason that it gave."""
    try:
        return REMEDIES[remedy]().apply(adapted(made), spikes()), ""
    except st.SaltationError as error:
        return None, str(error)


def _usual(remedy: str, library: str) -> bool:
    """Whether ours, or the peer whose turn it is."""
    peers = [name for name in LIBRARIES if name != "saltation"]
    return library in ("saltation", peers[list(REMEDIES).index(remedy) % len(peers)])


@pytest.mark.parametrize(
    ("remedy", "library"),
    [
        pytest.param(remedy, library, marks=() if _usual(remedy, library) else pytest.mark.slow)
        for remedy in REMEDIES
        for library in LIBRARIES
    ],
)
def test_every_remedy_changes_or_refuses(remedy: str, library: str) -> None:
    """What it changed is named, and modes stay; refusing, it says why and changes nothing."""
    made = LIBRARIES[library](linears(gain=1.0))
    made[0].eval()
    before, random = state(made[0]), torch.get_rng_state()
    done, error = tried(remedy, made)
    if done is None:
        assert f"{remedy} was not applied: " in error
        assert error.endswith("The network is as it was")
        assert "\n" not in error
        assert same(before, state(made[0]))
    else:
        assert done.remedy == remedy
        assert done.changed
        assert set(done.changed) <= {name for name, _ in made[0].named_modules()}
        assert done.before.keys() == done.after.keys()
        assert not same(before, state(made[0]))
        assert all(name in str(done) for name in done.changed)
        assert not any(module.training for module in made[0].modules())
    assert torch.equal(random, torch.get_rng_state())
    assert output(taken(adapted(made), spikes())[0], spikes()).isfinite().all()


def test_every_remedy_says_what_it_is_for() -> None:
    for name, remedy in REMEDIES.items():
        assert remedy.name == name
        assert remedy.answers
        assert remedy.what
        assert remedy.cost
        assert remedy.__doc__


def test_the_best_remedy_of_a_finding_comes_first() -> None:
    """And all that answer it follow."""
    first = {
        "steep surrogate": "surrogate_width",
        "silent": "homeostasis",
        "saturated": "homeostasis",
        "vanishing gradient": "surrogate_width",
        "modes disagree": "statistics_per_step",
        "chaotic": "surrogate_width",
    }
    for finding, name in first.items():
        found = remedies_for(finding)
        assert found[0] == name, finding
        assert set(found) == {n for n, r in REMEDIES.items() if finding in r.answers}
    assert remedies_for("rust") == []


def test_findings_name_their_remedies() -> None:
    """In the printed diagnosis after what to try; notes and what no remedy answers name none."""
    torch.manual_seed(0)
    network: Any = nn.Sequential(nn.Linear(20, 30), st.LIF(), nn.Linear(30, 5))
    network[0].spare = nn.Linear(3, 3)
    network[2].bias.requires_grad_(False)
    with torch.no_grad():
        network[0].weight.zero_()
    printed = str(found := st.diagnose(network, spikes(), torch.arange(24) % 5))
    (silent,) = (one for one in found.findings if one.kind == "silent")
    assert silent.remedies == remedies_for("silent")
    assert silent.remedies[0] == "homeostasis"
    assert f"Try: {silent.advice}; remedies: {', '.join(silent.remedies)}.\n" in printed
    (unused,) = (one for one in found.findings if one.kind == "unused")
    assert unused.remedies == []
    assert str(unused).endswith(f" Try: {unused.advice}.")
    refuted = silent._replace(advice="")
    assert refuted.remedies == found.notes[0].remedies == []
    assert str(refuted) == f"{silent.what}."


WIDTHS = {"saltation": (0.3, 1.2), "snntorch loop": (1.2,), "spikingjelly s": (1.2,)}


@pytest.mark.parametrize(
    ("library", "c"),
    [
        pytest.param(name, c, marks=() if c in WIDTHS.get(name, (0.3,)) else pytest.mark.slow)
        for name in LIBRARIES
        for c in (0.3, 1.2)
    ],
)
def test_surrogates_become_as_wide_as_potentials_spread(library: str, c: float) -> None:
    """Times c, in every layer by itself, so that it reaches most of them; spikes stay."""
    made, x = LIBRARIES[library](linears()), spikes()
    y = torch.arange(24) % 5
    before = st.diagnose(adapted(made), x, y, trial=0)
    SurrogateWidth(c).apply(adapted(made), x)
    after = st.diagnose(adapted(made), x, y, trial=0)
    assert len(after.layers) == 3
    for one, two in zip(before.layers, after.layers, strict=True):
        assert (two.rate, two.spread) == (one.rate, one.spread)
        assert one.width < 0.1
        assert two.width == pytest.approx(c * two.spread, rel=0.06)
        assert two.reached > one.reached


def test_a_surrogate_without_a_slope_gives_way() -> None:
    """In snnTorch to saltation's, in words; a spike function that is no step is refused."""
    neuron = imported("snntorch").Leaky(beta=0.9, init_hidden=True)
    neuron.spike_grad = lambda u: st.surrogate.Gaussian(0.01)(u)
    network = nn.Sequential(nn.Linear(20, 8), neuron)
    done = SurrogateWidth().apply(network, spikes())
    assert done.changed["1"].startswith("saltation's FastSigmoid(slope=")
    assert done.after["1"] == pytest.approx(0.6, rel=0.03)
    graded = nn.Sequential(
        nn.Linear(20, 8), st.LIF(surrogate=st.surrogate.Smooth(st.surrogate.Sigmoid()))
    )
    with pytest.raises(st.SaltationError, match=r"has no (surrogate's )?width"):
        SurrogateWidth().apply(graded, spikes())


def deep(layers: int, **neuron: Any) -> nn.Sequential:
    """A plain perceptron with Kaiming's weights."""
    torch.manual_seed(0)
    made: list[nn.Module] = []
    for place in range(layers):
        linear = nn.Linear(20 if place == 0 else 64, 64, bias=False)
        nn.init.kaiming_normal_(linear.weight)
        made += [linear, st.LIF(**neuron)]
    return nn.Sequential(*made, nn.Linear(64, 5))


def test_spike_aware_variance_wakes_a_deep_perceptron() -> None:
    """All of 30 layers fire at nearly the rate that depth keeps; all but four were silent."""
    network, x = deep(30, tau=2.0), spikes()
    before = rates(network, x)
    assert sum(rate > 0 for rate in before.values()) <= 4
    done = SpikeAwareVariance().apply(network, x)
    after = rates(network, x)
    kept = balance(network[1].neuron, 8).rate
    assert done.before == pytest.approx(before)
    assert done.after == pytest.approx(after)
    assert all(0.6 * kept < rate < 1.4 * kept for rate in after.values())


@pytest.mark.parametrize("xi", [1.0, 2.0])
def test_fluctuation_driven_potentials(xi: float) -> None:
    """Without jumps, whatever the layer: threshold is about ξ root mean squares of the potential.

    White currents would make it exact; those of a fixed pattern of rates add what stays in time.
    """
    network, x = deep(3, tau=3.0, jump="none"), spikes(steps=40)
    FluctuationDriven(xi=xi).apply(network, x)
    currents = network[0](x)
    square = currents.square().mean()
    gain = potential_gain(network[1].neuron)
    assert float(square.sqrt()) == pytest.approx(gain / xi, rel=0.05)


def test_potential_gain_multiplies_weights() -> None:
    network, x = deep(3, tau=4.0), spikes()
    weights = [m.weight.clone() for m in network if isinstance(m, nn.Linear)]
    PotentialGain().apply(network, x)
    gain = potential_gain(network[1].neuron)
    after = [m.weight for m in network if isinstance(m, nn.Linear)]
    for one, two in zip(weights[:-1], after[:-1], strict=True):
        torch.testing.assert_close(two, gain * one)
    assert torch.equal(weights[-1], after[-1])


@every_library
@pytest.mark.parametrize("fault", ["silent", "saturated"])
def test_homeostasis_brings_layers_to_a_rate(library: str, fault: str) -> None:
    """The layer with the fault, and those that follow from it; a first layer that fires is left."""
    maps = linears()
    with torch.no_grad():
        if fault == "silent":
            maps[1].weight.mul_(1e-3)
            maps[1].bias.mul_(1e-3)
        else:
            maps[1].bias.fill_(30.0)
    made, x = LIBRARIES[library](maps), spikes()
    before = list(rates(adapted(made), x).values())
    assert before[1] == 0 if fault == "silent" else before[1] > 0.9
    first = maps[0].weight.clone()
    done = Homeostasis().apply(adapted(made), x)
    after = list(rates(adapted(made), x).values())
    assert all(0.02 <= rate <= 0.6 for rate in after)
    assert torch.equal(first, maps[0].weight)
    assert len(done.changed) <= 2


@every_library
def test_a_relay_passes_spikes_on(library: str) -> None:
    """Square maps become the identity and some of their own; the first and last stay."""
    maps = linears()
    with torch.no_grad():
        for linear in maps:
            linear.bias.zero_()
    made, x = LIBRARIES[library](maps), spikes()
    before = [m.weight.clone() for m in maps]
    RelayStart(noise=0.0).apply(adapted(made), x)
    for place in (0, 3):
        assert torch.equal(maps[place].weight, before[place])
    for place in (1, 2):
        size = float(before[place].square().sum() / 40) ** 0.5
        torch.testing.assert_close(maps[place].weight.detach(), size * torch.eye(40))
    assert size > 1.0
    found = list(rates(adapted(made), x).values())
    assert found[2] > 0.5 * found[0]


def test_a_relay_of_convolutions_keeps_maps_in_place() -> None:
    """The centre of every kernel that keeps the shape; others are left."""
    torch.manual_seed(0)
    network = st.spiking_vgg(1, 5, 8, stages=2, blocks_per_stage=3, base_channels=4, steps=3)
    x = st.direct(torch.rand(6, 1, 8, 8), 3)
    weights = {n: p.clone() for n, p in network.named_parameters()}
    done = RelayStart(noise=0.1).apply(network, x)
    assert set(done.changed) == {f"stages.{i}.{j}.conv" for i in (0, 1) for j in (1, 2)}
    for name, parameter in network.named_parameters():
        module = name.removesuffix(".weight")
        if module not in done.changed:
            assert torch.equal(parameter, weights[name])
            continue
        own = weights[name]
        expected = 0.1 * own
        size = (own.square().sum() / len(own)).sqrt()
        for channel in range(len(own)):
            expected[channel, channel, 1, 1] += size
        torch.testing.assert_close(parameter.detach(), expected)
    with pytest.raises(st.SaltationError, match="0 of its convolutions"):
        RelayStart().apply(deep(1), spikes())


def test_growth_over_depth_is_set() -> None:
    """As `set_depth_growth` does, where the surrogate lets tangents through."""
    network, x = deep(4, tau=2.0, surrogate=st.surrogate.Sigmoid(1.0)), spikes()
    SpikeAwareVariance().apply(network, x)
    done = GrowthOverDepth(target=-0.3).apply(network, x)
    found = st.depth_growth(network, x).growth.mean(1)
    assert (found + 0.3).abs().max() < 0.11
    assert list(done.after.values()) == pytest.approx(found.tolist())
    with pytest.raises(st.SaltationError, match="one layer of neurons alone"):
        GrowthOverDepth().apply(deep(1), x)


def vgg(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return st.spiking_vgg(
        1, 5, 8, stages=2, blocks_per_stage=2, base_channels=8, steps=4, **BENCHMARK | options
    )


PICTURES = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("remedy", [StatisticsPerStep, StatisticsOfAllSteps])
def test_statistics_make_evaluation_training(remedy: Any) -> None:
    """Of a VGG: weights stay the same parameters by the same names, and modes agree."""
    network = vgg()
    names = {name: id(p) for name, p in network.named_parameters()}
    done = remedy().apply(network, st.direct(PICTURES, 4))
    assert {name: id(p) for name, p in network.named_parameters()} == names
    assert len(done.changed) == 4
    worst = [max(abs(v) for v in d.values()) for d in (done.before, done.after)]
    assert worst[1] < 0.2 * worst[0]
    assert network(PICTURES).isfinite().all()
    network(PICTURES)
    assert network.eval()(PICTURES).isfinite().all()
    with pytest.raises(st.SaltationError, match="no normalisation"):
        remedy().apply(network, st.direct(PICTURES, 4))


@pytest.mark.parametrize("name", ["snntorch loop", "spikingjelly s"])
def test_statistics_of_steps_in_a_loop(name: str) -> None:
    """A normalisation that is called once a step has statistics of each, as one of sequences; a
    copy counts for itself, and every sequence begins again."""
    maps = linears()
    made, x = LIBRARIES[name](maps, norm=True), spikes()
    plain = copy.deepcopy(made[0])
    StatisticsPerStep().apply(adapted(made), x)
    network = copy.deepcopy(made[0])
    functional = imported("spikingjelly.activation_based.functional")

    def passed(net: nn.Module) -> Tensor:
        if name == "snntorch loop":
            return net(x)
        out = torch.stack([net(step) for step in x])
        functional.reset_net(net)
        return out

    torch.testing.assert_close(passed(network), passed(plain))  # in training nothing changed
    norm = network.norm if name == "snntorch loop" else network[3]
    seen: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    passed(network)
    hook.remove()
    sequence = torch.stack(seen)
    peer = st.SpikingBatchNorm1d(40, 8)
    for _ in range(2):
        peer(sequence)
    torch.testing.assert_close(norm.running_mean, peer.running_mean)
    torch.testing.assert_close(norm.running_var, peer.running_var)
    one = passed(network.eval())
    torch.testing.assert_close(passed(network), one)
    original = made[0].norm if name == "snntorch loop" else made[0][3]
    assert original.num_batches_tracked.tolist() == [0] * 8
    growth = st.depth_growth(st.adapt(network, batch_dim=1), x).growth
    assert growth.isfinite().all()
    torch.testing.assert_close(passed(network), one)


def test_a_loop_outside_is_refused_where_nothing_says_that_it_begins() -> None:
    """snnTorch's hidden states: another sequence looks like a further step."""
    snn = imported("snntorch")
    network = nn.Sequential(
        nn.Linear(20, 8), nn.BatchNorm1d(8), snn.Leaky(beta=0.9, init_hidden=True)
    )
    with pytest.raises(st.SaltationError, match="put the loop into the network's forward"):
        StatisticsPerStep().apply(network, spikes())


def test_what_an_error_interrupts_is_undone() -> None:
    """Weights that were scaled before a later layer turned out to have none of its own."""
    maps = linears()
    network = nn.Sequential(maps[0], st.LIF(beta=1.0), maps[1], st.LIF(beta=0.9), maps[-1])
    before = state(network)
    with pytest.raises(st.SaltationError, match="take a neuron that leaks"):
        PotentialGain().apply(network, spikes())
    with pytest.raises(st.SaltationError, match="take a neuron that leaks"):
        FluctuationDriven().apply(network, spikes())
    with torch.no_grad():
        maps[1].weight.zero_()
        maps[1].bias.zero_()
        maps[0].weight.mul_(1e-6)
        maps[0].bias.mul_(1e-6)
    before = state(network)
    with pytest.raises(st.SaltationError, match="zero everywhere"):
        Homeostasis().apply(network, spikes())
    assert same(before, state(network))
    assert maps[0].weight.abs().max() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SurrogateWidth(0.0), "c must be a finite number above 0, got 0.0"),
        (lambda: FluctuationDriven(xi=math.nan), "xi must be a finite number above 0, got nan"),
        (lambda: RelayStart(noise=-1.0), "noise must be at least 0, got -1.0"),
        (lambda: Homeostasis(target=0.7), "0 < low < target < high < 1, got 0.02, 0.7 and 0.6"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        make()
