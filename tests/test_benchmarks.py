"""The benchmarks run: every contender takes a step at toy size. No time is asserted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

import saltation as st

pytest.importorskip("snntorch", reason="the benchmarks compare with snnTorch")
pytest.importorskip("spikingjelly", reason="the benchmarks compare with SpikingJelly")
pytest.importorskip("norse", reason="the benchmarks compare with Norse")

from benchmarks import converted, convolutions, deep, gpu, neurons, reward, sequences
from benchmarks.networks import BY_HAND, IZHIKEVICH, LIF, OURS, Task, trained
from benchmarks.timing import Step, Times, race, table
from saltation.learning import WinnerTakeAllNetwork
from saltation.models.vgg import BENCHMARK

TASK = Task(torch.rand(4, 12), torch.randint(3, (4,)), (12, 8, 7, 3), 5, 0.5)

contenders = [(name, build) for group in (LIF, IZHIKEVICH) for name, build in group.items()]


@pytest.mark.parametrize(("name", "build"), contenders)
def test_every_contender_trains(name: str, build: object) -> None:
    """Two steps; what torch.compile takes minutes for is left to the benchmark itself."""
    if "torch.compile" in name:
        name = "plain torch, all steps at once"
        build = LIF[name]
    step = build(TASK)  # type: ignore[operator]
    step(0)
    step(1)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("name", sequences.NAMES)
def test_every_contender_trains_on_recorded_spikes(name: str, recurrent: bool) -> None:
    step = sequences.made(name, recurrent, sequences.Sizes(12, 8, 3, 5, 4, 2))
    step(0)
    step(1)


def test_long_sequences_are_trained_in_windows() -> None:
    task = sequences.Long(torch.randn(2, 9, 3), torch.randn(2, 9, 1), 9)
    sequences.in_windows(4, task)(0)


def test_training_goes_on_from_weights_with_other_images() -> None:
    """Batches take turns, and every contender begins with the weights that training ended with."""
    task = trained(TASK._replace(batch=2), 2)
    assert [task.of_step(n)[0].equal(TASK.x[2 * (n % 2) :][:2]) for n in range(3)] == [True] * 3
    assert [w.shape for w in task.weights] == [(8, 12), (7, 8), (3, 7)]
    for name in (OURS, BY_HAND, "snnTorch 1.0, products at once"):
        LIF[name](task)(2)
    with pytest.raises(ValueError, match="zip"):
        LIF[BY_HAND](task._replace(weights=task.weights[:2]))


@pytest.mark.parametrize("name", deep.DEEP)
def test_every_deep_network_trains(name: str) -> None:
    """Four steps, of which ours regularised estimates λ in one."""
    images = deep.batch(3, 16)._replace(blocks=1, base_channels=2, steps=2)
    deep.repeated(name, images, 2)(0)


@pytest.mark.parametrize("name", convolutions.CONVOLUTIONS)
def test_every_convolution_has_gradients(name: str) -> None:
    convolutions.made(name, 0.1, channels=16, side=3)(0)


def test_deep_networks_are_the_same() -> None:
    """With the same weights snnTorch's network and ours have the same logits."""
    images = deep.batch(3, 16)._replace(base_channels=4)
    looped = deep.Looped(images)
    ours = st.spiking_vgg(3, 10, 16, base_channels=4, **BENCHMARK)
    looped.readout.eval()
    ours.dropout.eval()
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), looped.parameters(), strict=True):
            mine.copy_(theirs)
        torch.testing.assert_close(ours(images.x), looped(images.x)[0], rtol=1e-4, atol=1e-4)


def test_reward_networks_agree() -> None:
    """The network and the plain loop count the same spikes of both layers."""
    torch.manual_seed(0)
    net = WinnerTakeAllNetwork(60, dt=reward.DT)
    x = st.poisson(torch.rand(6, 60), reward.STEPS, method="bernoulli")
    labels = torch.arange(6)
    activity = net(x, labels, reward.TEACH)
    ours = activity.hidden_counts, activity.output_counts
    for one, two in zip(ours, reward.by_steps(net, x * 1, labels), strict=True):
        assert 0 < one.sum() < one.numel() * reward.STEPS
        # A potential within rounding of threshold may fall on either side.
        assert (one - two).abs().sum() <= 2e-3 * two.sum()


@pytest.mark.parametrize("name", reward.REWARD)
def test_every_contender_learns_by_reward(name: str) -> None:
    reward.REWARD[name]((torch.rand(3, 5), torch.arange(3)))(0)


def idle(problem: bool) -> Step:
    """A step that does nothing."""
    if problem:
        raise ValueError("no such step")
    return lambda number: None


def test_a_table_has_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    """Contenders down, settings across; one that fails is left out and the others go on."""
    builders = {name: partial(idle, name == "broken") for name in ("saltation", "broken", "peer")}
    times = race(builders, rounds=4, warm_up=1)
    assert list(times) == ["saltation", "peer"]
    assert "left out: broken: ValueError: no such step" in capsys.readouterr().err
    lines = table("A", {"dt = 1": times}).splitlines()
    assert lines[4].startswith("| saltation |")
    assert lines[5].endswith(" x |")


def test_the_gpu_benchmark_runs_without_one(tmp_path: Path) -> None:
    """Every workload with everybody's neurons at toy size; all of them spike alike."""
    gpu.main(["--smoke", "--out", str(tmp_path)])
    said = (tmp_path / "gpu.md").read_text()
    quick = [name for name in neurons.NEURONS if "compile" not in name]
    assert len(quick) == 4
    assert said.count("0.00% of its spikes are not those of plain torch") == len(quick)
    for workload in gpu.WORKLOADS.values():
        assert said.count(f"### {workload.title}") == 1
    assert all(said.count(f"\n| {name} |") == len(gpu.WORKLOADS) for name in quick)
    figures = {path.name for path in tmp_path.glob("*.png")}
    assert figures == {f"gpu-{name}.png" for name in gpu.WORKLOADS}


def test_the_gpu_benchmark_says_that_there_is_none(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(SystemExit, match="there is no GPU here"):
            gpu.main(["--out", str(tmp_path / "none")])
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["dense", "csnn"])
def test_a_converted_network_takes_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every contender trains, and the table's line has their ratios."""
    monkeypatch.setitem(converted.SIZES, name, (0.02, 2))
    for contender in converted.contenders(name):
        converted.step_of(name, contender)(0)
    times = {who: Times([2.0, 4.0]) for who in converted.contenders(name)}
    assert converted.row(name, times).count("3 (1.0 x)") == len(times) - 1
