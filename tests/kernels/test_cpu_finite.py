"""NaN and infinities are as visible where zeros are skipped as they are in dense products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.kernels import competition, dispatch_learning, plasticity
from saltation.kernels.cpu.events.scan import sparse_enough
from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.runtime.finite import finite
from saltation.kernels.events import events_of
from saltation.kernels.plasticity import Pair
from saltation.kernels.reference import Stage
from saltation.layers import SpikingLayer
from saltation.layers.inputs import noted

BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.fixture(autouse=True)
def unrefused() -> Iterator[None]:
    """Layers of neurons would refuse currents that are not finite, where they come to them."""
    with noted():
        yield


def events(batch: int = 12, sites: int = 40, steps: int = 20) -> Tensor:
    """Spikes of all sites but number 5, few enough for products that follow them."""
    rates = torch.rand(batch, sites, generator=torch.Generator().manual_seed(0)) * 0.12
    rates[:, 5] = 0
    x = st.poisson(rates, steps=steps)
    known = events_of(x)
    assert known is not None
    assert sparse_enough(known.density, 16)
    return x


def same(ours: Any, expected: Any) -> None:
    """Equal to rounding, and NaN and infinite at the same places."""
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def run(layer: nn.Module, x: Tensor, g: Callable[[Tensor], Tensor] = torch.ones_like) -> Any:
    """Output and the gradients of all parameters, for the gradient ``g(output)``."""
    y = layer(x)
    return y.detach(), *torch.autograd.grad(y, list(layer.parameters()), g(y.detach()))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 2**16 - 1, 2**16, 2**16 + 1, 5 * 2**16 + 3])
def test_finite(size: int) -> None:
    x = torch.full((size,), 3.4e38)
    assert finite(x)
    for place in {0, size // 2, size - 1}:
        for bad in BAD:
            y = x.clone()
            y[place] = bad
            assert not finite(y)


@pytest.mark.parametrize("rows", [1, 15, 16, 33, 300])
@pytest.mark.parametrize("columns", [1, 16, 31, 130])
def test_transposed(rows: int, columns: int, threads: None) -> None:
    """To the bit, for any number of threads; the columns that are not asked for do not count."""
    x = torch.randn(rows, columns + 3)
    x[:, columns:] = torch.nan
    for number in (1, 3):
        torch.set_num_threads(number)
        width = -(-rows // 16) * 16
        turned, known = transposed(x.numpy(), columns, width)
        assert known
        assert torch.equal(torch.from_numpy(turned)[:, :rows], x[:, :columns].T)
        assert not turned[:, rows:].any()
    x[rows - 1, columns - 1] = torch.inf
    assert not transposed(x.numpy(), columns, rows)[1]


@pytest.mark.parametrize("bad", BAD)
def test_weights_of_a_product(bad: float) -> None:
    """That of an input without any spike, of events and of dense spikes."""
    layer = st.SpikeLinear(40, 16)
    with torch.no_grad():
        layer.weight[3, 5] = bad
    x = events()
    dense = nn.functional.linear(x + 0, layer.weight, layer.bias).detach()
    assert int(dense.isnan().sum()) == 20 * 12
    same(run(layer, x)[:1], [dense])
    wide = st.SpikeLinear(300, 32)
    spikes = (torch.rand(60, 32, 300) < 0.05).float()
    spikes[..., 5] = 0
    with torch.no_grad():
        wide.weight[3, 5] = bad
    assert int(wide(spikes).isnan().sum()) == 60 * 32


@pytest.mark.parametrize("bad", BAD)
def test_gradients_of_a_product(bad: float) -> None:
    """One number of the gradient spoils a row of the weight's, silent inputs or not."""
    layer, x = st.SpikeLinear(40, 16), events()

    def spoiled(y: Tensor) -> Tensor:
        g = torch.ones_like(y)
        g[3, 2, 7] = bad
        return g

    y, g_weight, g_bias = run(layer, x, spoiled)
    same((g_weight,), (spoiled(y).flatten(0, 1).T @ (x + 0).flatten(0, 1),))
    assert not g_weight[7].isfinite().any()
    assert not g_bias[7].isfinite()


