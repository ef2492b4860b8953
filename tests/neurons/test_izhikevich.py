"""Izhikevich: steps by hand, orders against scipy, phi_1 against mpmath, limits by simulation."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from numpy.typing import NDArray

import saltation as st
from saltation import phi
from saltation.neurons import IzhikevichNeuron, IzhikevichState
from tests.facts import ORDERS

F64 = torch.float64

# Strong coupling and unequal time constants, so that a slip in either equation shows.
COUPLED: dict[str, float] = {
    "tau": 1.5, "tau_w": 0.8, "a": 0.9, "a0": 1.3, "v_rest": -0.2, "v_c": 0.7, "w_rest": 0.1,
}  # fmt: skip


def solution(neuron: IzhikevichNeuron, x: float, time: float) -> NDArray[Any]:
    """(v, w) at ``time`` from rest under constant input, by scipy at its tightest."""

    def rhs(_: float, y: NDArray[Any]) -> list[float]:
        v, w = y
        return [
            (neuron.a0 * (v - neuron.v_rest) * (v - neuron.v_c) - w + x) / neuron.tau,
            (neuron.a * (v - neuron.v_rest) - w) / neuron.tau_w,
        ]

    start = [neuron.v_reset, neuron.w_rest]
    run = scipy.integrate.solve_ivp(rhs, (0, time), start, method="DOP853", rtol=1e-13, atol=1e-13)
    return np.asarray(run.y[:, -1])


def simulate(neuron: IzhikevichNeuron, x: float, steps: int) -> NDArray[Any]:
    """(v, w) after so many steps from rest under constant input."""
    layer = st.Izhikevich(**dataclasses.asdict(neuron))
    drive = torch.full((steps, 1), x, dtype=F64)
    spikes, state = layer(drive, layer.rest(drive[0]))
    assert spikes.sum() == 0
    return torch.cat(state).numpy()


@pytest.mark.parametrize("scheme", IzhikevichNeuron.schemes)
def test_order_of_convergence(scheme: str) -> None:
    """The fitted order of both variables before the first spike is the scheme's, within 0.1."""
    time, x = 4.0, 0.9
    exact = solution(IzhikevichNeuron(**COUPLED), x, time)
    assert 0.5 < exact[0] < 1
    counts = np.array([24, 34, 48, 68, 96]) * (4 if ORDERS[scheme] < 4 else 1)
    errors = np.array(
        [
            np.abs(simulate(IzhikevichNeuron(dt=time / n, scheme=scheme, **COUPLED), x, n) - exact)
            for n in counts
        ]
    )
    assert errors.min() > 1e-11, "above the rounding floor"
    for error in errors.T:
        slope = np.polyfit(np.log(counts), np.log(error), 1)[0]
        assert -slope == pytest.approx(ORDERS[scheme], abs=0.1)


# tau 1, tau_w 2, dt 1/2: z = 1/2, z_w = 1/4; v_rest 0, v_c 1, a0 2, a 1; v = 1/2, w = 1, x = 2:
# dv = (2 v (v - 1) - w + x) / 2,  dw = (v - w) / 4
STEPS = {
    "euler": (0.5 + 0.25, 1 - 0.125),
    "symplectic_v": (0.75, 1 - 0.0625),  # dw from v = 0.75
    "symplectic": (0.5 + 0.3125, 0.875),  # dv from w = 0.875
    "heun": (0.5 + (0.25 + (2 * 0.75 * -0.25 - 0.875 + 2) / 2) / 2, 1 + (-0.125 - 0.125 / 4) / 2),
    "rk2": (0.5 + (0.25 + (2 * 0.75 * -0.25 - 0.875 + 2) / 2) / 2, 1 + (-0.125 - 0.125 / 4) / 2),
}


@pytest.mark.parametrize("scheme", STEPS)
def test_step_by_hand(scheme: str) -> None:
    """One step on paper; which variable sees the other's new value is what tells schemes apart."""
    layer = st.Izhikevich(
        tau=1.0, tau_w=2.0, dt=0.5, scheme=scheme, v_rest=0.0, v_c=1.0, a0=2.0, a=1.0
    )
    start = IzhikevichState(torch.tensor([0.5], dtype=F64), torch.tensor([1.0], dtype=F64))
    spikes, state = layer.step(torch.tensor([2.0], dtype=F64), start)
    assert (state.v.item(), state.w.item(), spikes.item()) == (*STEPS[scheme], 0.0)


@pytest.mark.parametrize(
    ("jump", "v", "w"), [("hard", -0.5, 1.25), ("soft", 1.0, 1.25), ("none", 3.0, 1.0)]
)
def test_jump_by_hand(jump: str, v: float, w: float) -> None:
    """From h = 3 over threshold 2: v to v_reset or less the threshold, w up by b; or neither."""
    neuron = IzhikevichNeuron(jump=jump, v_reset=-0.5, v_threshold=2.0, b=0.25)
    h = IzhikevichState(torch.tensor([3.0, 1.5]), torch.tensor([1.0, 1.0]))
    after = neuron.apply_jump(h, torch.tensor([1.0, 0.0]))
    assert after.v.tolist() == [v, 1.5]
    assert after.w.tolist() == [w, 1.0]


