"""Products that follow the spikes against torch's dense product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.kernels.cpu.linear import product
from saltation.kernels.cpu.linear.currents import scratch_of, turn
from saltation.kernels.cpu.linear.source import sourced
from saltation.kernels.cpu.runtime.buffers import Loan
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.events import Events, events_of
from saltation.layers import SpikeLinear

# Long enough to be worth a look: 8 * 40 * 211 * 130 multiplications.
STEPS, BATCH, FAN_IN, FAN_OUT = 8, 40, 211, 130


def pair(bias: bool) -> tuple[SpikeLinear, nn.Linear]:
    """A layer of each kind with the same weights."""
    torch.manual_seed(0)
    ours, dense = (kind(FAN_IN, FAN_OUT, bias=bias) for kind in (SpikeLinear, nn.Linear))
    ours.load_state_dict(dense.state_dict())
    assert isinstance(ours, SpikeLinear)
    return ours, dense


def spikes(density: float, *shape: int) -> Tensor:
    """Random spikes."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < density).float()


def gradients(layer: nn.Linear, x: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of the input and all parameters."""
    x = x.clone().requires_grad_()
    y = layer(x)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    return (y, *torch.autograd.grad(y, (x, *layer.parameters()), g))


@pytest.fixture
def by_events(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes the spikes of every product that followed them."""
    calls: list[int] = []
    linear = product.linear

    def noted(x: Tensor, events: Events, *rest: Tensor) -> Tensor:
        calls.append(events.total)
        return linear(x, events, *rest)

    monkeypatch.setattr(product, "linear", noted)
    return calls


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.1, 0.2, 0.5, 1.0])
def test_equals_the_dense_product(density: float, bias: bool, by_events: list[int]) -> None:
    """Outputs and gradients within rounding, by events where these are cheaper."""
    ours, dense = pair(bias)
    x = spikes(density, STEPS, BATCH, FAN_IN)
    for one, two in zip(gradients(ours, x), gradients(dense, x), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert len(by_events) == (density < 0.25)


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, -0.0, float("nan"), float("inf")])
def test_any_other_input_is_dense_to_the_bit(value: float, by_events: list[int]) -> None:
    """One number that is neither 0 nor 1, at the end or the start."""
    ours, dense = pair(bias=True)
    for place in (0, -1):
        x = spikes(0.05, STEPS, BATCH, FAN_IN)
        x.view(-1)[place] = value
        torch.testing.assert_close(ours(x), dense(x), rtol=0, atol=0, equal_nan=True)
    assert by_events == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_dense(dtype: torch.dtype, by_events: list[int]) -> None:
    """Only float32 is compiled."""
    ours, dense = (layer.to(dtype) for layer in pair(bias=True))
    x = spikes(0.05, STEPS, BATCH, FAN_IN).to(dtype)
    assert torch.equal(ours(x), dense(x))
    assert by_events == []


def test_any_number_of_threads(threads: None, by_events: list[int]) -> None:
    """Every bit of outputs and gradients is the same with 1, 2, 3 and 8."""
    ours, _ = pair(bias=True)
    x = spikes(0.1, STEPS, BATCH, FAN_IN)
    torch.set_num_threads(1)
    y, _, g_weight, _ = gradients(ours, x)
    for number in (2, 3, 8):
        torch.set_num_threads(number)
        other, _, other_g_weight, _ = gradients(ours, x)
        assert torch.equal(y, other)
        assert torch.equal(g_weight, other_g_weight)
    assert len(by_events) == 4


def test_second_derivatives(by_events: list[int]) -> None:
    """Double backward is that of the dense product."""

    def second(layer: nn.Linear) -> tuple[Tensor, ...]:
        x = spikes(0.05, STEPS, BATCH, FAN_IN).requires_grad_()
        wanted = (x, layer.weight)
        first = torch.autograd.grad((layer(x) ** 2).mean(), wanted, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in first), wanted)  # type: ignore[arg-type]

    ours, dense = pair(bias=False)
    for one, two in zip(second(ours), second(dense), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert len(by_events) == 1


def test_forward_mode_and_transforms(by_events: list[int]) -> None:
    """They take the dense product."""
    ours, dense = pair(bias=True)
    x = spikes(0.05, STEPS, BATCH, FAN_IN)
    t = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    for one, two in zip(*(torch.func.jvp(f, (x,), (t,)) for f in (ours, dense)), strict=True):
        assert torch.equal(one, two)
    torch.testing.assert_close(torch.func.vmap(ours)(x), dense(x))
    assert by_events == []


def test_wrong_width_is_the_error_of_torch() -> None:
    """As with nn.Linear, and an empty batch is an empty result."""
    ours, _ = pair(bias=True)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ours(spikes(0.05, STEPS, BATCH, FAN_IN + 1))
    assert ours(torch.zeros(4, 0, FAN_IN)).shape == (4, 0, FAN_OUT)


def test_networks_use_it() -> None:
    """In every linear layer of `spiking_mlp`, with the weights nn.Linear would have."""
    torch.manual_seed(5)
    net = st.spiking_mlp((7, 5, 3), bias=True)
    torch.manual_seed(5)
    plain = nn.Linear(7, 5)
    layers = [m for m in net if isinstance(m, nn.Linear)]
    assert [type(m) for m in layers] == [SpikeLinear, SpikeLinear]
    assert torch.equal(layers[0].weight, plain.weight)
    plain.load_state_dict(layers[0].state_dict())


@pytest.mark.parametrize("steps", [3, 50, 64, 70, 130])
@pytest.mark.parametrize("density", [0.02, 0.6])
def test_weights_from_few_and_from_many_spikes(steps: int, density: float) -> None:
    """One by one or from tables, in groups of steps, of which some have no gradient."""
    x = st.poisson(density * torch.ones(3, 40), steps, 2.0)
    events = events_of(x)
    assert events is not None
    g = torch.randn(steps, 3, 100, generator=torch.Generator().manual_seed(0))
    g[: steps // 5, 0] = g[-(steps // 3) :, 1] = g[:, 2, 50:] = 0
    found = product.backward(events, g)
    exact = g.flatten(0, 1).double().T @ x.flatten(0, 1).double()
    assert (found - exact).norm() < 1e-6 * exact.norm()
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6 * float(exact.abs().max()))


@kernel
def turned(b: int, source: Any, scratch: Any) -> None:
    """`turn`, callable from here."""
    turn(b, source, scratch)


@pytest.mark.parametrize("density", [0.02, 0.6])
@pytest.mark.parametrize(("steps", "sites"), [(3, 5), (64, 64), (70, 130)])
def test_spikes_turned(density: float, steps: int, sites: int) -> None:
    """A bit per site in words of every step, from the words of every site or from places."""
    x = st.poisson(density * torch.ones(3, sites), steps, 2.0)
    events = events_of(x)
    assert events is not None
    source = sourced(events, torch.zeros(1, sites), None)
    bits = (x * 1).numpy().astype(bool)
    scratch = scratch_of(Loan(), 1, steps, sites).by_step[0]
    for known in (source, source._replace(bits=np.empty((0, 0), np.uint64))):
        for b in range(3):
            turned(b, known, scratch)
            found = np.unpackbits(
                scratch[:, :steps].T.copy().view(np.uint8), bitorder="little", axis=1
            )
            assert (found[:, :sites] == bits[:, b]).all()
            assert not found[:, sites:].any()
