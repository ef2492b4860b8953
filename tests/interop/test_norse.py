"""Networks of Norse: the exponents, penalties, findings and remedies of the same one of ours."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.interop import dynamics, parameters

norse = pytest.importorskip("norse.torch", reason="networks of Norse: pip install --no-deps norse")
box = pytest.importorskip("norse.torch.module.lif_box")

# Whatever its alpha is, the slope of Norse's SuperSpike is 1.
DT, TAU, SLOPE = 1e-3, 4e-3, 1.0


def cell() -> nn.Module:
    """LIFBoxCell is LIF by explicit Euler; its SuperSpike is our FastSigmoid."""
    from norse.torch.functional.lif_box import LIFBoxParameters

    p = LIFBoxParameters(tau_mem_inv=torch.tensor(1 / TAU), alpha=torch.tensor(100.0))
    return box.LIFBoxCell(p, dt=DT)


class Loop(nn.Module):
    """The loop of Norse's examples: states are handed on, a leaky integrator reads out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.lif, self.out = nn.Linear(20, 16), cell(), nn.Linear(16, 5)
        self.li = norse.LICell()

    def forward(self, x: Tensor) -> Tensor:
        first = last = None
        voltages = []
        for step in x:
            spikes, first = self.lif(self.fc(step), first)
            voltage, last = self.li(self.out(spikes), last)
            voltages.append(voltage)
        return torch.stack(voltages)


