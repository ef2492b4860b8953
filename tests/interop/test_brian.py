"""Every spike as in Brian2, whose own were stored: it need not be installed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.interop.brian_cases import CASES, NEURONS, STEPS, Case, fingerprint, stored

SPIKES, MADE = stored()
MODELS = ("lif", "cuba_lif", "izhikevich")
# Brian2's rk2 is another method than ours where that makes a difference.
SHARED = [case for case in CASES if (case.model, case.method) != ("izhikevich", "rk2")]


def theirs(case: Case) -> Tensor:
    return torch.from_numpy(SPIKES[case.number])


def test_the_stored_spikes_are_of_these_cases() -> None:
    assert MADE["brian2"] == "2.9.0"
    assert MADE["fingerprint"] == fingerprint()
    assert STEPS * NEURONS * len(CASES) == 3_120_000
    # As docs/integrators.md has them.
    spikes = {
        model: sum(int(theirs(c).sum()) for c in SHARED if c.model == model) for model in MODELS
    }
    assert spikes == {"lif": 279_347, "cuba_lif": 245_182, "izhikevich": 9_269}


@pytest.mark.parametrize("which", sorted({(c.model, c.method, c.dtype) for c in SHARED}), ids=str)
def test_every_spike(which: tuple[str, str, str]) -> None:
    for case in SHARED:
        if (case.model, case.method, case.dtype) == which:
            ours = case.layer(case.currents)[:, 0].bool()
            assert 0.005 < ours.double().mean() < 0.5
            assert int((ours != theirs(case)).sum()) == 0, case


def test_rk2_of_brian_is_the_midpoint_rule() -> None:
    """Ours is Heun's, which on a parabola gives other spikes."""
    other = 0
    for case in CASES:
        if case in SHARED:
            continue
        neuron, x = case.layer.neuron, case.currents
        state, spikes = neuron.rest(x[0]), []
        for now in x:
            half = neuron.velocity(now, *state)
            middle = [u + neuron.dt / 2 * f for u, f in zip(state, half, strict=True)]
            whole = neuron.velocity(now, *middle)
            h = neuron.State(*[u + neuron.dt * f for u, f in zip(state, whole, strict=True)])
            spikes.append(h.v >= neuron.v_threshold)
            state = neuron.apply_jump(h, spikes[-1].double())
        assert torch.equal(torch.stack(spikes)[:, 0], theirs(case)), case
        other += int((case.layer(x)[:, 0].bool() != theirs(case)).sum())
    assert other == 3_609
