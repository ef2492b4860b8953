"""Readouts: values, and where their gradients go."""

from __future__ import annotations

import pytest
import torch

import saltation as st
from saltation.layers import READOUTS, Readout

# [T=3, B=1, 2 classes]
OUTPUTS = [[[1.0, -2.0]], [[4.0, -5.0]], [[4.0, 1.0]]]
VALUES = {
    "max": [4.0, 1.0],
    "mean": [3.0, -2.0],
    "sum": [9.0, -6.0],
    "last": [4.0, 1.0],
    "spike_count": [9.0, -6.0],
}
# Of the sum of the logits, [T, classes]; the tie of the first class goes to exactly one step.
GRADIENTS = {
    "mean": [[1 / 3, 1 / 3]] * 3,
    "sum": [[1.0, 1.0]] * 3,
    "last": [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]],
    "spike_count": [[1.0, 1.0]] * 3,
}


@pytest.mark.parametrize("kind", READOUTS)
def test_values(kind: str) -> None:
    """Each reduces time and keeps batch and classes."""
    assert Readout(kind)(torch.tensor(OUTPUTS)).tolist() == [VALUES[kind]]


@pytest.mark.parametrize("kind", GRADIENTS)
def test_gradients(kind: str) -> None:
    """Linear readouts spread the gradient as their formula says."""
    x = torch.tensor(OUTPUTS, requires_grad=True)
    Readout(kind)(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[:, 0], torch.tensor(GRADIENTS[kind]))


def test_max_sends_its_gradient_to_one_step() -> None:
    """At ties too, where amax would divide it."""
    x = torch.tensor(OUTPUTS, requires_grad=True)
    Readout("max")(x).sum().backward()
    assert x.grad is not None
    assert x.grad[:, 0].sum(0).tolist() == [1.0, 1.0]
    assert sorted(x.grad[:, 0, 0].tolist()) == [0.0, 0.0, 1.0]
    assert x.grad[0, 0, 0] == 0
    assert x.grad[:, 0, 1].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", READOUTS)
def test_bad_outputs_are_refused(kind: str) -> None:
    """A missing dimension, no step, integers, lists."""
    wrong = r"floating-point outputs \[T, B, classes\] of at least one step, got torch\."
    for outputs in (torch.rand(3, 2), torch.rand(0, 1, 2), torch.ones(3, 1, 2).long()):
        with pytest.raises(st.SaltationError, match=wrong):
            Readout(kind)(outputs)
    with pytest.raises(st.SaltationError, match="outputs must be a torch tensor, got list"):
        Readout(kind)(OUTPUTS)


def test_kind_shows() -> None:
    """In the module's repr."""
    assert repr(Readout("mean")) == "Readout('mean')"