def test_starts_at_reset_and_w_rest() -> None:
    """v at v_reset (not v_rest), w at w_rest, of the input's dtype."""
    state = st.Izhikevich(v_reset=0.1, v_rest=-0.3, w_rest=0.7).rest(torch.zeros(2, dtype=F64))
    assert (state.v.tolist(), state.w.tolist()) == ([0.1, 0.1], [0.7, 0.7])
    assert state.v.dtype == state.w.dtype == F64


@pytest.mark.parametrize("dt", [1e-3, 0.5, 3.0, 20.0])
def test_exponential_is_exact_when_the_system_is_linear(dt: float) -> None:
    """With a0 = 0 every step is the solution, by scipy's exponential of the augmented matrix."""
    neuron = IzhikevichNeuron(**{**COUPLED, "a0": 0.0}, dt=dt, v_threshold=1e3)
    x = 0.7
    augmented = np.zeros((3, 3))
    augmented[:2, :2] = neuron.jacobian
    augmented[:2, 2] = [x / neuron.tau, -neuron.a * neuron.v_rest / neuron.tau_w]
    start = np.array([neuron.v_reset, neuron.w_rest, 1.0])
    for steps in (1, 3):
        exact = (scipy.linalg.expm(augmented * dt * steps) @ start)[:2]
        np.testing.assert_allclose(simulate(neuron, x, steps), exact, rtol=1e-12, atol=1e-14)


def matrices() -> list[NDArray[Any]]:
    """Random ones of small and large norm, singular, defective, zero, oscillating, stiff."""
    random = np.random.default_rng(0)
    special = [
        [[0.0, 0.0], [0.0, 0.0]],
        [[1e-9, 0.0], [0.0, -1e-9]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[0.0, 3.0], [0.0, 0.0]],
        [[-2.0, 5.0], [0.0, -2.0]],
        [[0.0, -20.0], [20.0, 0.0]],
        [[-300.0, -5.0], [0.1, -5.0]],
        [[100.0, -5.0], [0.1, -5.0]],
    ]
    drawn = [scale * random.normal(size=(2, 2)) for scale in (1e-3, 0.1, 1, 10) for _ in range(10)]
    other = [scale * random.normal(size=(n, n)) for scale in (1e-3, 1, 10) for n in (1, 3, 4, 4)]
    return [np.array(m) for m in special] + drawn + other


