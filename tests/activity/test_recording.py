"""Recordings are what layers and the peers' neurons say themselves, in every form of network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

import saltation as st
from benchmarks.tutorials import TUTORIALS, reset
from saltation.activity import weights
from tests.interop.conftest import snntorch, spikingjelly  # noqa: F401  # fixtures


def network() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = st.Sequential(
        st.SpikeLinear(20, 12),
        st.LIF(tau=3.0, dt=0.5),
        st.Recurrent(st.CubaLIF(tau=3.0, dt=0.5, v_threshold=0.1), 12),
    )
    with torch.no_grad():
        net[0].weight.mul_(12)
        net[2].weight.mul_(4)
    return net, st.poisson(torch.rand(4, 20), steps=15, dt=0.5)


def same(array: Any, tensor: Tensor) -> None:
    np.testing.assert_allclose(array, tensor.detach().numpy(), atol=1e-6)


def test_our_layers() -> None:
    """Currents, spikes and states are those of the layers' own records."""
    net, x = network()
    found = st.record(net, x)
    first = net[1].record(net[0](x))
    second = net[2].record(first.spikes)
    assert list(found.layers) == ["1", "2"]
    same(found["1"].currents, net[0](x))
    same(found["1"].spikes, first.spikes)
    same(found["1"].potentials, first.states.v)
    same(found["2"].states["i"], second.states.neuron.i)
    same(found["2"].potentials, second.states.neuron.v)
    same(found["2"].spikes, second.spikes)
    assert found["2"].spikes.mean() > 0.02
    assert (found["1"].threshold, found["1"].dt) == (1.0, 0.5)
    assert "15 x 4 x 12" in str(found)


def test_snntorch_in_a_loop(snntorch: Any) -> None:  # noqa: F811
    """Potentials are those that the network itself returns."""
    tutorial = TUTORIALS["dense"]
    torch.manual_seed(0)
    net, x = tutorial.make(0.05), tutorial.input(3)
    spikes, potentials = net(x)
    found = st.record(net, x)["lif2"]
    same(found.spikes, spikes)
    same(found.potentials, potentials)
    assert (found.threshold, found.dt, found.potential) == (1.0, None, "mem")


def test_spikingjelly_at_once(spikingjelly: Any) -> None:  # noqa: F811
    """A network with batch normalisation over all steps, which cannot be stepped."""
    torch.manual_seed(0)
    net, x = TUTORIALS["csnn"].make(0.05), TUTORIALS["csnn"].input(2)
    node = net.conv_fc[2]
    node.store_v_seq = True
    reset("spikingjelly", net)
    net(x)
    expected = node.v_seq.clone()
    reset("spikingjelly", net)
    found = st.record(net, x)["conv_fc.2"]
    same(found.potentials, expected)
    assert found.spikes.shape == found.currents.shape == (4, 2, 6, 28, 28)


def test_norse_by_state() -> None:
    norse = pytest.importorskip("norse.torch", reason="networks of Norse")
    torch.manual_seed(0)
    net = norse.SequentialState(nn.Linear(20, 8), norse.LIFCell())
    x = (torch.rand(12, 3, 20) < 0.5).float()
    state, potentials = None, []
    for step in x:
        _, state = net(step, state)
        potentials.append(state[1].v)
    found = st.record(net, x)["1"]
    same(found.potentials, torch.stack(potentials))
    assert set(found.states) == {"v", "i"}


def test_figures_have_what_they_show() -> None:
    """Dots are spikes, lines potentials, and axes say units."""
    net, x = network()
    found = st.record(net, x)
    raster = found.raster(sample=2)
    assert len(raster.axes) == 2
    dots = raster.axes[0].collections[0].get_offsets()
    step, neuron = np.nonzero(found["1"].spikes[:, 2])
    np.testing.assert_allclose(dots, np.stack([(step + 1) * 0.5, neuron], 1))
    assert raster.axes[1].get_xlabel() == "time (same unit as tau; a step is 0.5)"
    traces = found.traces("1", neurons=[3, 5], sample=1)
    spikes, potentials, currents = traces.axes
    np.testing.assert_allclose(potentials.lines[0].get_ydata(), found["1"].potentials[:, 1, 3])
    np.testing.assert_allclose(currents.lines[1].get_ydata(), found["1"].currents[:, 1, 5])
    assert [label.get_text() for label in spikes.get_yticklabels()] == ["3", "5"]
    for wrong, told in (
        (lambda: found["3"], "unknown layer '3'"),
        (lambda: found.raster(sample=4), "samples are 0 to 3"),
        (lambda: found.traces("1", neurons=[12]), "neurons 0 to 11"),
    ):
        with pytest.raises(st.SaltationError, match=told):
            wrong()


def test_a_raster_into_axes_that_are_given() -> None:
    net, x = network()
    found = st.record(net, x)
    outer = Figure()
    axes = outer.subplots()
    assert found.raster(layers=["2"], ax=axes) is outer
    drawn = axes.collections[0].get_offsets()
    assert len(drawn) == found["2"].spikes[:, 0].sum()
    with pytest.raises(st.SaltationError, match="ax takes one layer, got 2"):
        found.raster(ax=axes)
    assert found.raster(size=(3, 2)).get_size_inches().tolist() == [3, 2]


def test_weights_are_drawn_as_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Linear(4, 5))
    figure = weights(net)
    counts, image = figure.axes[0].patches[0].get_data().values, figure.axes[1].images[0]
    assert sum(counts) == 24
    np.testing.assert_allclose(image.get_array(), net[0].weight.detach().flatten(1), rtol=1e-6)
    assert "0.weight" in figure.axes[0].get_title(loc="left")
    assert len(weights(net, ["2.weight"]).axes) == 3  # with the bar of colours
    with pytest.raises(st.SaltationError, match=r"did you mean '2\.weight'"):
        weights(net, ["2.weigth"])
    with pytest.raises(st.SaltationError, match="no weight matrix"):
        weights(nn.ReLU())
    with torch.no_grad():
        net[2].weight[0] = float("nan")
    with pytest.raises(st.SaltationError, match=r"2\.weight hold values that are not finite"):
        weights(net)
