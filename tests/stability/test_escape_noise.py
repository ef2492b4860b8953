"""A surrogate that knows dt: exponents per unit of time converge, and layers say what dt is."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.surrogate import EscapeNoise, Sigmoid, Smooth

F64 = torch.float64
DTS = (1.0, 0.1, 0.01)


def per_time(dt: float, surrogate: Any, drive: Tensor, **neuron: Any) -> float:
    """Tangent exponent per unit of time of LIF neurons under currents ``[time, B]``."""
    x = drive.repeat_interleave(round(1 / dt), 0)[..., None]
    layer = st.LIF(dt=dt, surrogate=surrogate, **neuron)
    return st.lyapunov(nn.Sequential(layer), x).exponents.mean().item() / dt


NOISE = torch.randn(10, 20, dtype=F64, generator=torch.Generator().manual_seed(1)) + 0.8
DRIVES = {"1.5": torch.full((10, 1), 1.5, dtype=F64), "noise": NOISE}


@pytest.mark.parametrize(
    ("drive", "jump"),
    [
        ("1.5", "hard"),
        pytest.param("1.5", "soft", marks=pytest.mark.slow),
        pytest.param("noise", "hard", marks=pytest.mark.slow),
        ("noise", "soft"),
    ],
)
def test_exponent_per_unit_of_time_converges(drive: str, jump: str) -> None:
    """Within 20 % from dt 1 to 0.01; that of a sigmoid grows as 1 / dt."""
    escape = [per_time(dt, EscapeNoise(), DRIVES[drive], jump=jump) for dt in DTS]
    assert max(escape) < 0
    assert min(escape) > max(escape) / 0.8
    sigmoid = [per_time(dt, Sigmoid(), DRIVES[drive], jump=jump) for dt in DTS[:2]]
    assert sigmoid[1] < 3 * sigmoid[0]


def test_it_is_the_probability_of_escape() -> None:
    """Below threshold the derivative is that of 1 - exp(-rho dt), in any mode of autograd."""
    surrogate = EscapeNoise(0.3, 0.5, dt=0.2)
    u = torch.linspace(-3, -0.01, 20, dtype=F64, requires_grad=True)
    p = 1 - torch.exp(-0.2 * 0.3 * (u / 0.5).exp())
    (expected,) = torch.autograd.grad(p.sum(), u)
    torch.testing.assert_close(surrogate.derivative(u.detach()), expected, rtol=1e-12, atol=0)
    log = torch.log(1 - torch.exp(-0.2 * 0.3 * (-u / 0.5).exp()))
    (expected,) = torch.autograd.grad(log.sum(), u)
    torch.testing.assert_close(surrogate.derivative(-u.detach()), -expected, rtol=1e-12, atol=0)


def test_a_spike_of_a_small_step_has_one_over_delta() -> None:
    """And below threshold what is left is in proportion to dt."""
    u = torch.tensor([-0.5, 0.0], dtype=F64)
    fine, finer = (EscapeNoise(dt=dt).derivative(u) for dt in (1e-4, 1e-5))
    assert fine[1].item() == pytest.approx(1 / 0.8, rel=1e-4)
    assert (fine[0] / finer[0]).item() == pytest.approx(10, rel=1e-4)


def test_layers_give_it_their_dt() -> None:
    """At construction, when it is set, when the neuron is replaced, and within `Smooth`."""
    layer = st.LIF(dt=0.25, surrogate="escape_noise")
    assert layer.surrogate == EscapeNoise(dt=0.25)
    layer.surrogate = EscapeNoise(0.2)
    assert layer.surrogate == EscapeNoise(0.2, dt=0.25)
    layer.neuron = st.LIF(dt=0.5).neuron
    assert layer.surrogate == EscapeNoise(0.2, dt=0.5)
    layer.surrogate = Smooth(EscapeNoise())
    assert layer.surrogate == Smooth(EscapeNoise(dt=0.5))
    assert st.Izhikevich(dt=0.1, surrogate=Sigmoid()).surrogate == Sigmoid()
    assert "dt=0.25" in repr(st.LIF(dt=0.25, surrogate="escape_noise"))


def test_compiled_loops_have_its_gradient() -> None:
    """As the reference, to rounding, also far from threshold."""
    x = 40 * torch.randn(12, 3, 7, generator=torch.Generator().manual_seed(0))
    gradients = []
    for backend in ("cpu", "reference"):
        driven = x.clone().requires_grad_()
        st.LIF(dt=0.5, surrogate="escape_noise", backend=backend)(driven).sum().backward()
        gradients.append(driven.grad)
    assert gradients[0] is not None
    assert gradients[0].isfinite().all()
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def test_width_is_above_threshold() -> None:
    """In closed form, by the equation that it solves."""
    surrogate = EscapeNoise(0.3, 0.5)
    r = 0.3 * math.exp(surrogate.width / 0.5)
    assert r / math.expm1(r) == pytest.approx(0.5 * 0.3 / math.expm1(0.3), rel=1e-12)
