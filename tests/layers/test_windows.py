"""Truncated backpropagation: states go on from window to window, gradients do not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import saltation as st

F64 = torch.float64


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    net = st.Sequential(
        st.SpikeLinear(3, 6),
        nn.Sequential(st.Recurrent(st.AdLIF(tau=3.0), 6), nn.Dropout(0.0)),
        st.SpikeLinear(6, 5),
        st.LIF(tau=4.0),
        st.SpikeLinear(5, 2),
        st.LeakyIntegrator(5.0),
    ).double()
    with torch.no_grad():
        for module in net:
            if isinstance(module, st.SpikeLinear):
                module.weight *= 20
    return net


def inputs(steps: int = 23) -> Tensor:
    return torch.randn(steps, 4, 3, dtype=F64, generator=torch.Generator().manual_seed(1)).exp()


@pytest.mark.parametrize("steps", [1, 7, 23, 50])
def test_outputs_are_those_of_one_call(steps: int) -> None:
    """Whatever the windows."""
    net, x = chain(), inputs()
    with torch.no_grad():
        whole = net(x)
        windows = list(st.in_windows(net, x, steps))
    assert [len(window) for window in windows[:-1]] == [steps] * (len(windows) - 1)
    torch.testing.assert_close(torch.cat(windows), whole, rtol=1e-12, atol=1e-12)
    assert net[:4](x).mean() > 0.02  # it spikes


def test_gradients_are_those_within_a_window() -> None:
    """Of the last window with the states before it as constants; of one window they are whole."""
    net, x = chain(), inputs()
    (whole,) = st.in_windows(net, x, 23)
    weights = list(net.parameters())
    wanted = torch.autograd.grad(net(x).sum(), weights)
    torch.testing.assert_close(torch.autograd.grad(whole.sum(), weights), wanted)
    x = x.requires_grad_()
    _, *_, last = st.in_windows(net, x, 10)
    (gradient,) = torch.autograd.grad(last.sum(), x)
    assert gradient[:20].abs().max() == 0
    assert gradient[20:].abs().max() > 0


def test_a_window_is_computed_with_the_weights_of_its_time() -> None:
    """Without weights behind the first window, its potentials decay through the second."""
    net, x = chain(), inputs(6)
    windows = st.in_windows(net, x, 3)
    last = next(windows)[-1]
    with torch.no_grad():
        for parameter in net[4].parameters():
            parameter.zero_()
        second = next(windows)
    torch.testing.assert_close(second[-1], last.detach() * math.exp(-3 / 5))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (st.LIF(), "states are carried through a chain, nn.Sequential, got LIF"),
        (st.spiking_mlp((3, 4, 2)), "'3' of the chain, Readout, may look along time"),
        (nn.Sequential(nn.LSTM(3, 4)), "'0' of the chain, LSTM, may look along time"),
    ],
)
def test_chains_that_cannot_be_cut_are_refused(network: nn.Module, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.in_windows(network, inputs(), 5)  # type: ignore[arg-type]
    with pytest.raises(st.SaltationError, match="steps must be a positive integer, got 0"):
        st.in_windows(chain(), inputs(), 0)
