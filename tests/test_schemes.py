"""Schemes: orders derived and measured, stability limits against independent roots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

import saltation as st
from saltation.schemes import (
    SCHEMES,
    PartitionedScheme,
    PerVariableScheme,
    RationalScheme,
    Tableau,
    add_scheme,
    get_scheme,
)
from tests.facts import ORDERS, lif_relaxation

LINEAR = st.LIF.neuron_type.schemes


def root(*coefficients: float) -> float:
    """The real one of a cubic."""
    roots = np.roots(coefficients)
    return float(roots[np.abs(roots.imag) < 1e-9].real[0])


# Where 1 - z + z^2/2 - z^3/6 is -1, and with z^4/24 is 1 again.
RK3, RK4 = root(-1 / 6, 1 / 2, -1, 2), root(1 / 24, -1 / 6, 1 / 2, -1)

LIMITS = {
    "euler": 2.0,
    "rk2": 2.0,
    "heun": 2.0,
    "rk3": RK3,
    "ssprk3": RK3,
    "rk4": RK4,
    "exponential_split": math.inf,
    "exponential_symplectic": math.inf,
    "symplectic": 2.0,
    "symplectic_v": 2.0,
    "exponential": math.inf,
    "implicit_euler": math.inf,
    "trapezoid": math.inf,
}


def test_every_scheme_is_covered_here() -> None:
    """A scheme added to the registry needs an order and a limit known from outside."""
    assert set(SCHEMES) == set(ORDERS) == set(LIMITS)


@pytest.mark.parametrize("name", SCHEMES)
def test_order_is_the_known_one(name: str) -> None:
    """The order that a scheme derives from its own coefficients is the literature's."""
    assert SCHEMES[name].order == ORDERS[name]
    assert SCHEMES[name].name == name


@pytest.mark.parametrize("name", [n for n in LINEAR if n != "exponential"])
def test_one_step_error_falls_by_two_to_the_order_plus_one(name: str) -> None:
    """|R(-z) - exp(-z)| falls by 2^(p+1) per halving, within 2 %."""

    def error(z: float) -> float:
        return abs(SCHEMES[name].stability(-z) - math.exp(-z))

    assert error(1 / 64) / error(1 / 128) == pytest.approx(2 ** (ORDERS[name] + 1), rel=0.02)


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("name", [n for n in LINEAR if n != "exponential"])
def test_error_over_a_run_falls_by_two_to_the_order(name: str, decay_input: bool) -> None:
    """A silent LIF layer converges to the analytic solution with the scheme's order."""
    tau, time, x = 2.0, 4.0, 0.9

    def error(steps: int) -> float:
        layer = st.LIF(tau=tau, dt=time / steps, scheme=name, decay_input=decay_input, jump="none")
        drive = torch.full((steps, 1), x if decay_input else x / tau, dtype=torch.float64)
        state = layer(drive, layer.rest(drive[0]))[1]
        return abs(state.v.item() - lif_relaxation(time, tau, 0.0, x))

    assert error(128) / error(256) == pytest.approx(2 ** ORDERS[name], rel=0.02)


