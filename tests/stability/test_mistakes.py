"""Mistakes at the estimates, as they are made, and the one line that each of them gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), st.LIF(), nn.Linear(8, 5), st.LIF(), nn.Linear(5, 3))


def x() -> Tensor:
    return torch.rand(10, 4, 6)


def y() -> Tensor:
    return torch.tensor([0, 1, 2, 0])


def penalty(**options: Any) -> Tensor:
    return st.LyapunovPenalty(**options)(network(), x())


def henon(s: Tensor) -> Tensor:
    return torch.stack([1 - 1.4 * s[:, 0] ** 2 + s[:, 1], 0.3 * s[:, 0]], 1)


NO_INPUT = "the input must be a floating-point tensor [T, B, ...], or what the network takes, got "
NOT_TAKEN = (
    "the network cannot take the input [%s], which should be [T, B, ...] or what its forward takes "
    "(to show one input for T steps give st.direct(x, T)): with dimension 1 as the samples: "
)

NO_NEURONS = (
    "Linear must hold neurons of one of saltation, snntorch, spikingjelly and norse, found none"
)

MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "integers": (
        lambda: st.lyapunov(network(), x().long()),
        f"{NO_INPUT}torch.int64 [10, 4, 6]",
    ),
    "an array of numpy": (
        lambda: st.lyapunov(network(), x().numpy()),  # type: ignore[arg-type]
        f"{NO_INPUT}ndarray",
    ),
    "double precision": (
        lambda: st.lyapunov(network(), x().double()),
        f"{NOT_TAKEN % '10, 4, 6'}mat1 and mat2 must have the same dtype, but got Double and Float",
    ),
    "a wrong width": (
        lambda: st.lyapunov(network(), x()[..., :5]),
        f"{NOT_TAKEN % '10, 4, 5'}mat1 and mat2 shapes cannot be multiplied (20x5 and 6x8)",
    ),
    "a wrong width for the penalty": (
        lambda: st.LyapunovPenalty()(network(), x()[..., :5]),
        f"{NOT_TAKEN % '10, 4, 5'}mat1 and mat2 shapes cannot be multiplied (20x5 and 6x8)",
    ),
    "a wrong width over depth": (
        lambda: st.depth_growth(network(), x()[..., :5]),
        f"{NOT_TAKEN % '10, 4, 5'}mat1 and mat2 shapes cannot be multiplied (20x5 and 6x8)",
    ),
    "a wrong width for weights to be scaled": (
        lambda: st.set_lyapunov(network(), x()[..., :5]),
        f"{NOT_TAKEN % '10, 4, 5'}mat1 and mat2 shapes cannot be multiplied (20x5 and 6x8)",
    ),
    "a wrong number of channels": (
        lambda: st.lyapunov(nn.Sequential(nn.Conv2d(3, 4, 3), st.LIF()), torch.rand(4, 2, 8, 8)),
        f"{NOT_TAKEN % '4, 2, 8, 8'}Given groups=1, weight of size [4, 3, 3, 3], expected input",
    ),
    "integers over depth": (
        lambda: st.depth_growth(network(), x().long()),
        f"{NO_INPUT}torch.int64 [10, 4, 6]",
    ),
    "an estimator with a typing error": (
        lambda: st.lyapunov(network(), x(), estimator="tangents"),
        "unknown estimator 'tangents'; did you mean 'tangent'? (allowed: tangent, telescoped, "
        "finite)",
    ),
    "a penalty with a typing error": (
        lambda: penalty(penalty="sqared"),
        "unknown penalty 'sqared'; did you mean 'squared'? (allowed: squared, hinge, asymmetric, "
        "extreme, adaptive_linear, adaptive_exp, adaptive_sigmoid, mult_linear, mult_squared, "
        "mult_log, floss)",
    ),
    "no weight": (lambda: penalty(weight=0), "weight must be a finite number above 0, got 0"),
    "a weight that is not finite": (
        lambda: penalty(weight=float("nan")),
        "weight must be a finite number above 0, got nan",
    ),
    "no samples": (lambda: penalty(samples=0), "samples must be an integer of at least 1, got 0"),
    "more samples than there are": (
        lambda: st.lyapunov(network(), x(), samples=5),
        "samples must be from 1 to the batch's 4, got 5",
    ),
    "half a sample": (
        lambda: st.lyapunov(network(), x(), samples=2.5),  # type: ignore[arg-type]
        "samples must be from 1 to the batch's 4, got 2.5",
    ),
    "a penalty on a spectrum": (
        lambda: penalty(k=3),
        "penalty 'squared' looks at one exponent, not 3; take 'floss'",
    ),
    "a spectrum of telescoped": (
        lambda: penalty(k=3, penalty="floss"),
        "estimator 'telescoped' follows one vector, not 3; take 'tangent'",
    ),
    "more exponents than numbers": (
        lambda: st.lyapunov(network(), x(), k=14),
        "a state of 13 numbers has no 14 exponents",
    ),
    "a transient as long as the input": (
        lambda: st.lyapunov(network(), x(), transient=10),
        "the transient must be less than the input's 10 steps, and end before the last "
        "decomposition begins, got 10 (allowed: at most 9)",
    ),
    "a distance below rounding": (
        lambda: st.lyapunov(network(), torch.ones(10, 4, 6), estimator="finite", eps=1e-12),
        "eps must be at least",
    ),
    "a network without neurons": (
        lambda: st.lyapunov(nn.Linear(6, 3), x()),
        NO_NEURONS,
    ),
    "a penalty on a network without neurons": (
        lambda: st.LyapunovPenalty()(nn.Linear(6, 3), x()),
        NO_NEURONS,
    ),
    "layers without neurons": (
        lambda: st.lyapunov(nn.Sequential(nn.Linear(6, 0), st.LIF()), x()),
        "the states of the neurons hold no number that could be perturbed",
    ),
    "a growth over one layer": (
        lambda: st.set_depth_growth(network()[:2], x()),
        "growth over depth needs two layers of neurons or more, got one",
    ),
    "a target that is no number": (
        lambda: st.set_lyapunov(network(), x(), float("nan")),
        "target must be a finite number, got nan",
    ),
    "a target out of reach": (
        lambda: st.set_lyapunov(network(), x(), 5.0, passes=2),
        "an exponent within 0.02 of 5.0 was not found in 2 passes",
    ),
    "a map that changes the shape": (
        lambda: st.lyapunov_map(lambda s: s[:, :1], torch.rand(2, 2), 5),
        "step must return a state of the shape it was given, [2, 2], got [2, 1]",
    ),
    "a map of numpy": (
        lambda: st.lyapunov_map(henon, torch.rand(2, 2).numpy(), 5),  # type: ignore[arg-type]
        "the state must be a tensor, got ndarray",
    ),
    "half a step of a map": (
        lambda: st.lyapunov_map(henon, torch.rand(2, 2), 2.5),  # type: ignore[arg-type]
        "steps must be an integer, more than the transient 0, got 2.5",
    ),
    "a diagnosis without neurons": (
        lambda: st.diagnose(nn.Linear(6, 3), x(), y()),
        NO_NEURONS,
    ),
    "a diagnosis of frozen weights": (
        lambda: st.diagnose(network().requires_grad_(False), x(), y()),
        "the loss does not depend on any weight that can be trained",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line(name: str) -> None:
    """The whole of it, or its beginning where numbers follow."""
    mistake, line = MISTAKES[name]
    with pytest.raises(st.SaltationError, match=f"^{re.escape(line)}") as error:
        mistake()
    assert "\n" not in str(error.value)


def test_errors_of_our_own_are_not_put_down_to_the_network() -> None:
    """Only what is raised while a module is called."""
    walk = st.adapt(network(), walk=lambda net, x, end: (_ for _ in ()).throw(RuntimeError("mine")))
    with pytest.raises(RuntimeError, match=r"^mine$"):
        st.lyapunov(walk, x())
