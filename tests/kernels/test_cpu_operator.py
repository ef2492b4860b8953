"""The time loop as an operator: graphs that are captured whole, with its derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import saltation as st
from saltation.kernels.cpu.neurons import operator
from saltation.layers import SpikingLayer
from saltation.surrogate import Sigmoid, Smooth

LAYERS: list[SpikingLayer] = [
    st.LIF(dt=0.5, scheme="rk2", jump="soft", surrogate="atan"),
    st.LIF(beta=0.8, jump="soft_delayed", detach_reset=True),
    st.Izhikevich(dt=0.5, scheme="symplectic"),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_it_keeps_the_rules_of_operators(layer: SpikingLayer) -> None:
    """Schema, derivative and form without data, as torch checks them."""
    x = 3 * torch.rand(4, 2, 3)
    state = [part.requires_grad_() for part in layer.rest(x[0])]
    torch.library.opcheck(operator.neuron_loop, (x.requires_grad_(), state, layer._key.text))


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_networks_are_captured_whole(layer: SpikingLayer) -> None:
    """No break at the neurons, and the same outputs and gradients to the bit."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 4), st.Readout("mean"))
    x = 5 * (torch.rand(7, 2, 6) < 0.5).float()
    expected = net(x)
    wanted = torch.autograd.grad(expected.sum(), list(net.parameters()))
    captured: Any = torch.compile(net, fullgraph=True, backend="aot_eager")
    ours = captured(x)
    assert torch.equal(ours, expected)
    for one, two in zip(
        torch.autograd.grad(ours.sum(), list(net.parameters())), wanted, strict=True
    ):
        assert torch.equal(one, two)


def test_states_pass_through_it() -> None:
    """A layer that is given a state returns the last one, with its gradient."""
    layer = st.LIF(dt=0.5)
    x = 3 * torch.rand(4, 2, 3)
    start = torch.rand(2, 3).requires_grad_()

    def last(v: Any) -> Any:
        return layer(x, layer.neuron.State(v))[1].v

    captured: Any = torch.compile(last, fullgraph=True, backend="aot_eager")
    assert torch.equal(captured(start), last(start))
    one, two = (torch.autograd.grad(f(start).sum(), start)[0] for f in (captured, last))
    assert torch.equal(one, two)


def test_what_it_does_not_know_is_traced() -> None:
    """Double precision and graded spikes take the reference loop, step by step."""
    assert st.LIF(surrogate=Smooth(Sigmoid()))._key is None
    layer = st.LIF(dt=0.5)
    x = 3 * torch.rand(3, 2, 3).double()
    captured: Any = torch.compile(layer, backend="eager")
    torch.testing.assert_close(captured(x), layer(x))


def test_the_key_says_everything() -> None:
    """Layers that differ in any parameter have different keys."""
    keys = {
        st.LIF(**change)._key
        for change in (
            {},
            {"tau": 3.0},
            {"beta": 0.5},
            {"jump": "soft"},
            {"detach_reset": True},
            {"surrogate": Sigmoid(3.0)},
            {"surrogate": "atan"},
        )
    }
    assert len(keys) == 7
