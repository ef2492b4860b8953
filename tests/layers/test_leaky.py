"""Leaky integrators, and masks of samples that end early."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.layers import READOUTS

F64 = torch.float64


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 200])
def test_potentials_are_those_of_a_loop(steps: int) -> None:
    """Whatever block a step falls into; states are handed on, and gradients go through them."""
    torch.manual_seed(0)
    x = torch.randn(steps, 2, 3, dtype=F64, requires_grad=True)
    alpha = math.exp(-0.5 / 7.0)
    y, expected = torch.zeros(2, 3, dtype=F64), []
    for current in x:
        y = alpha * y + (1 - alpha) * current
        expected.append(y)
    layer = st.LeakyIntegrator(7.0, 0.5)
    found = layer(x)
    torch.testing.assert_close(found, torch.stack(expected))
    first, state = layer(x[: steps // 2 + 1], layer.rest(x[0]))
    rest = layer(x[steps // 2 + 1 :], state)[0] if steps > 1 else first[:0]
    torch.testing.assert_close(torch.cat([first, rest]), found)
    weights = torch.randn_like(found)
    (wanted,) = torch.autograd.grad((torch.stack(expected) * weights).sum(), x)
    (given,) = torch.autograd.grad((found * weights).sum(), x)
    torch.testing.assert_close(given, wanted)


def test_another_dt_is_another_layer() -> None:
    """Its state dict says so, and `at_dt` gives it the dt of the neurons."""
    net = st.Sequential(st.SpikeLinear(3, 4), st.LIF(dt=1.0), st.LeakyIntegrator(5.0, 1.0))
    assert st.at_dt(net, 0.25).network[2].dt == 0.25
    with pytest.raises(st.OtherNumericsError, match="dt"):
        st.LeakyIntegrator(5.0, 0.5).load_state_dict(st.LeakyIntegrator(5.0).state_dict())


@pytest.mark.parametrize(
    ("x", "state", "message"),
    [
        (torch.zeros(0, 2, 3), None, r"at least one step, got torch.float32 \[0, 2, 3\]"),
        (torch.zeros(4), None, r"floating point \[T, B, ...\]"),
        (torch.zeros(4, 2).long(), None, "got torch.int64"),
        (torch.zeros(4, 2, 3), torch.zeros(3, 2), r"shape of one step, \[2, 3\], got \[3, 2\]"),
    ],
)
def test_wrong_currents_and_states_are_refused(x: Tensor, state: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.LeakyIntegrator()(x, state)
    with pytest.raises(st.SaltationError, match="tau must be a finite number above 0"):
        st.LeakyIntegrator(0.0)


LENGTHS = torch.tensor([5, 2, 1])


@pytest.mark.parametrize("kind", READOUTS)
def test_padding_changes_nothing(kind: str) -> None:
    """A readout of a padded batch is that of every sample alone, whatever stands in the padding."""
    torch.manual_seed(0)
    x = torch.randn(5, 3, 4, dtype=F64, requires_grad=True)
    mask = st.lengths_mask(LENGTHS, 5)
    padded = torch.where(mask[..., None], x, torch.nan)
    readout = st.Readout(kind)
    found = readout(padded, mask)
    alone = torch.cat([readout(x[:n, i : i + 1]) for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(found, alone)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(alone.sum(), x)[0])


def test_a_chain_hands_its_mask_to_its_readout() -> None:
    """Spikes behind the end have no effect on the logits."""
    torch.manual_seed(0)
    net = st.spiking_mlp((6, 12, 3), readout="mean")
    with torch.no_grad():
        net[0].weight *= 10
    x = (torch.rand(8, 3, 6) < 0.5).float()
    mask = st.lengths_mask(LENGTHS, 8)
    alone = torch.cat([net(x[:n, i : i + 1]) for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(net(x, mask), alone)
    assert not torch.allclose(net(x), alone)
    with pytest.raises(st.SaltationError, match="it has none: give it to the loss"):
        net[:-1](x, mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: st.lengths_mask(torch.tensor([3, 9]), 8), "from 1 to the 8 steps, got 3 to 9"),
        (lambda: st.lengths_mask(torch.tensor([0, 2]), 8), "from 1 to the 8 steps, got 0 to 2"),
        (lambda: st.lengths_mask(torch.tensor([2.0]), 8), "integers"),
        (
            lambda: st.Readout()(torch.zeros(4, 2, 3), torch.ones(2, 4)),
            r"mask must be \[T, B\] = \[4, 2\], got \[2, 4\]",
        ),
        (
            lambda: st.Readout()(torch.zeros(4, 2, 3), torch.tensor([[1, 0]] * 4)),
            "every sample at least one step",
        ),
    ],
)
def test_masks_that_fit_nothing_are_refused(make: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        make()
