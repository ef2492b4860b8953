"""Maps and flows whose exponents are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import saltation as st

D = torch.float64


def henon(s: Tensor) -> Tensor:
    return torch.stack([1 - 1.4 * s[:, 0] ** 2 + s[:, 1], 0.3 * s[:, 0]], 1)


def lorenz(s: Tensor) -> Tensor:
    x, y, z = s.unbind(1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], 1)


def start(n: int, samples: int = 64) -> Tensor:
    noise = torch.Generator().manual_seed(1)
    return 0.1 + 0.1 * torch.rand(samples, n, generator=noise, dtype=D)


@pytest.mark.parametrize("estimator", ["tangent", "finite"])
def test_logistic(estimator: str) -> None:
    """r = 4: ln 2, within 1 %."""
    step: Callable[[Tensor], Tensor] = lambda x: 4 * x * (1 - x)  # noqa: E731
    with torch.no_grad():
        found = st.lyapunov_map(step, start(1), 700, transient=100, estimator=estimator)
    assert float(found.exponent) == pytest.approx(math.log(2), rel=0.01)


def test_henon() -> None:
    """0.4192, and the sum of both is ln 0.3 exactly."""
    with torch.no_grad():
        found = st.lyapunov_map(henon, start(2), 900, transient=100, k=2)
    assert float(found.exponent) == pytest.approx(0.4192, rel=0.01)
    assert float(found.spectrum.sum()) == pytest.approx(math.log(0.3), rel=1e-9)
    assert found.dimension == pytest.approx(1.258, abs=0.01)


def test_lorenz() -> None:
    """0.9056, 0 and -14.57 per unit of time; their sum is the trace, -13.667."""
    with torch.no_grad():
        found = st.lyapunov_map(
            st.flow(lorenz, 0.1, substeps=4), 10 * start(3, 256), 700, k=3, transient=300, dt=0.1
        )
    first, second, third = found.spectrum.tolist()
    assert first == pytest.approx(0.9056, rel=0.01)
    assert abs(second) < 0.01
    assert third == pytest.approx(-14.57, rel=0.01)
    assert found.unit == "unit of time"


@pytest.mark.parametrize("qr_every", [1, 4, 7])
def test_a_linear_map_is_exact(qr_every: int) -> None:
    """A triangular matrix: the logarithms of its diagonal, in the limit."""
    matrix = torch.tensor([[1.5, 0.3, -0.2], [0, 0.8, 0.4], [0, 0, 0.25]], dtype=D)
    with torch.no_grad():
        found = st.lyapunov_map(
            lambda s: s @ matrix.T, start(3, 2), 140, k=3, transient=70, qr_every=qr_every
        )
    expected = torch.tensor([1.5, 0.8, 0.25], dtype=D).log()
    torch.testing.assert_close(found.spectrum, expected, rtol=1e-6, atol=1e-6)


def test_the_growth_telescopes() -> None:
    """With one vector the exponent times the horizon is the growth of the vector itself."""
    found = st.lyapunov_map(henon, start(2), 30, qr_every=30)
    every = st.lyapunov_map(henon, start(2), 30)
    torch.testing.assert_close(found.exponents, every.exponents)
    assert found.spans == (30,)
    assert found.horizon == every.horizon == 30


def test_vectors_that_vanish_are_counted() -> None:
    """A map of rank one: the others are floored and flagged, and no gradient is NaN."""
    scale = torch.tensor(2.0, dtype=D, requires_grad=True)

    def step(s: Tensor) -> Tensor:
        return (scale * s.sum(1, keepdim=True)).expand(-1, 3) / 3

    found = st.lyapunov_map(step, start(3, 2), 6, k=3, transient=1)
    expected = [math.log(2), math.log(1e-12), math.log(1e-12)]
    assert found.spectrum.tolist() == pytest.approx(expected)
    assert found.floored == 2 * 2 * 5
    found.spectrum.sum().backward()
    assert scale.grad is not None
    assert torch.isfinite(scale.grad)


def test_a_map_onto_a_point() -> None:
    """Nothing is left of any perturbation: the floor, for both estimators."""
    for estimator in ("tangent", "finite"):
        found = st.lyapunov_map(lambda s: 0 * s, start(2), 3, estimator=estimator)
        assert found.floored == 3 * 64
        assert torch.isfinite(found.exponents).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 3}, "no 3 exponents"),
        ({"k": 0}, "k must be an integer of at least 1"),
        ({"transient": 5}, "more than the transient 5"),
        ({"estimator": "telescoped"}, "step by step"),
        ({"estimator": "tangents"}, "estimator"),
        ({"estimator": "finite", "k": 2}, "one vector"),
        ({"eps": 0.0}, "eps"),
        ({"dt": -1.0}, "dt"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        st.lyapunov_map(henon, start(2), 5, **options)  # type: ignore[arg-type]
