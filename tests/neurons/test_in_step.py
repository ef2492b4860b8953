"""Spikes at their own times within a step, against solutions without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.neurons import NEURONS
from tests.facts import lif_interval

D = torch.float64
# Input under which each spikes soon, and the longest dt that its shape bears.
DRIVES = {
    "adex": (3.0, 1 / 16),
    "adlif": (4.0, 1 / 16),
    "alif": (3.0, 1 / 16),
    "balanced_resonate_and_fire": (1.5, 1 / 16),
    "cuba_lif": (3.0, 1 / 16),
    "eif": (1.5, 1 / 16),
    "hodgkin_huxley": (40.0, 1 / 32),
    "izhikevich": (3.0, 1 / 16),
    "izhikevich_2003": (60.0, 1 / 32),
    "lif": (2.5, 1 / 16),
    "plif": (2.5, 1 / 16),
    "qif": (1.0, 1 / 16),
    "resonate_and_fire": (1.8, 1 / 16),
}
# Of each kind one: a kink at the threshold, a moving threshold, fast variables, a resonance.
QUICK = {"eif", "alif", "hodgkin_huxley", "izhikevich_2003", "resonate_and_fire"}


def spikes(layer: Any, x: Any, steps: int) -> Tensor:
    """Times of the spikes of one neuron."""
    with torch.no_grad():
        times = layer.spike_times(torch.full((steps, 1, 1), x, dtype=D))[:, 0, 0]
    return times[torch.isfinite(times)]


def test_every_model_has_a_drive() -> None:
    ours = {name for name, m in NEURONS.items() if m.__module__.startswith("saltation.")}
    assert ours == set(DRIVES)


@pytest.mark.parametrize("name", sorted(DRIVES))
def test_rk4_with_hermite_keeps_order_three_or_more(name: str, full: bool) -> None:
    """The error of two spikes, over a fourfold shorter step; or it is next to nothing.

    Of Hodgkin-Huxley one spike, whose jump is the threshold's alone.
    """
    if not full and name not in QUICK:
        return
    x, dt = DRIVES[name]
    count = 1 if name == "hodgkin_huxley" else 2
    exact = st.reference.simulate(NEURONS[name](), x, 20.0).spike_times[:count]
    errors = []
    for step in (dt, dt / 4):
        layer = NEURONS[name].layer(dt=step, scheme="rk4", spike_time="hermite")
        found = spikes(layer, x, int(exact[-1] / step) + 2)[:count].numpy()
        errors.append(float(np.abs(found - exact).max()))
    assert errors[1] < 2e-6
    assert errors[0] / errors[1] > 4**3 or errors[1] < 1e-8


@pytest.mark.parametrize("scheme", st.LIF.neuron_type.schemes)
def test_every_scheme(scheme: str) -> None:
    """LIF by each, also implicit ones; the error is that of the scheme's own order, or of the
    interpolation's if that is lower."""
    period = lif_interval(2.0, 0.0, 1.5, 1.0)
    expected = period * np.arange(1, 3)
    own = {"exponential": 99}.get(scheme, st.SCHEMES[scheme].order)
    for kind, order in (("grid", 1), ("linear", 2), ("hermite", 4)):
        worst = []
        for dt in (1 / 4, 1 / 16):
            layer = st.LIF(tau=2.0, dt=dt, scheme=scheme, jump="soft", spike_time=kind)
            worst.append(np.abs(spikes(layer, 1.5, int(6 / dt))[:2].numpy() - expected).max())
        assert worst[1] < max(worst[0] / 4 ** (min(order, own) - 0.6), 1e-12)


def test_a_line_and_a_cubic_meet_the_threshold_where_they_should() -> None:
    """By hand: LIF by Euler rises by 0.25 x (1.5 - v) in a step of 0.5."""
    layer = st.LIF(tau=2.0, dt=0.5, scheme="euler", spike_time="linear")
    v, times, states = 0.0, [], []
    for t in range(8):
        h = v + 0.25 * (1.5 - v)
        if h >= 1:
            theta = (1 - v) / (h - v)
            times.append((t + theta) * 0.5)
            h = (1 - theta) * 0.25 * 1.5
        v = h
        states.append(v)
    x = torch.full((8, 1, 1), 1.5, dtype=D)
    assert spikes(layer, 1.5, 8).tolist() == pytest.approx(times, rel=1e-14)
    assert layer.record(x).states.v.flatten().tolist() == pytest.approx(states, rel=1e-14)


@pytest.mark.parametrize("kind", ["grid", "linear", "hermite"])
def test_layers_and_times_tell_of_the_same_spikes(kind: str) -> None:
    """A finite time within its step where there is a spike; in float32 too."""
    layer = st.Izhikevich(dt=0.25, scheme="rk4", spike_time=kind)
    x = 3 * torch.rand(80, 2, 5, generator=torch.Generator().manual_seed(1))
    out, times = layer(x), layer.spike_times(x)
    assert out.sum() > 20
    assert torch.equal(torch.isfinite(times), out > 0)
    theta = (times / 0.25 - torch.arange(80.0)[:, None, None])[out > 0]
    assert theta.min() >= -1e-4
    assert theta.max() <= 1 + 1e-4
    assert (theta.std() == 0) == (kind == "grid")


def test_what_cannot_have_it_says_so() -> None:
    class Doubling(st.Neuron):
        def step(self, x: Any, v: Any) -> Any:
            return (2 * v + x,)

    for make, says in (
        (lambda: st.LIF(spike_time="interpolate"), r"allowed: grid, linear, hermite"),
        (lambda: Doubling(spike_time="linear"), "discrete map"),
        (lambda: st.LIF(beta=0.9, spike_time="linear"), "give tau"),
        (lambda: st.LIF(jump="none", spike_time="linear"), "take hard or soft"),
        (lambda: st.LIF(jump="soft_delayed", spike_time="hermite"), "take hard or soft"),
        (lambda: st.LIF(refractory=2.0, spike_time="hermite"), "whole steps"),
        (
            lambda: st.LIF(spike_time="linear", backend="cpu")(torch.rand(4, 1, 2)),
            "a jump takes the state at the start of the step too",
        ),
    ):
        with pytest.raises(st.SaltationError, match=says):
            make()


def test_states_at_rest_and_far_above_stay_finite() -> None:
    """Also gradients, where nothing crosses, or a step begins above the threshold."""
    for kind in ("linear", "hermite"):
        layer = st.EIF(dt=1.0, scheme="rk4", spike_time=kind)
        x = torch.tensor([[0.0, 0.3, 2.0, 50.0, -50.0]] * 6, dtype=D)[:, None].requires_grad_()
        state = layer.rest(x[0])
        above = type(state)(*(part + 3.0 for part in state))
        for start in (state, above):
            out, last = layer(x, start)
            (gradient,) = torch.autograd.grad(out.sum() + sum(part.sum() for part in last), x)
            assert torch.isfinite(gradient).all()
            assert all(torch.isfinite(part).all() for part in last)
        first = layer.spike_times(x, above)[0, 0]
        assert first.tolist() == [0.0] * 5  # as solutions do, also where it would fall at once