@pytest.fixture
def x() -> Tensor:
    return (torch.rand(24, 6, 20, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def pair(make: Any) -> tuple[nn.Module, nn.Module]:
    """A network of Norse's cells, and ours with its weights."""
    torch.manual_seed(0)
    layers = [nn.Linear(20, 16), nn.Linear(16, 5)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(8)
    lif = lambda: st.LIF(  # noqa: E731
        TAU, DT, "euler", surrogate=st.surrogate.FastSigmoid(SLOPE)
    )
    ours = nn.Sequential(layers[0], lif(), layers[1], lif())
    theirs = norse.SequentialState(layers[0], make(), layers[1], make())
    return copy.deepcopy(theirs), ours


def test_exponents_and_penalties_are_those_of_the_same_network(x: Tensor) -> None:
    """Both estimators, the gradient of a penalty, growth over depth and the counted operations."""
    theirs, ours = pair(cell)
    found, expected = (st.depth_growth(one, x).growth.detach() for one in (theirs, ours))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    first, second = (st.lyapunov(one, x).exponents for one in (theirs, ours))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    assert first.std() > 0.001
    penalties = [st.LyapunovPenalty(weight=1.0, target=-0.2)(one, x) for one in (theirs, ours)]
    torch.testing.assert_close(*penalties, rtol=1e-4, atol=1e-6)
    for penalty in penalties:
        penalty.backward()
    torch.testing.assert_close(theirs[0].weight.grad, ours[0].weight.grad, rtol=1e-3, atol=1e-6)
    assert st.energy(theirs, x).synops == st.energy(ours, x).synops > 1000


def test_cells_and_layers_of_sequences_agree(x: Tensor) -> None:
    """Stepped with their states or called with sequences: the same exponents and findings."""
    p = norse.LIFParameters(alpha=torch.tensor(100.0))
    torch.manual_seed(0)
    steps = norse.SequentialState(nn.Linear(20, 16), norse.LIFCell(p=p), nn.Linear(16, 5))
    whole = norse.SequentialState(nn.Linear(20, 16), norse.LIF(p=p), nn.Linear(16, 5))
    with torch.no_grad():
        steps[0].weight.mul_(8)
    whole.load_state_dict(steps.state_dict())
    y = torch.randint(0, 5, (6,))
    found = [st.diagnose(one, x, y, trial=0) for one in (steps, whole)]
    assert found[0].layers[0].rate == found[1].layers[0].rate > 0.05
    assert found[0].layers[0].distance == pytest.approx(found[1].layers[0].distance, rel=1e-5)
    torch.testing.assert_close(st.lyapunov(steps, x).exponents, st.lyapunov(whole, x).exponents)


def test_a_loop_is_diagnosed_and_left_as_it_was(x: Tensor) -> None:
    """Neurons that never reach threshold are found; Norse's functions are its own again."""
    from norse.torch.functional import lif_box
    from norse.torch.functional.threshold import threshold

    network = Loop()
    with torch.no_grad():
        network.fc.weight.mul_(8)
    network.lif.p = network.lif.p._replace(v_th=torch.tensor(100.0))
    before = network(x)
    found = st.diagnose(network, x, torch.randint(0, 5, (6,)), trial=0)
    assert [layer.name for layer in found.layers] == ["lif"]
    assert "silent" in str(found)
    assert torch.equal(network(x), before)
    assert lif_box.threshold is threshold
    network.lif.p = network.lif.p._replace(v_th=torch.tensor(1.0))
    assert st.energy(network, x).layers["lif"].spikes > 100


def test_recurrent_cells_and_their_weights(x: Tensor) -> None:
    """Products with weights of a cell's own are counted, and its spikes are a state."""
    torch.manual_seed(0)

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lif = norse.LIFRecurrentCell(20, 12)

        def forward(self, x: Tensor) -> Tensor:
            state, spikes = None, []
            for step in x:
                s, state = self.lif(3 * step, state)
                spikes.append(s)
            return torch.stack(spikes)

    network = Recurrent()
    spikes = network(x)
    assert 0.05 < spikes.mean() < 0.9
    found = st.energy(network, x)
    assert found.synops == int(spikes[:-1].sum()) * 12
    assert found.macs == x.numel() * 12
    assert torch.isfinite(st.lyapunov(network, x).exponents).all()


def test_parameters_are_read_and_set() -> None:
    """What remedies need: width, time constant, threshold and reset."""
    (port,) = st.adapt(nn.Sequential(cell())).ports
    assert port.spike.width() == pytest.approx((2**0.5 - 1) / SLOPE, rel=0.03)
    with pytest.raises(st.SaltationError, match="'super' of '0' does not depend on alpha"):
        parameters.set_width(port, 0.2)
    port.module.p = port.module.p._replace(method="tanh", alpha=torch.tensor(2.0))
    before = port.spike.width()
    assert parameters.set_width(port, before / 4) == "method='tanh', alpha=8"
    assert port.spike.width() == pytest.approx(before / 4, rel=0.05)
    assert dynamics.steps_of(port) == pytest.approx(-1 / torch.tensor(0.75).log().item())
    dynamics.set_steps(port, 10.0)
    assert dynamics.steps_of(port) == pytest.approx(10.0)
    assert dynamics.threshold_of(port) == 1.0
    assert dynamics.is_hard(port) is True
    assert dynamics.set_hard(port) == "reset_method=reset_value"
    neuron = parameters.equations(port)
    assert (neuron.scheme, neuron.dt, neuron.v_threshold) == ("euler", DT, 1.0)
    with pytest.raises(st.SaltationError, match="which has no 'sigmoid' surrogate"):
        parameters.set_width(port, 0.2, "sigmoid")
    (other,) = st.adapt(nn.Sequential(norse.LIFCell())).ports
    with pytest.raises(st.SaltationError, match="'0' is a LIFCell, whose equations"):
        parameters.equations(other)


def test_cells_that_are_refused(x: Tensor) -> None:
    for module, told in (
        (norse.LIFRefracCell(), "'0' is a LIFRefracCell; of Norse's neurons"),
        (norse.LIFCell(p=norse.LIFParameters(method="adjoint")), "'0' has method='adjoint'"),
        (norse.LICell(), "but no neurons that saltation knows"),
    ):
        with pytest.raises(st.SaltationError, match=told):
            st.lyapunov(norse.SequentialState(module), x)
