"""Neurons of other libraries as models of saltation, and surrogates whose width is set."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.interop import dynamics
from saltation.interop.parameters import equations, set_width
from tests.interop.conftest import SpikingJelly


def currents() -> Tensor:
    noise = torch.Generator().manual_seed(0)
    return 0.4 + 1.2 * torch.randn(30, 64, generator=noise)


def port(module: nn.Module) -> Any:
    (only,) = st.adapt(nn.Sequential(nn.Identity(), module)).ports
    return only


def ours(module: nn.Module) -> Tensor:
    """Spikes of the model that the module's equations are said to be."""
    layer = st.LIF()
    layer.neuron = equations(port(module))
    return layer(currents())


SNNTORCH: dict[str, dict[str, Any]] = {
    "default": {"beta": 0.9},
    "forgets": {"beta": 0.0},
    "threshold": {"beta": 0.7, "threshold": 0.4},
    "zero": {"beta": 0.8, "reset_mechanism": "zero"},
    "none": {"beta": 0.8, "reset_mechanism": "none"},
    "at once": {"beta": 0.8, "reset_delay": False},
    "clamped": {"beta": 1.7, "reset_mechanism": "zero"},
    "learnt": {"beta": 0.6, "learn_beta": True, "learn_threshold": True},
}


@pytest.mark.parametrize("name", SNNTORCH)
def test_equations_are_snntorchs(snntorch: Any, name: str) -> None:
    """The same spikes for the same currents."""
    module = snntorch.Leaky(**SNNTORCH[name])
    v, theirs = torch.zeros(64), []
    for x in currents():
        s, v = module(x, v)
        theirs.append(s)
    expected = torch.stack(theirs).detach()
    near = {"zero": "hard", "clamped": "hard", "at once": "soft"}
    if name in near:
        # Its reset to zero also drops the current of the step after the spike's, and the one at
        # once does not happen twice in a row.
        assert equations(port(module)).jump == near[name]
        return
    assert 0.02 < expected.mean() < 0.9
    assert (ours(module) != expected).float().mean() < 2e-3  # spikes at threshold, to rounding


SPIKINGJELLY: dict[str, tuple[str, dict[str, Any]]] = {
    "if": ("IFNode", {}),
    "if soft": ("IFNode", {"v_reset": None, "v_threshold": 0.7}),
    "lif": ("LIFNode", {"tau": 3.0}),
    "lif soft": ("LIFNode", {"tau": 2.5, "v_reset": None, "v_threshold": 0.5}),
    "no decay": ("LIFNode", {"tau": 3.0, "decay_input": False}),
    "reset below": ("LIFNode", {"tau": 2.0, "v_reset": -0.4, "decay_input": False}),
    "parametric": ("ParametricLIFNode", {"init_tau": 1.6}),
}


@pytest.mark.parametrize("name", SPIKINGJELLY)
def test_equations_are_spikingjellys(spikingjelly: SpikingJelly, name: str) -> None:
    """The same spikes for the same currents, from its own rest."""
    kind, options = SPIKINGJELLY[name]
    module = getattr(spikingjelly.neuron, kind)(**options, step_mode="m")
    expected = module(currents()).detach()
    assert 0.02 < expected.mean() < 0.9
    if name == "reset below":  # memories begin at the reset value, which is where it rests
        assert equations(port(module)).v_rest == -0.4
    assert (ours(module) != expected).float().mean() < 2e-3


def test_saltations_own() -> None:
    """The model itself, also of recurrent layers."""
    layer = st.CubaLIF(tau=3.0)
    assert equations(port(layer)) is layer.neuron
    assert equations(port(st.Recurrent(layer, 4))) is layer.neuron


def test_what_is_not_known_is_refused(snntorch: Any, spikingjelly: SpikingJelly) -> None:
    """By name, and neurons that differ among themselves."""
    with pytest.raises(st.SaltationError, match="'1' is a Synaptic, whose equations"):
        equations(port(snntorch.Synaptic(alpha=0.9, beta=0.8)))
    with pytest.raises(st.SaltationError, match="'1' is a EIFNode, whose equations"):
        equations(port(spikingjelly.neuron.EIFNode()))
    with pytest.raises(st.SaltationError, match="the neurons of '1' differ in their parameters"):
        equations(port(snntorch.Leaky(beta=torch.tensor([0.5, 0.9]))))
    assert equations(port(snntorch.Leaky(beta=torch.tensor([0.5, 0.5])))).beta == 0.5


