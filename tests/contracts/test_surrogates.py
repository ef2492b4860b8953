"""What every surrogate keeps to: its derivative is its primitive's, in all modes; its values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.surrogate import SURROGATES, Smooth, Surrogate, get_surrogate
from tests.facts import TOLERANCE

F64 = torch.float64

# Two of each: the default and another parameter.
OTHER = {"sigmoid": 1.7, "fast_sigmoid": 3.0, "atan": 0.6, "triangle": 0.4, "rectangle": 0.9}
OBJECTS = [make() for make in SURROGATES.values()]
OBJECTS += [make(OTHER.get(name, 1.3)) for name, make in SURROGATES.items()]

every_surrogate = pytest.mark.parametrize("surrogate", OBJECTS, ids=repr)


def points(surrogate: Surrogate) -> Tensor:
    """41 points over six widths each side that miss the kinks at 0 and at the half width."""
    return torch.linspace(-6, 6, 41, dtype=F64) * surrogate.width + 0.0123 * surrogate.width


@every_surrogate
def test_derivative_is_the_slope_of_the_primitive(surrogate: Surrogate) -> None:
    """By central differences, within 1e-8 of the peak: (h / width)^2 and rounding are below it."""
    u, h = points(surrogate), 1e-5 * surrogate.width
    slope = (surrogate.primitive(u + h) - surrogate.primitive(u - h)) / (2 * h)
    peak = surrogate.derivative(torch.zeros(1, dtype=F64)).item()
    torch.testing.assert_close(surrogate.derivative(u), slope, rtol=0, atol=1e-8 * peak)


@every_surrogate
def test_derivative_is_even_and_falls_from_its_peak(surrogate: Surrogate) -> None:
    """Largest at threshold, the same on both sides to eps, never rising away from it; of escape
    noise, whose derivative is another where there is a spike, above threshold."""
    u = torch.linspace(0, 10, 1001, dtype=F64) * surrogate.width
    value = surrogate.derivative(u)
    eps = 4 * torch.finfo(F64).eps * value[0].item()
    if isinstance(surrogate, st.surrogate.EscapeNoise):
        below = surrogate.derivative(-u[1:])
        assert (below <= value[0]).all()
        assert (below >= 0).all()
    else:
        torch.testing.assert_close(surrogate.derivative(-u), value, rtol=0, atol=eps)
    assert (value.diff() <= eps).all()
    assert (value >= 0).all()


@every_surrogate
def test_width_is_where_half_of_the_peak_is(surrogate: Surrogate) -> None:
    """Just inside the derivative is at least half of its peak, just outside at most."""
    peak = surrogate.derivative(torch.zeros(1, dtype=F64)).item()
    edge = torch.tensor([1 - 1e-12, 1 + 1e-12], dtype=F64) * surrogate.width
    inside, outside = surrogate.derivative(edge).tolist()
    assert inside * (1 + 1e-15) >= peak / 2 >= outside * (1 - 1e-15)


@every_surrogate
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_forward_is_the_step_function(surrogate: Surrogate, dtype: torch.dtype) -> None:
    """Exactly 0 or 1 in the dtype given; u = 0 and -0 spike, the largest number below does not."""
    tiny = torch.finfo(dtype).tiny
    u = torch.tensor([-math.inf, -1, -tiny, -0.0, 0.0, tiny, 1, math.inf], dtype=dtype)
    spikes = surrogate(u)
    assert spikes.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert spikes.dtype == dtype
    assert surrogate.derivative(u).dtype == surrogate.primitive(u).dtype == dtype


@every_surrogate
def test_device_is_kept(surrogate: Surrogate) -> None:
    """On the meta device, the one that every machine has beside the CPU."""
    u = torch.zeros(3, device="meta")
    assert {f(u).device.type for f in (surrogate, surrogate.primitive)} == {"meta"}
    assert surrogate.derivative(u).device.type == "meta"


@every_surrogate
def test_reverse_and_forward_mode_are_the_derivative(surrogate: Surrogate) -> None:
    """J' g = g derivative and J t = t derivative, to the bit, alone and under vmap."""
    u = points(surrogate)
    noise = torch.Generator().manual_seed(0)
    v = torch.randn(4, len(u), dtype=F64, generator=noise)
    expected = v * surrogate.derivative(u)
    pull = torch.func.vjp(surrogate, u)[1]
    for row, each in zip(v, expected, strict=True):
        assert torch.equal(pull(row)[0], each)
        assert torch.equal(torch.func.jvp(surrogate, (u,), (row,))[1], each)
    assert torch.equal(torch.vmap(pull)(v)[0], expected)
    pushed = torch.vmap(lambda t: torch.func.jvp(surrogate, (u,), (t,))[1])(v)
    assert torch.equal(pushed, expected)


