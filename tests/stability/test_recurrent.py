"""The spectrum of recurrent layers, against dense Jacobians and step by step."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.stability.carry import Carry, carried

D = torch.float64


def dense_spectrum(net: st.Recurrent, x: Tensor, k: int, seed: int) -> Tensor:
    """Exponents from dense Jacobians of one step, QR after each."""
    state: Any = net.rest(x[0])
    sizes = [net.features] * (1 + len(state.neuron))
    kind = type(state.neuron)

    def flat_step(flat: Tensor, x_t: Tensor) -> Tensor:
        s, *rest = flat.split(sizes)
        full = type(state)(s[None], kind(*(part[None] for part in rest)))
        _, after = net.step(x_t, full)
        return torch.cat([after.spikes[0], *(part[0] for part in after.neuron)])

    noise = torch.Generator().manual_seed(seed)
    shape = (k, net.features)
    q = torch.cat([torch.randn(shape, generator=noise).to(D) for _ in sizes], 1).T
    q = torch.linalg.qr(q).Q
    flat = torch.cat([torch.zeros(sizes[0], dtype=D), *(part[0] for part in state.neuron)])
    total = torch.zeros(k, dtype=D)
    for x_t in x:
        jacobian = torch.func.jacrev(flat_step)(flat, x_t)
        flat = flat_step(flat, x_t)
        q, r = torch.linalg.qr(jacobian @ q)
        total = total + r.diagonal().abs().log()
    return total / len(x)


def layer(neuron: st.SpikingLayer, features: int) -> st.Recurrent:
    torch.manual_seed(0)
    net = st.Recurrent(neuron, features).to(D)
    nn.init.normal_(net.weight, std=2 / features**0.5)
    return net


def drive(steps: int, samples: int, features: int) -> Tensor:
    noise = torch.Generator().manual_seed(3)
    return 1 + torch.rand(steps, samples, features, generator=noise, dtype=D)


@pytest.mark.parametrize(
    ("model", "qr_every"),
    [
        *((model, every) for model in (st.LIF, st.CubaLIF) for every in (1, 5, 7)),
        pytest.param(st.Izhikevich, 1, marks=pytest.mark.slow),
        pytest.param(st.Izhikevich, 5, marks=pytest.mark.slow),
        (st.Izhikevich, 7),
    ],
)
def test_a_recurrent_spectrum_against_dense_jacobians(model: Any, qr_every: int) -> None:
    """16 exponents of 64 recurrent neurons over 100 steps, and their gradient, float64."""
    net = layer(model(dt=0.5, surrogate=st.surrogate.Sigmoid(2.0)), 64)
    x = drive(100, 1, 64)
    found = st.lyapunov(net, x, k=16, qr_every=qr_every, seed=5).spectrum
    expected = dense_spectrum(net, x, 16, 5)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    (gradient,) = torch.autograd.grad((found**2).sum(), net.weight)
    (dense,) = torch.autograd.grad((expected**2).sum(), net.weight)
    torch.testing.assert_close(gradient, dense, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("k", [1, 3])
def test_it_is_what_the_general_way_gives(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the loop of its own and without, the last stretch being a shorter one."""
    net = layer(st.CubaLIF(surrogate=st.surrogate.Sigmoid(2.0)), 6)
    x = drive(9, 2, 6)
    quick = st.lyapunov(net, x, k=k, qr_every=2)
    way = importlib.import_module("saltation.stability.lyapunov")
    monkeypatch.setattr(way, "only_layer", lambda network: None)
    slow = st.lyapunov(net, x, k=k, qr_every=2)
    assert quick.spans == slow.spans == (2, 2, 2, 2, 1)
    torch.testing.assert_close(quick.growth, slow.growth)
    for one, other in zip(quick.growth.unbind(0), slow.growth.unbind(0), strict=True):
        gradients = [
            torch.autograd.grad(growth.square().sum(), net.weight, retain_graph=True)[0]
            for growth in (one, other)
        ]
        torch.testing.assert_close(*gradients)


def test_derivatives_of_the_loop() -> None:
    """Of every stretch's growth, against differences; the last stretch is a shorter one."""
    noise = torch.Generator().manual_seed(0)
    factors = torch.randn(5, 2, 3, 3, 4, generator=noise, dtype=D, requires_grad=True)
    weight = torch.randn(4, 4, generator=noise, dtype=D, requires_grad=True)
    first = torch.randn(2, 3, 3, 4, generator=noise, dtype=D)
    assert torch.autograd.gradcheck(
        lambda f, w: Carry.apply(f, w, first, 2)[0],  # type: ignore[no-untyped-call]
        (factors, weight),
    )