@pytest.mark.parametrize("width", [0.02, 0.5, 3.0])
@pytest.mark.parametrize("name", st.surrogate.SURROGATES)
def test_widths_of_saltations_surrogates(name: str, width: float) -> None:
    """The same family with another slope."""
    layer = st.LIF(surrogate=name)
    kind = type(layer.surrogate)
    told = set_width(port(layer), width)
    assert type(layer.surrogate) is kind
    assert layer.surrogate.width == pytest.approx(width, rel=0.03)  # type: ignore[union-attr]
    assert told == str(layer.surrogate)
    x = currents().requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.count_nonzero()


@pytest.mark.parametrize("width", [0.05, 0.8])
@pytest.mark.parametrize("name", ["fast_sigmoid", "sigmoid", "atan"])
def test_widths_of_snntorchs_surrogates(snntorch: Any, name: str, width: float) -> None:
    """Made again with another slope; neurons that share one keep theirs."""
    shared = getattr(pytest.importorskip("snntorch.surrogate"), name)()
    one, two = (snntorch.Leaky(beta=0.9, spike_grad=shared) for _ in range(2))
    told = set_width(port(one), width)
    assert told.startswith(f"{name}(")
    assert two.spike_grad is shared
    assert port(one).spike.width() == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize("width", [0.05, 0.8])
@pytest.mark.parametrize("name", ["ATan", "Sigmoid", "PiecewiseQuadratic", "Erf", "SoftSign"])
def test_widths_of_spikingjellys_surrogates(
    spikingjelly: SpikingJelly, name: str, width: float
) -> None:
    """The same class with another alpha; neurons that share one keep theirs."""
    shared = getattr(spikingjelly.surrogate, name)()
    one, two = (spikingjelly.neuron.IFNode(surrogate_function=shared) for _ in range(2))
    alpha = shared.alpha
    told = set_width(port(one), width)
    assert told.startswith(f"{name}(alpha=")
    assert two.surrogate_function.alpha == alpha
    assert port(one).spike.width() == pytest.approx(width, rel=0.06)


def test_a_sigmoid_in_place_of_another(snntorch: Any, spikingjelly: SpikingJelly) -> None:
    """Of the width that was asked for, in every library."""
    modules = (
        st.LIF(surrogate="triangle"),
        snntorch.Leaky(beta=0.9),
        spikingjelly.neuron.IFNode(),
    )
    for module in modules:
        told = set_width(port(module), 0.7, "sigmoid")
        assert "Sigmoid(alpha=2.5" in told
        assert port(module).spike.width() == pytest.approx(0.7, rel=0.03)
    with pytest.raises(st.SaltationError, match="unknown family 'sigmoyd'; did you mean"):
        set_width(port(st.LIF()), 0.7, "sigmoyd")


def test_widths_that_cannot_be_set_are_refused(spikingjelly: SpikingJelly) -> None:
    """And the surrogate is then what it was."""
    rect = spikingjelly.surrogate.PiecewiseLeakyReLU()
    module = spikingjelly.neuron.IFNode(surrogate_function=rect)
    with pytest.raises(st.SaltationError, match=r"(no parameter alpha)|(has no width)"):
        set_width(port(module), 0.5)
    assert module.surrogate_function is rect
    for width in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(st.SaltationError, match="width must be a finite number above 0"):
            set_width(port(st.LIF()), width)


def test_lapicque_steps_by_resistance_and_capacity(snntorch: Any) -> None:
    """Not by its beta: what a step leaves of a potential, before and after it is set."""
    module = snntorch.Lapicque(beta=0.8)
    found = port(module)

    def left() -> float:
        return float(module(torch.zeros(1, 1), torch.full((1, 1), 0.5))[1]) / 0.5

    assert left() == pytest.approx(1 + math.log(0.8))
    assert dynamics.steps_of(found) == pytest.approx(-1 / math.log(left()))
    step = equations(found).affine_step
    assert (step.m[0][0], step.n[0]) == pytest.approx((left(), 1 - left()))
    assert dynamics.set_steps(found, 5.0) == "C=5.517"
    assert left() == pytest.approx(math.exp(-1 / 5))
    other = port(snntorch.Lapicque(R=2.0, C=3.0))
    with pytest.raises(st.SaltationError, match="a Lapicque with R other than 1"):
        equations(other)