@every_surrogate
def test_double_backward(surrogate: Surrogate) -> None:
    """The gradient's own gradient, against finite differences of the derivative."""
    u = (points(surrogate)[8:33:4]).requires_grad_()
    assert torch.autograd.gradgradcheck(surrogate, u, eps=1e-6 * surrogate.width, rtol=1e-5)


@every_surrogate
def test_double_backward_is_the_primitives(surrogate: Surrogate) -> None:
    """Second derivatives by reverse over reverse, forward over reverse and of the primitive."""
    u = points(surrogate)

    def total(u: Tensor) -> Tensor:
        return surrogate(u).sum()

    expected = torch.func.grad(lambda u: surrogate.derivative(u).sum())(u)
    twice = torch.func.grad(lambda u: torch.func.grad(total)(u).sum())(u)
    mixed = torch.func.jvp(torch.func.grad(total), (u,), (torch.ones_like(u),))[1]
    torch.testing.assert_close(twice, expected, rtol=TOLERANCE[F64], atol=0)
    torch.testing.assert_close(mixed, expected, rtol=TOLERANCE[F64], atol=0)


@every_surrogate
def test_smooth_is_the_primitive(surrogate: Surrogate) -> None:
    """Graded spikes whose true gradient is the surrogate's."""
    u = points(surrogate).requires_grad_()
    graded = Smooth(surrogate)(u)
    assert torch.equal(graded, surrogate.primitive(u))
    (gradient,) = torch.autograd.grad(graded.sum(), u)
    peak = surrogate.derivative(torch.zeros(1, dtype=F64)).item()
    torch.testing.assert_close(
        gradient, surrogate.derivative(u), rtol=0, atol=TOLERANCE[F64] * peak
    )


# Values on paper from the formulas of SPEC: surrogate, u, derivative.
VALUES = [
    (st.surrogate.Sigmoid(), 0.0, 1.0),
    (st.surrogate.Sigmoid(2.0), math.log(3) / 2, 2 * 0.75 * 0.25),
    (st.surrogate.FastSigmoid(), 0.0, 1.0),
    (st.surrogate.FastSigmoid(), 0.04, 0.25),
    (st.surrogate.FastSigmoid(), -0.08, 1 / 9),
    (st.surrogate.ATan(), 0.0, 1.0),
    (st.surrogate.ATan(), 1 / math.pi, 0.5),
    (st.surrogate.ATan(4.0), 1 / math.pi, 2 / 5),
    (st.surrogate.Triangle(), 0.25, 0.75),
    (st.surrogate.Triangle(0.5), 0.25, 1.0),
    (st.surrogate.Triangle(), 1.5, 0.0),
    (st.surrogate.Rectangle(), 0.49, 1.0),
    (st.surrogate.Rectangle(2.0), 1.9, 0.25),
    (st.surrogate.Rectangle(), 0.51, 0.0),
    (st.surrogate.EscapeNoise(), -0.8, 0.1 / 0.8 / math.e * math.exp(-0.1 / math.e)),
    (st.surrogate.EscapeNoise(0.2, 0.5, 0.25), 0.0, 0.1 / math.expm1(0.05)),
    (st.surrogate.Gaussian(), 0.0, 2 / math.sqrt(2 * math.pi)),
    (st.surrogate.Gaussian(1.0), 2.0, math.exp(-2) / math.sqrt(2 * math.pi)),
]


@pytest.mark.parametrize(("surrogate", "u", "value"), VALUES)
def test_values_by_hand(surrogate: Surrogate, u: float, value: float) -> None:
    """The formulas with their defaults and with other parameters."""
    got = surrogate.derivative(torch.tensor(u, dtype=F64)).item()
    assert got == pytest.approx(value, rel=1e-14)


def test_every_surrogate_has_values_by_hand() -> None:
    """A surrogate added to the registry needs a value known from outside."""
    assert {type(s) for s, _, _ in VALUES} == set(SURROGATES.values())


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    """Slopes and widths are finite and above 0."""
    with pytest.raises(st.SaltationError, match="must be a finite number above 0"):
        SURROGATES[name](value)  # type: ignore[call-arg]


def test_get_surrogate() -> None:
    """A name gives the defaults; objects pass through."""
    assert get_surrogate("atan") == st.surrogate.ATan(2.0)
    smooth = Smooth(st.surrogate.ATan())
    assert get_surrogate(smooth) is smooth
