"""The network whose outputs compete: its definition, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.learning import WinnerTakeAllNetwork
from tests.learning.plain import counts_by_hand


def on_grid(net: WinnerTakeAllNetwork, scale: float = 1.0) -> WinnerTakeAllNetwork:
    """Weights of which every sum is exact in float32, whatever its order."""
    for layer in (net.input, net.output):
        layer.weight.copy_((64 * scale * layer.weight).round() / 64)
    return net


def network(features: int = 6, hidden: int = 9, classes: int = 3, **more: Any) -> Any:
    torch.manual_seed(0)
    # Gains and numbers of a step that are exact in binary: dt / tau = 1/4.
    settings = {"tau": 2.0, "dt": 0.5, "input_gain": 4.0, "output_gain": 4.0, "v_threshold": 0.25}
    return on_grid(WinnerTakeAllNetwork(features, hidden, classes, **settings | more), 2.0)


def spikes(steps: int, batch: int, features: int, seed: int = 0) -> Tensor:
    x = torch.rand(batch, features, generator=torch.Generator().manual_seed(seed))
    return st.poisson(x, steps, method="bernoulli", seed=seed)


@settings(max_examples=25)
@given(
    steps=some.integers(1, 12),
    batch=some.integers(1, 4),
    teach=some.sampled_from([0.0, 0.5, 1.0]),
    seed=some.integers(0, 20),
)
def test_counts_are_those_of_the_equations(steps: int, batch: int, teach: float, seed: int) -> None:
    """Spike by spike in plain numbers, without a tensor in between."""
    net, x = network(), spikes(steps, batch, 6, seed)
    labels = [(b + seed) % 3 for b in range(batch)]
    activity = net(x, torch.tensor(labels), teach)
    hidden, outputs = counts_by_hand(net, x, labels, teach)
    assert activity.hidden_counts.tolist() == hidden
    assert activity.output_counts.tolist() == outputs


def test_the_case_of_the_property_test_spikes() -> None:
    """Both layers are neither silent nor always on, and teaching makes a difference."""
    net, x = network(), spikes(12, 4, 6)
    free, taught = net(x), net(x, torch.tensor([0, 1, 2, 0]), 1.0)
    for activity in (free, taught):
        assert 0.05 < activity.hidden.mean() < 0.9
        assert 0.05 < activity.outputs.mean() < 0.9
    assert not torch.equal(free.output_counts, taught.output_counts)
    assert torch.equal(free.hidden, taught.hidden)


def test_one_spike_a_step_and_sample_at_most() -> None:
    activity = network()(spikes(40, 5, 6))
    assert activity.outputs.sum(2).max() == 1
    assert torch.equal(activity.outputs.sum(0), activity.output_counts)
    assert torch.equal(activity.hidden.sum(0), activity.hidden_counts)
    assert activity.steps == 40


def test_the_largest_current_wins_though_another_neuron_spiked() -> None:
    """Output 0 reaches threshold by what it has kept; output 1 has the larger current."""
    net = WinnerTakeAllNetwork(
        2, 2, 2, tau=4.0, dt=1.0, input_gain=1.0, output_gain=1.0, v_threshold=1.0
    )
    net.input.weight.copy_(2 * torch.eye(2))
    net.output.weight.copy_(torch.tensor([[0.75, 0.5], [0.0, 0.625]]))
    x = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    activity = net(x)
    # Step 1: u = (0.75, 0). Step 2: u = (0.5625 + 0.5, 0.625): output 0 spikes, output 1 wins.
    assert activity.outputs.tolist() == [[[0.0, 0.0]], [[0.0, 1.0]]]


def test_a_silent_sample_answers_class_0() -> None:
    activity = network()(torch.zeros(3, 2, 6))
    assert activity.answers.tolist() == [0, 0]
    assert activity.silent.tolist() == [True, True]


def test_float64_and_other_schemes_run() -> None:
    """The reference runs where no kernel does."""
    net = network(scheme="exponential").double()
    activity = net(spikes(10, 3, 6).double())
    assert activity.outputs.dtype == torch.float64
    assert activity.output_counts.tolist() == counts_by_hand(net, spikes(10, 3, 6))[1]


@pytest.mark.parametrize(
    ("x", "more", "message"),
    [
        ((5, 2, 7), {}, r"must be \[T, B, 6\] .* got \[5, 2, 7\]"),
        ((0, 2, 6), {}, "at least one step"),
        ((5, 6), {}, r"got \[5, 6\]"),
        ((5, 2, 6), {"labels": torch.tensor([0, 3])}, r"labels must be in 0..2, got 0 to 3"),
        ((5, 2, 6), {"labels": torch.tensor([-1, 0])}, r"labels must be in 0..2, got -1 to 0"),
        ((5, 2, 6), {"labels": torch.tensor([0])}, r"shape \[2\], got torch.int64 \[1\]"),
        ((5, 2, 6), {"labels": torch.tensor([0.0, 1.0])}, "one integer per sample"),
        ((5, 2, 6), {"teach": 1.0}, "a teaching current of 1 needs labels"),
        ((5, 2, 6), {"teach": -1.0, "labels": torch.tensor([0, 1])}, "teach must be a finite"),
    ],
)
def test_what_cannot_be_run_is_refused(x: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        network()(torch.zeros(x), **more)


def test_spikes_that_are_no_numbers_are_refused() -> None:
    """Integers, arrays and NaN, and labels in a list."""
    with pytest.raises(st.SaltationError, match=r"must be floating point, got torch\.int64"):
        network()(torch.ones(5, 2, 6).long())
    with pytest.raises(st.SaltationError, match="must be a torch tensor, got ndarray"):
        network()(np.zeros((5, 2, 6)))
    with pytest.raises(st.SaltationError, match="labels must be a torch tensor, got list"):
        network()(torch.zeros(5, 2, 6), [0, 1])
    with pytest.raises(st.NotFiniteError, match="NaN or infinity in 60 of 60 values"):
        network()(torch.full((5, 2, 6), torch.nan))


def test_numbers_of_numpy_and_torch() -> None:
    """Are taken by networks and rules."""
    made = WinnerTakeAllNetwork(np.int64(4), torch.tensor(3), 2, dt=np.float32(0.5))
    assert (made.input.weight.shape, made.output.weight.shape) == ((3, 4), (2, 3))
    assert made.neurons.neuron.dt == 0.5
    rule = st.TraceRSTDP(lr=np.float32(0.5), decay=torch.tensor(0.25), tau_plus=np.int64(3))
    assert rule == st.TraceRSTDP(lr=0.5, decay=0.25, tau_plus=3.0)
    for wrong in ("0.1", None, True, torch.ones(2)):
        with pytest.raises(st.SaltationError, match="lr must be a finite number above 0, got"):
            st.RSTDP(lr=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "hidden must be a positive integer, got 0"),
        ({"input_gain": 0.0}, "input_gain must be a finite number above 0"),
        ({"output_gain": float("nan")}, "output_gain must be"),
        ({"dt": -1.0}, "LIF dt must be"),
        ({"scheme": "symplectic"}, "symplectic"),
    ],
)
def test_networks_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        WinnerTakeAllNetwork(4, **{"classes": 2, **settings})