def test_the_loop_is_its_steps() -> None:
    """Growth over all steps is that of their product, whatever the decompositions in between."""
    noise = torch.Generator().manual_seed(0)
    factors = torch.randn(4, 2, 2, 2, 5, generator=noise, dtype=D)
    weight = torch.randn(5, 5, generator=noise, dtype=D)
    z = first = torch.randn(2, 3, 2, 5, generator=noise, dtype=D)
    for factor in factors:
        z = carried(factor, weight, z)
    r = torch.linalg.qr(z.flatten(2).mT).R
    expected = r.diagonal(dim1=1, dim2=2).abs().log().T
    for every in (1, 3, 9):
        log, sound = Carry.apply(factors, weight, first, every)  # type: ignore[no-untyped-call]
        assert sound
        torch.testing.assert_close(log.sum(0), expected)


@pytest.mark.parametrize("jump", ["hard", "soft", "soft_delayed", "none"])
def test_without_resets_against_a_jacobian_by_hand(jump: str) -> None:
    """Engelken & Abbott's: states jump, the Jacobian has no trace of it.

    With h the potential before the jump, of which the spikes are a function,
    ``dh' = A dh + C V ds`` and ``ds = surrogate'(h - 1) dh``.
    """
    surrogate = st.surrogate.FastSigmoid(5.0)
    net, x = layer(st.LIF(dt=0.5, jump=jump, surrogate=surrogate), 16), drive(60, 1, 16)
    step = net.layer.neuron.affine_step
    a, c = step.m[0][0], step.n[0]
    weight, eye = net.weight.detach(), torch.eye(16, dtype=D)
    noise = torch.Generator().manual_seed(0)
    q = torch.cat([torch.randn(6, 16, generator=noise).to(D) for _ in range(2)], 1).T
    q, state = torch.linalg.qr(q).Q, net.rest(x[0])
    total = torch.zeros(6, dtype=D)
    for x_t in x:
        h = a * state.neuron.v + c * (x_t + state.spikes @ weight.T)
        if jump == "soft_delayed":
            h = h - (state.neuron.v >= 1).to(D)
        slope = 1 / (1 + 5 * (h[0].detach() - 1).abs()) ** 2
        later = torch.cat([c * weight, a * eye], 1)
        q, r = torch.linalg.qr(torch.cat([slope[:, None] * later, later]) @ q)
        total += r.diagonal().abs().log()
        _, state = net.step(x_t, state)
    found = st.lyapunov(net, x, k=6, reset=False)
    torch.testing.assert_close(found.spectrum.detach(), total / len(x), rtol=1e-10, atol=1e-10)
    assert found.settings["reset"] is False
    whole = st.lyapunov(net, x, k=6).spectrum
    same = torch.allclose(whole, found.spectrum)
    assert same == (jump == "none")
    assert net.layer.neuron.jump == jump
    assert not net.layer.neuron.detach_reset


def test_without_resets_in_layers_and_in_the_penalty() -> None:
    """At once, step by step and in the penalty alike; with the reset it is another number."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), st.CubaLIF(), nn.Linear(8, 5), st.Izhikevich()).to(D)
    x = 8 * torch.rand(20, 3, 4, dtype=D)
    found = st.lyapunov(net, x, reset=False)
    once = st.lyapunov(net, x, reset=False, estimator="telescoped")
    torch.testing.assert_close(found.exponents, once.exponents)
    assert abs(float((found.exponent - st.lyapunov(net, x).exponent).detach())) > 1e-3
    penalty = st.LyapunovPenalty(weight=1.0, reset=False)
    penalty(net, x).backward()
    assert penalty.history[0].exponent == pytest.approx(float(found.exponent.detach()))
    with pytest.raises(st.SaltationError, match="'finite' has true resets"):
        st.lyapunov(net, x, estimator="finite", reset=False)
    snntorch = pytest.importorskip("snntorch", reason="needs: pip install snntorch==1.0.0")
    other = nn.Sequential(nn.Linear(4, 4), snntorch.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(st.SaltationError, match=r"needs layers of saltation, '1' is a Leaky"):
        st.lyapunov(other, x.float(), reset=False)