@pytest.mark.parametrize("z", [1e-12, 1e-3, 0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("rest", [0.0, -0.3])
def test_exponential_is_exact_on_lif(z: float, decay_input: bool, rest: float) -> None:
    """For input constant over each step the exact solution, to rounding, at any step length.

    The solution is the sum of what every step's input has left: x_k (exp(-(n-k-1)z) - exp(-(n-k)z))
    """
    tau, steps = 3.0, 12
    layer = st.LIF(
        tau=tau, dt=z * tau, decay_input=decay_input, v_rest=rest, jump="none", v_reset=-1.0
    )
    x = torch.randn(steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    age = np.arange(steps)[:, None] - np.arange(steps)
    left = np.where(age >= 0, -np.expm1(-z) * np.exp(-z * np.maximum(age, 0)), 0.0)
    change = left @ x.numpy() * (1.0 if decay_input else tau)
    # At rest 0 this also demands the digits of 1 - exp(-z) for tiny steps.
    scale = 4 * np.abs(change).max(axis=0) + abs(rest)
    assert (np.abs(layer.record(x).h.numpy() - (rest + change)) <= 4e-16 * steps * scale).all()


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("tau", [0.1, 2.0, 37.0])
def test_limit_on_a_decaying_mode(name: str, tau: float) -> None:
    """Largest dt / tau for dv/dt = -v/tau (twice, for schemes that need two variables)."""
    jacobian = np.diag([-1 / tau, -1 / tau])
    limit = SCHEMES[name].dt_limit(jacobian)
    assert limit == pytest.approx(LIMITS[name] * tau, rel=1e-9)
    if math.isfinite(limit):
        assert SCHEMES[name].is_stable(jacobian, 0.999 * limit)
        assert not SCHEMES[name].is_stable(jacobian, 1.001 * limit)


@pytest.mark.parametrize("damping", [3.0, 1e-2, 4e-4])
def test_euler_limit_on_a_damped_oscillation(damping: float) -> None:
    """For eigenvalues -d +- i explicit Euler is stable up to 2 d / (d^2 + 1).

    Growth of less than 1e-9 per step counts as none, which is 0.3 % of the smallest limit here.
    """
    jacobian = np.array([[-damping, -1.0], [1.0, -damping]])
    expected = 2 * damping / (damping**2 + 1)
    assert SCHEMES["euler"].dt_limit(jacobian) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("name", SCHEMES)
def test_an_unstable_system_has_no_stable_step(name: str) -> None:
    """Not even a scheme that damps everything makes an unstable system stable."""
    assert SCHEMES[name].dt_limit(np.array([[0.1, 0.0], [0.3, -1.0]])) == 0.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # v' = v + h(a v + b w) = 1.5 v + w,  w' = w + h(c v' + d w) = 3 v' + 5 w (old w)
        ("symplectic_v", [[1.5, 1.0], [4.5, 8.0]]),
        # w' = w + h(c v + d w) = 3 v + 5 w,  v' = v + h(a v + b w') = 1.5 v + w'
        ("symplectic", [[4.5, 5.0], [3.0, 5.0]]),
    ],
)
def test_partitioned_amplification_by_hand(name: str, expected: list[list[float]]) -> None:
    """J = ((1, 2), (6, 8)), dt = 1/2, worked out on paper."""
    amplification = SCHEMES[name].amplification(np.array([[1.0, 2.0], [6.0, 8.0]]), 0.5)
    np.testing.assert_array_equal(amplification, expected)


@pytest.mark.parametrize(
    "name",
    [n for n in SCHEMES if not isinstance(SCHEMES[n], PartitionedScheme | PerVariableScheme)],
)
def test_amplification_acts_on_each_mode_by_the_stability_function(name: str) -> None:
    """The matrix of a step is R applied to the eigenvalues, for a general 3 x 3 Jacobian."""
    jacobian = np.random.default_rng(3).normal(size=(3, 3)) - np.eye(3)
    eigenvalues, vectors = scipy.linalg.eig(jacobian)
    factors = np.diag(SCHEMES[name].stability(0.3 * eigenvalues))
    np.testing.assert_allclose(
        SCHEMES[name].amplification(jacobian, 0.3),
        vectors @ factors @ np.linalg.inv(vectors),
        rtol=1e-12,
        atol=1e-13,
    )


@pytest.mark.parametrize(
    ("numerator", "denominator"),
    [
        ((1.0, 0.9), (1.0,)),
        ((1.001, 1.0), (1.0,)),
        ((1.0,), (1.0,)),
        ((1.0, 1.0), (1.0, -1.0)),
        ((1.0, 0.5, 0.5), (1.0,)),
    ],
)
def test_an_inconsistent_scheme_is_refused(
    numerator: tuple[float, ...], denominator: tuple[float, ...]
) -> None:
    """R(0) = R'(0) = 1 is checked when a scheme is built."""
    with pytest.raises(ValueError, match="'wrong' is not consistent"):
        RationalScheme("wrong", "wrong", numerator=numerator, denominator=denominator)


def test_a_wrong_weight_lowers_the_derived_order() -> None:
    """The order is derived, not declared: RK4 with a wrong last weight has order 3."""
    assert RationalScheme("x", "x", numerator=(1, 1, 1 / 2, 1 / 6, 1 / 25)).order == 3
    assert RationalScheme("x", "x", numerator=(1, 1, 1 / 2, 1 / 6)).order == 3


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (((1.0,),), (0.5, 0.6), "'wrong' is not consistent: its weights must add up to 1"),
        (((1.0, 0.0),), (0.5, 0.5), "2 weights need rows of 1 ... 1"),
        ((), (0.5, 0.5), "2 weights need rows of 1 ... 1"),
    ],
)
def test_a_wrong_tableau_is_refused(a: Any, b: Any, message: str) -> None:
    """When it is made."""
    with pytest.raises(ValueError, match=message):
        Tableau("wrong", "wrong", a=a, b=b)