NETWORKS: dict[str, tuple[Any, ...]] = {
    "narrow": ((40, 33, 10), {}),
    "wide": ((40, 33, 70), {}),
    "deep": ((40, 33, 21, 10), {}),
    "recomputed": ((40, 33, 10), {"memory": "recompute"}),
    "izhikevich": ((40, 33, 10), {"neuron": "izhikevich"}),
}


def networks(name: str, **more: Any) -> tuple[nn.Module, nn.Module]:
    """A chain, and the same as modules one by one in plain torch."""
    sizes, settings = NETWORKS[name]
    torch.manual_seed(0)
    ours = st.spiking_mlp(sizes, v_threshold=0.03, readout="sum", **settings | more)
    plain = nn.Sequential(*(_plain(module) for module in ours))
    return ours, plain


def _plain(module: nn.Module) -> nn.Module:
    """With the same parameters, on the reference loop."""
    if isinstance(module, st.SpikeLinear):
        dense = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
        dense.weight, dense.bias = module.weight, module.bias
        return dense
    if isinstance(module, SpikingLayer):
        twin = type(module)(surrogate=module.surrogate, backend="reference")
        twin.neuron = module.neuron
        return twin
    return module


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("place", ["first", "last", "gradient", "inner gradient"])
def test_chains(name: str, place: str) -> None:
    ours, plain = networks(name)
    first, last = next(iter(ours.parameters())), list(ours.parameters())[-1]
    g = torch.ones_like
    with torch.no_grad():
        if place == "first":
            first[3, 5] = torch.nan
        elif place == "last":
            last[3, 5] = torch.inf
            first[5] = -1.0  # that neuron is silent
        elif place == "gradient":
            g = lambda y: torch.full_like(y, torch.nan)  # noqa: E731
        else:
            last[0] = 1e38
            last[1] = -1e38
            g = lambda y: torch.full_like(y, 1e3)  # noqa: E731
    x = events()
    expected = run(plain, x + 0, g)
    assert not all(bool(part.isfinite().all()) for part in expected)
    found = run(ours, x, g)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.isnan(), other.isnan())
    with torch.no_grad():
        same([ours(x)], [plain(x + 0)])


@pytest.mark.filterwarnings("ignore::saltation.errors.StabilityWarning")
def test_potentials_that_overflow() -> None:
    """Where no gradient reaches the steps at which they did."""
    ours, plain = networks("izhikevich", dt=40.0, scheme="euler", jump="none")
    read: Any = [nn.Sequential(*list(net)[:-1]) for net in (ours, plain)]
    read[0] = st.Sequential(*read[0])
    x = events(steps=60)

    def early(y: Tensor) -> Tensor:
        g = torch.zeros_like(y)
        g[:3] = 1
        return g

    found, expected = run(read[0], x, early), run(read[1], x + 0, early)
    assert expected[1].isnan().any()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.isnan(), other.isnan())