@pytest.mark.parametrize("matrix", matrices(), ids=lambda m: np.array2string(m, precision=2))
@pytest.mark.parametrize("spare", [0, 5])
def test_phi_is_the_integral_of_the_exponential(matrix: NDArray[Any], spare: int) -> None:
    """phi_1(M) is the corner of exp(((M, I), (0, 0))); more squarings than needed do no harm.

    By mpmath in 50 digits: scipy's own exponential errs by 2e-12 here. Relative to the largest
    entry; scaling and squaring loses about eps times the norm, which is at most 300.
    """
    size = len(matrix)
    doublings = phi.squarings(np.abs(matrix).sum(axis=1).max()) + spare
    columns = [phi.times(matrix.tolist(), list(e), doublings) for e in np.eye(size)]
    block = np.zeros((2 * size, 2 * size))
    block[:size, :size], block[:size, size:] = matrix, np.eye(size)
    with mpmath.workdps(50):
        whole = mpmath.expm(mpmath.matrix(block))
        exact = np.array(whole[:size, size:].tolist(), dtype=float)
    np.testing.assert_allclose(np.array(columns).T, exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("norm", [0.2, 0.9, 3.0, 30.0])
def test_phi_in_single_precision(norm: float) -> None:
    """Value and derivative of fewer terms, beside those of double precision: up to rounding, which
    doubling makes about as much greater as the norm is."""
    near = torch.linspace(-norm, norm, 2001, dtype=torch.float64).float()
    doublings = phi.squarings(norm)

    def found(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = z.requires_grad_()
        (value,) = phi.times([[z]], [1.0], doublings)
        return value.detach().double(), torch.autograd.grad(value.sum(), z)[0].double()

    exact = found(near.double())
    for single, double in zip(found(near), exact, strict=True):
        assert ((single - double) / double).abs().max() < 1e-6 * max(1.0, norm / 3)
    pair = [[near, 0.5 * near], [-0.3 * near, 0.2 * near]]
    wide = [[entry.double() for entry in row] for row in pair]
    doublings = phi.squarings(1.5 * norm)
    for one, two in zip(
        phi.times(pair, [1.0, 0.5], doublings), phi.times(wide, [1.0, 0.5], doublings), strict=True
    ):
        assert ((one - two) / two.abs().clamp_min(0.1)).abs().max() < 1e-6 * max(1.0, norm)


@pytest.mark.parametrize(("dt", "within"), [(0.05, 8.0), (1.0, 8.0), (10.0, 4.0)])
def test_squarings_cover_every_jacobian_within_range(dt: float, within: float) -> None:
    """The entries of the Jacobian at the ends of the range are within what is doubled up to."""
    neuron = IzhikevichNeuron(dt=dt)
    limit = phi.bound(phi.squarings(neuron.stiffness))
    for v in (-within, within):
        jacobian = dt * np.array(
            [
                [neuron.a0 * (2 * v - neuron.v_rest - neuron.v_c) / neuron.tau, -1 / neuron.tau],
                [neuron.a / neuron.tau_w, -1 / neuron.tau_w],
            ]
        )
        assert np.abs(jacobian).sum(axis=1).max() <= limit
    assert limit <= 256


OSCILLATING: dict[str, float] = {"tau": 1.0, "tau_w": 4.0, "a": 3.0, "a0": 0.5, "v_reset": -0.1}


def perturbed(neuron: IzhikevichNeuron, steps: int) -> list[float]:
    """Distance from the resting state (v_rest, 0) over the steps, from 1e-7 away, no input."""
    v = torch.tensor([neuron.v_rest + 1e-7], dtype=F64)
    state = IzhikevichState(v, torch.tensor([-0.6e-7], dtype=F64))
    distances = []
    for _ in range(steps):
        _, state, _ = neuron.step(torch.zeros(1, dtype=F64), state, st.surrogate.Sigmoid())
        distances.append(math.hypot(state.v.item() - neuron.v_rest, state.w.item()))
    return distances


@pytest.mark.parametrize(
    "parameters",
    [{}, pytest.param(COUPLED, marks=pytest.mark.slow), OSCILLATING],
    ids=["own", "coupled", "osc"],
)
@pytest.mark.parametrize("scheme", IzhikevichNeuron.schemes)
def test_dt_limit_is_where_a_simulation_turns(scheme: str, parameters: dict[str, float]) -> None:
    """Just below the limit a small perturbation of rest dies out, just above it grows."""
    limit = IzhikevichNeuron(scheme=scheme, **parameters).dt_limit
    if math.isinf(limit):
        assert scheme.startswith("exponential")
        far = IzhikevichNeuron(scheme=scheme, dt=100.0, **parameters)
        assert perturbed(far, 1000)[-1] < 1e-12
        return
    below = IzhikevichNeuron(scheme=scheme, dt=0.98 * limit, **parameters)
    above = IzhikevichNeuron(scheme=scheme, dt=1.02 * limit, **parameters)
    assert below.is_stable
    assert not above.is_stable
    assert perturbed(below, 1200)[-1] < 1e-9
    assert max(perturbed(above, 1000)) > 1e-5


def test_jacobian_is_the_derivative_at_rest() -> None:
    """Against autograd through one Euler step: dt J = d step / d state - I."""
    neuron = IzhikevichNeuron(scheme="euler", dt=0.25, **COUPLED)

    def step(y: torch.Tensor) -> torch.Tensor:
        state = neuron.integrate(torch.zeros((), dtype=F64), IzhikevichState(*y), torch.sign)
        return torch.stack(state)

    at_rest = torch.tensor([neuron.v_rest, 0.0], dtype=F64)
    jacobian = torch.func.jacrev(step)(at_rest) - torch.eye(2, dtype=F64)
    np.testing.assert_allclose(neuron.jacobian * 0.25, jacobian.numpy(), atol=1e-15)


def test_unstable_rest_has_no_limit_to_respect() -> None:
    """With v_c below v_rest the resting state is a source; no dt is stable, and that is said."""
    neuron = IzhikevichNeuron(v_c=-0.9, v_rest=0.5, dt=0.1)
    assert neuron.dt_limit == 0.0
    with pytest.warns(st.StabilityWarning, match="resting state of Izhikevich is itself unstable"):
        neuron.warn_if_unstable()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tau": 0.0}, "Izhikevich tau must be a finite number above 0"),
        ({"tau_w": -2.0}, "Izhikevich tau_w must be a finite number above 0"),
        ({"dt": float("nan")}, "Izhikevich dt must be a finite number above 0"),
        ({"b": float("nan")}, "Izhikevich b must be finite, got nan"),
        ({"v_reset": 1.5}, "v_reset must be below v_threshold = 1.0, got 1.5"),
        ({"scheme": "trapezoid"}, "no scheme 'trapezoid': it is implicit"),
        ({"jump": "soft_delayed"}, "unknown Izhikevich jump 'soft_delayed'"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    """Each at construction, saying what was given and what is allowed."""
    with warnings.catch_warnings(), pytest.raises(st.SaltationError, match=message):
        IzhikevichNeuron(**parameters)  # type: ignore[arg-type]
