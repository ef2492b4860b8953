"""Estimates in every mode of torch and every dtype: the same numbers, or one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st

BFLOAT, HALF, D = torch.bfloat16, torch.float16, torch.float64


def perceptron() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 12), st.LIF(beta=0.9), nn.Linear(12, 8), st.LIF(beta=0.8)]
    return nn.Sequential(*layers), 2 * torch.rand(8, 5, 6)


def recurrent() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), st.Recurrent(st.LIF(beta=0.9), 12))
    return net, 2 * torch.rand(8, 5, 6)


def normalised() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 12), nn.LayerNorm(12), st.CubaLIF(), nn.Linear(12, 5))
    return net, 2 * torch.rand(8, 5, 6)


def convolutions() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = st.spiking_vgg(
        1, 3, 8, stages=2, blocks_per_stage=1, base_channels=4, dropout=0, batch_norm="step"
    )
    return net, st.direct(torch.rand(5, 1, 8, 8), 8)


NETWORKS = {f.__name__: f for f in (perceptron, recurrent, normalised, convolutions)}
MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", BFLOAT),
    "double precision": nullcontext,
    "half precision": nullcontext,
    "bfloat16": nullcontext,
}
DTYPES = {"double precision": D, "half precision": HALF, "bfloat16": BFLOAT}
# Absolute, on λ: rounding in single precision, and that of a state in half of it.
TOLERANCE = {"half precision": 5e-3, "bfloat16": 2e-2}


def growth(net: nn.Module, x: Tensor) -> Tensor:
    return st.depth_growth(net, x).growth.mean(1)


def penalty(net: nn.Module, x: Tensor) -> Tensor:
    regularise = st.LyapunovPenalty(weight=1.0, target=0.5)
    term = regularise(net, x)
    assert regularise.history[0].term == pytest.approx(float(term.detach()), rel=1e-2)
    return torch.tensor(regularise.history[0].exponent)


ESTIMATES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "tangent": lambda net, x: st.lyapunov(net, x).spectrum,
    "three": lambda net, x: st.lyapunov(net, x, k=3).spectrum,
    "telescoped": lambda net, x: st.lyapunov(net, x, estimator="telescoped").spectrum,
    "finite": lambda net, x: st.lyapunov(net, x, estimator="finite").spectrum,
    "penalty": penalty,
    "growth": growth,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_the_same_numbers_in_every_mode(name: str, mode: str) -> None:
    """Of all estimators, the penalty and growth over depth, against the plain call."""
    net, x = NETWORKS[name]()
    other, given = copy.deepcopy(net), x
    if mode in DTYPES:
        other, given = other.to(DTYPES[mode]), x.to(DTYPES[mode])
    for what, run in ESTIMATES.items():
        expected = run(net, x).detach().double()
        with MODES[mode]():
            if what == "finite" and mode in TOLERANCE:
                with pytest.raises(st.SaltationError, match=r"eps must be at least .*float16"):
                    run(other, given)
                continue
            found = run(other, given)
        error = float((found.detach().double() - expected).abs().max()) if expected.numel() else 0.0
        # With 8 bits some spikes go the other way, and the first perturbation over depth with them.
        share = 8 if what == "growth" and mode == "bfloat16" else 1
        bound = share * TOLERANCE.get(mode, 2e-3 if what == "finite" and mode in DTYPES else 1e-5)
        assert error <= bound, (what, found, expected)


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "autocast", "double precision"])
def test_weights_are_scaled_alike(mode: str) -> None:
    """To the same factors."""
    net, x = perceptron()
    dtype = DTYPES.get(mode, torch.float32)
    plain = copy.deepcopy(net)
    expected = st.set_depth_growth(plain, x, -0.5, tolerance=0.2).factors
    factor = st.set_lyapunov(copy.deepcopy(net), x, -0.16, tolerance=0.005).factor
    with MODES[mode]():
        other = copy.deepcopy(net).to(dtype)
        assert st.set_depth_growth(other, x.to(dtype), -0.5, tolerance=0.2).factors == (
            pytest.approx(expected, rel=1e-4)
        )
        other = copy.deepcopy(net).to(dtype)
        found = st.set_lyapunov(other, x.to(dtype), -0.16, tolerance=0.005).factor
    assert found == pytest.approx(factor, rel=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_made_in_inference_mode_can_be_looked_at(name: str) -> None:
    """Network and input alike; the result has no gradient."""
    net, x = NETWORKS[name]()
    expected = st.lyapunov(net, x).exponents
    with torch.inference_mode():
        net, x = NETWORKS[name]()
        found = st.lyapunov(net, x)
        assert torch.is_inference_mode_enabled()
    assert not found.exponents.requires_grad
    torch.testing.assert_close(found.exponents, expected.detach())


def test_autocast_inputs_and_gradients() -> None:
    """An input that autocast made is taken in the dtype of the weights; the gradient is plain."""
    net, x = perceptron()
    x = x.to(BFLOAT).float()
    weight = net[0].weight  # type: ignore[index]
    (expected,) = torch.autograd.grad(st.lyapunov(net, x).exponent, weight)
    with torch.autocast("cpu", BFLOAT):
        found = st.lyapunov(net, x.to(BFLOAT)).exponent
    (gradient,) = torch.autograd.grad(found, weight)
    torch.testing.assert_close(gradient, expected)


def test_maps_in_every_mode() -> None:
    """The logistic map, and a linear one that autocast would round."""
    start = torch.full((2, 1), 0.3, dtype=D)
    expected = st.lyapunov_map(lambda s: 4 * s * (1 - s), start, 100).exponents
    with torch.inference_mode():
        inside = st.lyapunov_map(lambda s: 4 * s * (1 - s), start.clone(), 100).exponents
    torch.testing.assert_close(inside, expected)
    matrix = torch.diag(torch.tensor([0.501, 0.401]))
    found = []
    for mode in (nullcontext(), torch.autocast("cpu", BFLOAT)):
        with mode:
            found.append(st.lyapunov_map(lambda s: s @ matrix, torch.ones(1, 2), 50, k=2).spectrum)
    assert torch.equal(*found)


def test_the_default_dtype_does_not_matter() -> None:
    """Single precision stays it."""
    net, x = perceptron()
    expected = [run(net, x).detach() for run in ESTIMATES.values()]
    torch.set_default_dtype(D)
    try:
        found = [run(net, x).detach() for run in ESTIMATES.values()]
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, check_dtype=False)


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 1e-6), (D, 1e-14)])
def test_a_distance_that_rounding_hides_is_refused(dtype: torch.dtype, least: float) -> None:
    """Just above it, the exponent is right; a large one is taken as it is."""
    layer, x = st.LIF(beta=0.9), torch.full((30, 2, 5), 0.05, dtype=dtype)
    found = st.lyapunov(layer, x, estimator="finite", eps=least, transient=1)
    assert float(found.exponent) == pytest.approx(-0.105, abs=0.02)
    with pytest.raises(st.SaltationError, match=r"eps must be at least .*, got 1e-30"):
        st.lyapunov(layer, x, estimator="finite", eps=1e-30)
    with pytest.raises(st.SaltationError, match=r"eps must be at most 3.4e\+38, got 1e\+300"):
        st.lyapunov(layer, x.float(), estimator="finite", eps=1e300)
    found = st.lyapunov(layer, x, estimator="finite", eps=1e5, transient=2)
    assert torch.isfinite(found.exponents).all()


@pytest.mark.parametrize("estimator", ["tangent", "telescoped"])
@pytest.mark.parametrize("qr_every", [1, 7, 400])
def test_contraction_far_below_what_squares_can_hold(estimator: str, qr_every: int) -> None:
    """e^-50 in every step, in single precision; also without a decomposition in 100 steps."""
    layer = st.LIF(tau=0.02, dt=1.0)
    found = st.lyapunov(layer, torch.zeros(100, 2, 3), estimator=estimator, qr_every=qr_every)
    assert found.floored == 0
    torch.testing.assert_close(found.exponents, torch.full((1, 2), -50.0))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("gain", [0.3, 30.0])
def test_recurrent_stretches_of_any_length(k: int, gain: float) -> None:
    """Growth that no number holds between decompositions is that with one in every step."""
    torch.manual_seed(0)
    net = st.Recurrent(st.LIF(beta=0.2), 8)
    with torch.no_grad():
        net.weight *= gain
    x = 2 * torch.rand(150, 2, 8)
    often = st.lyapunov(net, x, k=k)
    seldom = st.lyapunov(net, x, k=k, qr_every=150)
    assert seldom.spans == (150,)
    torch.testing.assert_close(seldom.exponents[0], often.exponents[0], rtol=1e-4, atol=1e-4)


def test_growth_over_depth_below_1e_12() -> None:
    """A thousandth of the weights in every layer is a thousandth of the growth in every layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(7):
        layers += [nn.Linear(8, 8, bias=False), st.LIF(beta=0.9, surrogate="rectangle")]
    net, x = nn.Sequential(*layers), torch.zeros(6, 2, 8)
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(1e-3 * torch.eye(8))
        for layer in layers[1::2]:
            layer.surrogate = st.surrogate.Rectangle(2.0)  # type: ignore[assignment]
    found = st.depth_growth(net, x)
    assert float(found.norms[-1].max()) < 1e-17
    assert bool((found.growth < -6).all())