def test_the_order_of_a_tableau_is_derived() -> None:
    """From the conditions on its coefficients, those too that linear systems do not see."""
    # As RK4 on linear systems; b a c^2 is 1/12 + 1/48.
    wrong = Tableau("x", "x", a=((1 / 4,), (0, 1 / 2), (1, -2, 2)), b=(1 / 6, 0, 2 / 3, 1 / 6))
    assert wrong.order == 4
    assert Tableau("x", "x", a=((1 / 2,), (0, 1 / 2), (0, 0, 1)), b=(0, 1, 0, 0)).order == 2
    assert Tableau("x", "x", a=((1 / 3,), (0, 2 / 3)), b=(1 / 4, 0, 3 / 4)).order == 3
    # Of order 3 on linear systems; b c^2 is 3/8, not 1/3.
    linear = Tableau("x", "x", a=((1 / 3,), (0, 3 / 4)), b=(1 / 3, 0, 2 / 3))
    assert linear.order == 2
    assert linear.stability(-0.5) == pytest.approx(SCHEMES["rk3"].stability(-0.5), rel=1e-14)


def test_a_scheme_of_ones_own_is_one_entry() -> None:
    """It integrates every model; its name is taken from then on, but may be given again to it."""

    def ralston() -> Tableau:
        return Tableau("ralston", "Ralston", a=((2 / 3,),), b=(1 / 4, 3 / 4))

    add_scheme(ralston())
    try:
        add_scheme(ralston())
        assert all("ralston" in model.schemes for model in st.NEURONS.values() if model.schemes)
        layer = st.QIF(dt=0.5, scheme="ralston", a0=2.0, v_c=1.0)
        (_, after) = layer.step(torch.tensor([2.0]), (torch.tensor([0.5]),))
        # k1 = 0.25 (2 v (v - 1) + 2) = 0.375, at v + 0.25 = 0.75: k2 = 0.40625
        assert after.v.item() == 0.5 + 0.375 / 4 + 0.75 * 0.40625
        with pytest.raises(st.SaltationError, match="scheme 'ralston' is taken by Ralston: give"):
            add_scheme(Tableau("ralston", "another"))
    finally:
        del SCHEMES["ralston"]
    with pytest.raises(st.SaltationError, match="scheme 'euler' is taken by explicit Euler: give"):
        add_scheme(Tableau("euler", "midpoint", a=((0.5,),), b=(0.0, 1.0)))


def test_per_variable_by_hand() -> None:
    """Each variable by the exponential of its own equation: all from old values, or in turn."""
    jacobian = np.array([[-1.0, 2.0], [3.0, -4.0]])
    a, b = math.exp(-0.5), math.exp(-2.0)
    # v' = a v + (1 - a) 2 w;  w' = b w + (1 - b) 3/4 v, from the old v or the new.
    split = [[a, 2 * (1 - a)], [0.75 * (1 - b), b]]
    turn = [split[0], [0.75 * (1 - b) * a, b + 0.75 * (1 - b) * 2 * (1 - a)]]
    for name, expected in (("exponential_split", split), ("exponential_symplectic", turn)):
        found = SCHEMES[name].amplification(jacobian, 0.5)
        np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("name", ["exponential_split", "exponential_symplectic"])
@pytest.mark.parametrize("dt", [0.01, 1.0, 30.0])
def test_per_variable_is_exact_for_a_gate(name: str, dt: float) -> None:
    """An opening and closing at rates that the potential sets, which here stands still."""

    class Gate(st.Neuron):
        def velocity(self, x: Any, v: Any, m: Any) -> Any:
            return 0.0 * v, torch.exp(v) * (1.0 - m) - 0.5 * m

        def initial(self) -> Any:
            return 0.0, 0.0

    neuron = Gate(dt=dt, scheme=name)  # type: ignore[call-arg]
    v, m = torch.tensor([-0.7, 0.0, 0.9], dtype=torch.float64), torch.full((3,), 0.2).double()
    h = neuron.integrate(torch.zeros(3).double(), Gate.State(v, m), torch.sign)
    rate = v.exp() + 0.5
    end = v.exp() / rate
    torch.testing.assert_close(h.m, end + (m - end) * (-rate * dt).exp(), rtol=1e-13, atol=0)
    assert torch.equal(h.v, v)


def test_get_scheme_takes_a_name_or_an_object() -> None:
    """Objects pass through; names are looked up."""
    assert get_scheme("rk4") is SCHEMES["rk4"]
    assert get_scheme(SCHEMES["rk2"]) is SCHEMES["rk2"]
