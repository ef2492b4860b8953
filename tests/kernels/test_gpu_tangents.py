"""Printed loops that carry a tangent, under Triton's interpreter: against torch's forward mode."""

from __future__ import annotations

import pytest
import torch

from saltation.kernels import reference
from saltation.kernels.gpu import loop
from saltation.neurons import NEURONS
from tests.kernels.test_tangents import CASES, carried, drawn, gradients, near

pytest.importorskip("triton", "3.6", reason="these loops are Triton's, from 3.6 on")

_QUICK = ("late", "two")


@pytest.mark.parametrize(
    "name", [n if n in _QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_what_is_carried_is_torchs_forward_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    model, scale, options = CASES[name]
    neuron = NEURONS[model](**options)
    given = [part.requires_grad_() for part in drawn(neuron, scale)]
    ours, same = carried(loop.run, neuron, given), carried(reference.run, neuron, given)
    assert 0 < same[0].sum() < same[0].numel()
    assert all(map(torch.equal, ours[: len(ours) // 2], same[: len(same) // 2]))
    assert all(map(near, ours, same))
    assert all(map(near, gradients(ours, given), gradients(same, given)))