def test_convolutions() -> None:
    """A weight of a silent channel, and the gradient at one pixel."""
    ours, plain = st.SpikeConv2d(8, 16, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
    x = (torch.rand(32, 8, 18, 18, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    x[:, 2] = 0

    def spoiled(y: Tensor) -> Tensor:
        g = torch.ones_like(y)
        g[3, 4, 9, 9] = torch.nan
        return g

    plain.load_state_dict(ours.state_dict())
    same(run(ours, x, spoiled), run(plain, x, spoiled))
    with torch.no_grad():
        ours.weight[4, 2, 0, 0] = torch.nan
    plain.load_state_dict(ours.state_dict())
    found = run(ours, x)
    same(found, run(plain, x))
    assert int(found[0].isnan().sum()) == 32 * 17 * 17


@pytest.mark.parametrize("where", ["weight", "gradient"])
def test_recurrent(where: str) -> None:
    torch.manual_seed(0)
    ours = st.Recurrent(st.LIF(), 20, bias=True)
    plain = st.Recurrent(st.LIF(backend="reference"), 20, bias=True)
    g = torch.ones_like
    if where == "weight":
        with torch.no_grad():
            ours.weight[3, 5] = torch.nan
    else:

        def g(y: Tensor) -> Tensor:
            spoiled = torch.ones_like(y)
            spoiled[4, 2, 7] = torch.inf
            return spoiled

    plain.load_state_dict(ours.state_dict())
    x = torch.randn(9, 7, 20, generator=torch.Generator().manual_seed(0)) + 1
    x[..., 5] = -9
    expected = run(plain, x, g)
    assert expected[1].isnan().any()
    for one, other in zip(run(ours, x, g), expected, strict=True):
        assert torch.equal(one.isnan(), other.isnan())


def test_without_gradients() -> None:
    """Fixed layers, winners and plasticity are those of the reference."""
    neuron = st.LIF(v_threshold=0.03)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 40, generator=generator)
    x = events()
    stage = Stage(weight, None, neuron.neuron, neuron.surrogate)
    teach, factor = torch.ones(12, 16), torch.ones(20, 12)
    pair = Pair(0.1, 0.1, 0.9, 0.9, 0.9)
    post = dispatch_learning.compete(x, stage, teach).spikes
    assert post.sum() > 0
    factor[7, 3] = torch.nan
    same(
        [dispatch_learning.stdp(x, post, factor, pair)], [plasticity.run(x + 0, post, factor, pair)]
    )
    for bad in BAD:
        spoiled = stage._replace(weight=weight.clone())
        spoiled.weight[3, 5] = bad
        assert torch.equal(
            dispatch_learning.fixed(x, spoiled).counts, competition.fixed(x, spoiled).counts
        )
        same(dispatch_learning.compete(x, spoiled, teach), competition.compete(x, spoiled, teach))
        pushed = teach.clone()
        pushed[2, 1] = bad
        same(dispatch_learning.compete(x, stage, pushed), competition.compete(x, stage, pushed))


OVERFLOWING = [
    *((st.LIF, "rk4", jump) for jump in ("none", "soft", "soft_delayed", "hard")),
    *((st.LIF, "euler", jump) for jump in ("none", "soft", "soft_delayed", "hard")),
    *((st.Izhikevich, scheme, "none") for scheme in ("euler", "symplectic", "rk2", "rk4")),
    *((st.Izhikevich, scheme, "hard") for scheme in ("symplectic_v", "exponential")),
    (st.CubaLIF, "euler", "soft"),
]


@pytest.mark.parametrize(
    ("layer", "scheme", "jump", "detach"),
    [
        pytest.param(
            *one, detach, marks=pytest.mark.slow if detach and one[0] is not st.LIF else ()
        )
        for one in OVERFLOWING
        for detach in (False, True)
    ],
)
@pytest.mark.filterwarnings("ignore::saltation.errors.StabilityWarning")
def test_gradients_of_overflowing_neurons(layer: Any, scheme: str, jump: str, detach: bool) -> None:
    """Finite wherever the reference's are, and NaN where those are."""
    for value in (-0.5, 0.0, 0.5, 3.0):
        found = []
        for backend in ("auto", "reference"):
            neuron = layer(
                tau=2.0, dt=10.0, scheme=scheme, jump=jump, detach_reset=detach, backend=backend
            )
            x = torch.full((80, 3), value)
            x[-1, 1] = torch.inf  # the last step alone
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(neuron(x).sum(), x)
            found.append(gradient)
        assert torch.equal(found[0].isnan(), found[1].isnan()), value
