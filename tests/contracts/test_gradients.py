"""Derivatives of every layer: against finite differences where the forward is smooth, and
forward mode against reverse mode with true spikes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from saltation.surrogate import SURROGATES, Sigmoid, Smooth
from tests.contracts.conftest import Case
from tests.facts import TOLERANCE

F64 = torch.float64


def run(case: Case, **more: object) -> Callable[..., tuple[Tensor, ...]]:
    """``(currents, *state) -> (spikes, potentials, *last state)``."""
    layer = case.layer(**more)

    def function(x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        trace = layer.record(x, layer.neuron.State(*state))
        assert trace.h is not None
        return (trace.spikes, trace.h, *trace.state)

    return function


def inputs(case: Case, steps: int, batch: int = 2) -> tuple[Tensor, ...]:
    """Currents and a state off rest."""
    x = case.currents(steps, batch)
    rest = case.layer().rest(x[0])
    noise = torch.Generator().manual_seed(1)
    state = [part + 0.2 * torch.randn(part.shape, dtype=F64, generator=noise) for part in rest]
    return tuple(t.requires_grad_() for t in (x, *state))


def test_gradients_of_smooth_spikes(case: Case) -> None:
    """Reverse and forward mode against finite differences."""
    function = run(case, surrogate=Smooth(Sigmoid(4.0)))
    assert torch.autograd.gradcheck(function, inputs(case, 3, 1), check_forward_ad=True)


def test_second_derivatives_of_smooth_spikes(model: Case) -> None:
    """Double backward against finite differences of the gradient."""
    function = run(model, surrogate=Smooth(Sigmoid(2.0)))
    assert torch.autograd.gradgradcheck(function, inputs(model, 2))


def test_forward_mode_is_reverse_mode(any_scheme: Case, full: bool) -> None:
    """<g, J t> = <J' g, t> with true spikes and the surrogate's slope, for random g and t."""
    agree(any_scheme, full, detach_reset=False)


def test_forward_mode_is_reverse_mode_past_the_jump(case: Case, full: bool) -> None:
    """As above where no derivative goes through the jump."""
    agree(case, full, detach_reset=True)


def agree(case: Case, full: bool, *, detach_reset: bool) -> None:
    function = run(case, detach_reset=detach_reset)
    primals = tuple(t.detach() for t in inputs(case, 12, 6))
    noise = torch.Generator().manual_seed(2)

    def like(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(torch.randn(p.shape, dtype=F64, generator=noise) for p in parts)

    outputs, pull = torch.func.vjp(function, *primals)
    assert 0 < outputs[0].sum() < outputs[0].numel()
    for _ in range(10 if full else 1):
        tangents, cotangents = like(primals), like(outputs)
        pushed = torch.func.jvp(function, primals, tangents)[1]
        forward = [(g * t).sum() for g, t in zip(cotangents, pushed, strict=True)]
        reverse = [(g * t).sum() for g, t in zip(pull(cotangents), tangents, strict=True)]
        size = sum(abs(f) for f in (*forward, *reverse))
        assert abs(sum(forward) - sum(reverse)) <= TOLERANCE[F64] * size


def test_jacobians_agree_under_vmap(model: Case) -> None:
    """The whole Jacobian of the spikes, forward and reverse, each a vmap over its directions."""
    layer = model.layer()
    x = model.currents(5, 1, 2)
    forward = torch.func.jacfwd(layer)(x)
    torch.testing.assert_close(forward, torch.func.jacrev(layer)(x), rtol=1e-11, atol=1e-12)
    assert forward.abs().sum() > 0


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate_reaches_the_input(model: Case, name: str) -> None:
    """In one step d s / d x is the surrogate's slope times d h / d x."""
    layer = model.layer(surrogate=name)
    x = model.currents(1, 40, 5).requires_grad_()
    below = 0.65 if model.model == "izhikevich_2003" else 0.2  # an upstroke is fast
    near = layer.neuron.v_threshold - below * abs(layer.neuron.v_threshold - layer.neuron.v_reset)
    state = layer.rest(x[0])._replace(v=torch.full(x.shape[1:], near, dtype=F64))
    trace = layer.record(x, state)
    assert trace.h is not None
    (spikes,) = torch.autograd.grad(trace.spikes.sum(), x, retain_graph=True)
    (potential,) = torch.autograd.grad(trace.h.sum(), x)
    # One that knows dt has its layer's.
    slope = layer.surrogate.derivative(trace.h.detach() - layer.neuron.v_threshold)
    torch.testing.assert_close(spikes, potential * slope, rtol=TOLERANCE[F64], atol=1e-300)
    assert (slope > 0).any()
