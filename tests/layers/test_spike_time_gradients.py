"""Derivatives of spike times, against differences of solutions without a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st

D = torch.float64
# Three channels of current, each constant for 1 unit of time.
CHANNELS = np.array([[1.0, 0.4, 1.2, 0.7], [0.3, 1.0, 0.2, 0.9], [0.6, 0.1, 1.0, 0.5]])
WEIGHTS = np.array([[2.7, 0.6, 0.4], [0.5, 2.9, 0.8], [1.9, 1.4, 1.5]])
HOLD = 1.0
T_END = CHANNELS.shape[1] * HOLD


def in_order(times: Tensor) -> Tensor:
    """Finite times of one neuron."""
    return times[torch.isfinite(times.detach())]


def exact_times(neuron: Any, weights: Any) -> list[Any]:
    """Spike times of every neuron of a layer that the channels drive."""
    starts = HOLD * np.arange(CHANNELS.shape[1])
    drives = weights @ CHANNELS
    return [st.reference.simulate(neuron, (starts, x), T_END, 1e-12).spike_times for x in drives]


def driven(layer: Any, weights: Tensor, dt: float) -> Tensor:
    held = torch.from_numpy(CHANNELS.T).repeat_interleave(round(HOLD / dt), 0)
    return layer.spike_times((held @ weights.T)[:, None])[:, 0]


def differences(value: Any, at: Any, by: float = 1e-6) -> Any:
    """Central ones, of every entry."""
    found = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        move = np.zeros_like(at)
        move[place] = by
        found[place] = (value(at + move) - value(at - move)) / (2 * by)
    return found


@pytest.mark.parametrize("layer", [st.LIF, st.Izhikevich])
def test_weights(layer: Any) -> None:
    """A layer with channels of current: a sum of all its spike times, each with a factor."""
    dt = 1 / 8
    made = layer(dt=dt, scheme="rk4", spike_time="hermite")
    weights = torch.tensor(WEIGHTS, requires_grad=True)
    times = [in_order(part) for part in driven(made, weights, dt).unbind(1)]
    exact = exact_times(made, WEIGHTS)
    assert sum(map(len, exact)) >= 5
    factors = [np.cos(np.arange(len(part)) + k) for k, part in enumerate(exact)]
    for own, part in zip(times, exact, strict=True):
        assert own.detach().numpy() == pytest.approx(part, abs=1e-4)

    def loss(parts: list[Any]) -> Any:
        return sum(f @ part for f, part in zip(factors, parts, strict=True))

    total: Any = sum(torch.from_numpy(f) @ t for f, t in zip(factors, times, strict=True))
    (gradient,) = torch.autograd.grad(total, weights)
    expected = differences(lambda w: loss(exact_times(made, w)), WEIGHTS)
    assert gradient.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_learned_parameters() -> None:
    """The time constant and the threshold of a neuron that adapts."""
    x, dt, t_end = 4.0, 1 / 16, 6.0
    given = torch.full((int(t_end / dt), 1, 1), x, dtype=D)
    layer = st.ALIF(
        tau=st.learn(2.0), v_threshold=st.learn(1.0, "none"), dt=dt, scheme="rk4",
        spike_time="hermite",
    ).double()  # fmt: skip
    last = in_order(layer.spike_times(given)[:, 0, 0])[-1]
    last.backward()

    def of(values: Any) -> Any:
        neuron = st.ALIF(tau=float(values[0]), v_threshold=float(values[1]))
        return st.reference.simulate(neuron, x, t_end, 1e-12).spike_times[-1]

    expected = differences(of, np.array([2.0, 1.0]))
    raw = layer.learned["tau"]
    slope = torch.sigmoid(raw.detach())  # of softplus, which keeps tau above 0
    assert float(raw.grad / slope) == pytest.approx(expected[0], rel=1e-4)
    assert float(layer.learned["v_threshold"].grad) == pytest.approx(expected[1], rel=1e-4)


@pytest.mark.parametrize("tau_syn", [0.0, 1.0])
def test_weights_of_impulses(tau_syn: float) -> None:
    """Spikes with weights drive neurons, by jumps of the potential or of a synapse's current. A
    spike that an impulse brings at once comes when the impulse does, whatever its weight."""
    dt, steps = 0.25, 16
    drawn = np.random.default_rng(3)
    given = (drawn.random((steps, 6)) < 0.35).astype(float)
    weights = drawn.uniform(0.4, 1.3, (4, 6)) * (1 - 0.4 * tau_syn)
    synapse = {"tau_syn": tau_syn} if tau_syn else {}
    kind = st.CubaLIF if tau_syn else st.LIF
    layer = kind(dt=dt, input="impulse", spike_time="hermite", v_rest=0.3, **synapse)

    def exact(w: Any) -> list[Any]:
        charges = given @ w.T
        found = [st.reference.simulate(layer, one, steps * dt, 1e-12) for one in charges.T]
        return [one.spike_times for one in found]

    known = torch.from_numpy(weights).requires_grad_()
    times = layer.spike_times((torch.from_numpy(given) @ known.T)[:, None])[:, 0]
    ours = [in_order(part) for part in times.unbind(1)]
    theirs = exact(weights)
    assert sum(map(len, theirs)) >= 10
    for own, other in zip(ours, theirs, strict=True):
        assert own.detach().numpy() == pytest.approx(other, abs=1e-9)
    sum(own.sum() for own in ours).backward()  # type: ignore[union-attr]
    expected = differences(lambda w: sum(one.sum() for one in exact(w)), weights)
    assert known.grad is not None
    assert known.grad.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if tau_syn:
        assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("scheme", ["exponential", "rk4"])
def test_two_layers(scheme: str) -> None:
    """Through the times of the first layer's spikes to those of the second, which they drive at
    these times through synapses: spike times and their derivatives for both layers' weights."""
    dt, out = 1 / 8, np.array([[2.5, 1.5, -0.6], [0.7, 1.4, 2.0]])
    settings: Any = {"tau": 2.0, "dt": dt, "scheme": scheme, "spike_time": "hermite"}
    second = st.CubaLIF(tau_syn=1.5, **settings)

    def exact(first: Any, then: Any) -> Any:
        times = exact_times(st.LIF(tau=2.0), first)
        found = []
        for row in then:
            charges = np.concatenate([np.full(len(t), w) for w, t in zip(row, times, strict=True)])
            pulses = st.reference.Pulses(np.concatenate(times), charges)
            found.append(st.reference.simulate(second, pulses, T_END, 1e-12).spike_times)
        return found

    known = torch.from_numpy(WEIGHTS).requires_grad_()
    then = torch.from_numpy(out).requires_grad_()
    hidden = driven(st.LIF(**settings), known, dt)[:, None]
    ours = [in_order(t) for t in st.timed_spikes(second, hidden, then, T_END)[:, 0].unbind(1)]
    theirs = exact(WEIGHTS, out)
    assert sum(map(len, theirs)) >= 4
    tolerance = 1e-9 if scheme == "exponential" else 2e-5
    for own, other in zip(ours, theirs, strict=True):
        assert own.detach().numpy() == pytest.approx(other, abs=tolerance)
    sum(own.sum() for own in ours).backward()  # type: ignore[union-attr]

    def total(first: Any, then: Any) -> Any:
        return sum(one.sum() for one in exact(first, then))

    for found, expected in (
        (known.grad, differences(lambda w: total(w, out), WEIGHTS)),
        (then.grad, differences(lambda w: total(WEIGHTS, w), out)),
    ):
        assert found is not None
        assert np.abs(expected).max() > 0.3
        assert found.numpy() == pytest.approx(expected, rel=2e-4, abs=2e-4)


def test_timed_spikes_refuse() -> None:
    times, weight = torch.rand(4, 2, 3), torch.rand(5, 3)
    layer = st.LIF(spike_time="linear")
    assert st.timed_spikes(layer, times, weight, 3.0).shape[1:] == (2, 5)
    for given, says in (
        ((st.LIF(), times, weight), "spike_time 'linear' or 'hermite'"),
        ((layer, times[0], weight), r"times must be \[T, B, F\]"),
        ((layer, times, weight.T), r"weight \[N, F\], got \[4, 2, 3\] and \[3, 5\]"),
    ):
        with pytest.raises(st.SaltationError, match=says):
            st.timed_spikes(*given, 3.0)
