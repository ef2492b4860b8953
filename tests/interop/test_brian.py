"""Every spike as in Brian2, whose own were stored: it need not be installed. And potentials."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.parity import rows, table
from tests.interop import brian_traces
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


# Where Brian2 is installed beside saltation, what it gives now is compared too.
SOURCES = ["stored", *(["live"] if importlib.util.find_spec("brian2") else [])]


@pytest.fixture(scope="module", params=SOURCES)
def traces(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> brian_traces.Traces:
    path = brian_traces.STORED
    if request.param == "live":
        path = Path(tmp_path_factory.mktemp("brian"), "now.npz")
        brian_traces.run(sys.executable, path)
    found, made = brian_traces.stored(path)
    assert made["brian2"] == "2.9.0" or request.param == "live"
    assert made["fingerprint"] == brian_traces.fingerprint()
    return found


@pytest.mark.parametrize("model", brian_traces.METHODS)
def test_spikes_and_potentials(model: str, traces: brian_traces.Traces) -> None:
    """0 spikes differ and potentials are within 1e-10, for every scheme, jump and dt."""
    of_model = [
        pair for pair in zip(brian_traces.CASES, traces, strict=True) if pair[0][0] == model
    ]
    jumps = {case.jump for case, _ in of_model}
    assert jumps == set(brian_traces.JUMPS[model])
    for case, (spikes, potentials) in of_model:
        ours, ours_v = case.ours()
        assert 10 < spikes.sum() < 0.9 * spikes.size, case
        assert not (ours != spikes).any(), case
        assert np.abs(ours_v - potentials).max() < 1e-10, case
        # Potentials in which something happens: not all of them at the reset or at rest.
        assert len(np.unique(potentials)) > len(potentials), case


def test_the_ledger_sees_what_it_should() -> None:
    """A spike moved by a step and a potential off by 1e-9 are each told."""
    place = next(i for i, case in enumerate(brian_traces.CASES) if case.model == "adex")
    case, (spikes, potentials) = brian_traces.CASES[place], brian_traces.stored()[0][place]
    (equal,) = rows([case], [(spikes, potentials)])
    (moved,) = rows([case], [(np.roll(spikes, 1, 0), potentials)])
    (off,) = rows([case], [(spikes, potentials + 1e-9)])
    assert (equal.is_equal, moved.is_equal, off.is_equal) == (True, False, False)
    assert "| adex | euler | euler | hard | 0.05 |" in table([equal])
