"""Printed loops whose spikes feed back, under Triton's interpreter: spikes and last state are the
reference's to the bit, gradients those of float64 on the same spikes."""

from __future__ import annotations

import pytest
import torch

import saltation as st
from saltation.kernels.recurrent import RecurrentState
from tests.contracts.conftest import Case
from tests.kernels.test_cpu_loop import close
from tests.kernels.test_cpu_recurrent import F64, inputs, network, run

pytest.importorskip("triton", "3.6", reason="these loops are Triton's, from 3.6 on")

CASES = [
    Case("lif", {"dt": 0.5}, -1.0, 4.0),
    Case("lif", {"dt": 0.5, "jump": "soft_delayed"}, -1.0, 4.0),
    Case("cuba_lif", {"dt": 0.5, "scheme": "exponential_symplectic"}, -1.0, 4.0),
]


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_the_reference(case: Case) -> None:
    shape = (6, 3, 5)
    ours = run(network(case, 5, backend="triton"), inputs(case, shape))
    same = run(network(case, 5, backend="reference"), inputs(case, shape))
    exact = run(network(case, 5, F64, backend="reference"), inputs(case, shape, F64))
    assert 0 < ours.spikes.sum() < ours.spikes.numel()
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))
    assert torch.equal(ours.spikes.double(), exact.spikes), "choose a seed where they agree"
    assert all(map(close, ours.gradients, exact.gradients))


def test_what_is_learned_of_a_neuron_too() -> None:
    """The gradient of a time constant is the sum over all steps."""
    x = CASES[0].currents(6, 3, 5, dtype=torch.float32)
    found = {}
    for backend, dtype in (("triton", torch.float32), ("reference", F64)):
        torch.manual_seed(0)
        layer = st.Recurrent(st.LIF(tau=st.learn(torch.full((5,), 2.0)), backend=backend), 5)
        layer, currents = layer.to(dtype), x.to(dtype)
        start = RecurrentState(torch.zeros_like(currents[0]), layer.layer.rest(currents[0]))
        spikes, _ = layer(currents, start)
        weights = torch.linspace(-1, 1, spikes.numel(), dtype=dtype).view_as(spikes)
        (spikes * weights).sum().backward()
        assert spikes.sum() > 0
        found[backend] = [p.grad for p in layer.parameters() if p.grad is not None]
    assert len(found["triton"]) == len(found["reference"]) == 2
    assert all(map(close, found["triton"], found["reference"]))
