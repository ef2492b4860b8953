"""A chain of layers in one piece: spikes to the bit, gradients to rounding, any shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as some
from torch import Tensor, nn

import saltation as st
from saltation.kernels import reference
from saltation.kernels.cpu.linear import chain, product
from saltation.kernels.cpu.runtime.finite import NotFinite
from saltation.kernels.events import Events, SpikeTensor, events_of
from saltation.layers import SpikingLayer
from saltation.layers.sequential import _stretch
from saltation.neurons import NEURONS
from saltation.surrogate import SURROGATES

ROUNDING = 1e-5


def network(sizes: list[int], model: str, bias: bool, seed: int = 0, **of_layers: Any) -> Any:
    """An MLP whose layers fire: weights as large as the neurons need."""
    torch.manual_seed(seed)
    made = st.spiking_mlp(sizes, neuron=model, bias=bias, **of_layers)
    for number, linear in enumerate(m for m in made if isinstance(m, nn.Linear)):
        linear.weight.data *= 6 if number == 0 else 12
    return made


def rates(batch: int, sites: int, density: float, seed: int = 0) -> Tensor:
    """Images of which a part is black, as rates whose trains have about this density."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, sites, generator=noise)
    return x * (torch.rand(batch, sites, generator=noise) < 0.6) * 3.3 * density


def added_up(x: Tensor, weight: Tensor, bias: Tensor | None, events: Events | None) -> Tensor:
    """The product of spikes ``x`` [T, B, F] and weights, added in the order of the inputs, and in a
    sample with many spikes in fours; ``events`` tell which inputs a sample has, if not all."""
    steps, batch, fan_in = x.shape
    total = torch.zeros(steps, batch, len(weight))
    for b in range(batch):
        sites = range(fan_in)
        if events is not None:
            sites = events.sites[events.offsets[b] : events.offsets[b + 1]]
        many = 5 * int(x[:, b].sum()) > len(sites) * (2 * steps + 20)
        size = 4 if many else 1
        for first in range(0, len(sites), size):
            four = torch.zeros(steps, len(weight))
            for f in sites[first : first + size]:
                four = four + x[:, b, f, None] * weight[:, f]
            total[:, b] += four
    return total if bias is None else total + bias


def by_reference(net: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Currents of the last linear layer and the spikes of all others, in plain torch."""
    spikes = []
    stages, last = _stretch(list(net))
    events, x = events_of(x), x * 1
    for stage in stages:
        currents = added_up(x, stage.weight, stage.bias, events)
        start = stage.neuron.rest(currents[0])
        x, events = reference.run(stage.neuron, stage.spike, currents, start).spikes, None
        spikes.append(x)
    return added_up(x, last.weight, last.bias, events), spikes


def whole(parts: Any, parameters: list[Tensor]) -> Tensor:
    """Gradients of all parameters as one vector of float64."""
    return torch.cat(
        [
            torch.zeros(p.numel()) if part is None else part.double().flatten()
            for part, p in zip(parts, parameters, strict=True)
        ]
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes the stages of every chain that ran in one piece."""
    calls: list[int] = []
    run = chain.run

    def noted(events: Any, stages: Any, *rest: Any) -> Tensor:
        calls.append(len(stages))
        return run(events, stages, *rest)

    monkeypatch.setattr(chain, "run", noted)
    return calls


# Every scheme, jump and surrogate, but not all together: each combination of model, scheme and
# surrogate is compiled for itself.
CASES = [
    *(("lif", "exponential", name) for name in sorted(SURROGATES)),
    *(
        ("izhikevich", scheme, name)
        for scheme, name in zip(NEURONS["izhikevich"].schemes, 2 * sorted(SURROGATES), strict=False)
    ),
]


@given(
    hidden=some.lists(some.integers(1, 40) | some.integers(120, 150), min_size=1, max_size=3),
    outputs=some.integers(1, 5) | some.integers(60, 70),
    sites=some.integers(1, 30),
    steps=some.integers(1, 20) | some.integers(60, 70),
    batch=some.integers(1, 6),
    which=some.sampled_from(CASES),
    jump=some.sampled_from(["hard", "soft", "none", "soft_delayed"]),
    other=some.sampled_from(NEURONS["lif"].schemes),
    bias=some.booleans(),
    detach=some.booleans(),
    memory=some.sampled_from(["store", "recompute"]),
    density=some.sampled_from([0.02, 0.1, 0.25, 0.8]),
    threads=some.sampled_from([1, 2, 3, 8]),
    seed=some.integers(0, 50),
)
def test_against_the_reference(
    hidden: list[int],
    outputs: int,
    sites: int,
    steps: int,
    batch: int,
    which: tuple[str, str, str],
    jump: str,
    other: str,
    bias: bool,
    detach: bool,
    memory: str,
    density: float,
    threads: int,
    seed: int,
) -> None:
    """Spikes, and so outputs, to the bit; gradients to rounding of float64 on the same spikes."""
    model, scheme, surrogate = which
    if model == "lif":
        scheme = other  # all schemes are one loop
    assume(jump in NEURONS[model].jumps)
    net = network(
        [sites, *hidden, outputs],
        model,
        bias,
        seed,
        scheme=scheme,
        jump=jump,
        dt=0.5,
        surrogate=surrogate,
        detach_reset=detach,
        memory=memory,
    )
    x = st.poisson(rates(batch, sites, density, seed), steps, 1.0)
    events = events_of(x)
    assert events is not None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        stages, last = _stretch(list(net))
        try:
            ours = chain.run(events, stages, last.weight, last.bias)
        except NotFinite:
            assume(False)  # without jumps potentials can overflow; then modules run one by one
        g = torch.randn(ours.shape, generator=torch.Generator().manual_seed(seed))
        # As from a readout: at most steps no gradient.
        g = g * (torch.rand(steps, batch, 1, generator=torch.Generator().manual_seed(seed)) < 0.3)
        parameters = list(net.parameters())
        gradients = torch.autograd.grad(ours, parameters, g)
    finally:
        torch.set_num_threads(before)
    expected, spikes = by_reference(net, x)
    assert torch.equal(ours, expected)
    twin = [p.detach().double().requires_grad_() for p in parameters]
    where = dict(zip(map(id, parameters), twin, strict=True))
    exact_stages = [
        s._replace(weight=where[id(s.weight)], bias=None if s.bias is None else where[id(s.bias)])
        for s in stages
    ]
    same: list[Tensor] = []
    y = x.double()
    for stage in exact_stages:
        currents = nn.functional.linear(y, stage.weight, stage.bias)
        y = reference.run(
            stage.neuron, stage.spike, currents, stage.neuron.rest(currents[0])
        ).spikes
        same.append(y)
    # Where float32 and float64 disagree on a spike there is nothing to compare.
    assume(all(map(torch.equal, same, (s.double() for s in spikes))))
    bias64 = None if last.bias is None else where[id(last.bias)]
    exact_out = nn.functional.linear(y, where[id(last.weight)], bias64)
    exact = torch.autograd.grad(exact_out, twin, g.double(), allow_unused=True)
    # The whole gradient, because a part of it may be the small difference of large numbers.
    wanted = whole(exact, parameters)
    error, size = (whole(gradients, parameters) - wanted).norm().item(), wanted.norm().item()
    if error > ROUNDING * size:
        # A few networks amplify rounding; there float32 is no better without any kernel.
        out = reference.chain(x * 1, stages, last.weight, last.bias)
        plain = whole(torch.autograd.grad(out, parameters, g, allow_unused=True), parameters)
        assert error <= 2 * (plain - wanted).norm().item()


@pytest.mark.parametrize("density", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("model", ["izhikevich", "lif"])
def test_in_any_order(model: str, density: float) -> None:
    """Where weights are such that sums are exact, outputs are to the bit those of dense products
    and the reference loop, with derivatives, without, and module by module."""
    net = network([70, 130, 40, 10], model, True, dt=0.5)
    for p in net.parameters():
        p.data = (p.data * 2**8).round() / 2**8
    x = st.poisson(rates(5, 70, density) + 0.01, 70, 1.0)
    events = events_of(x)
    assert events is not None
    stages, last = _stretch(list(net))
    expected = reference.chain(x * 1, stages, last.weight, last.bias)
    assert torch.equal(chain.run(events, stages, last.weight, last.bias), expected)
    with torch.no_grad():
        assert torch.equal(chain.run(events, stages, last.weight, last.bias), expected)
        spikes = chain.emitted(events, stages)
    assert torch.equal(product.forward(spikes, last.weight, last.bias), expected)


@pytest.mark.parametrize("density", [0.1, 0.9])
@pytest.mark.parametrize("memory", ["store", "recompute"])
@pytest.mark.parametrize("model", ["izhikevich", "lif"])
def test_any_number_of_threads(model: str, memory: str, density: float, threads: None) -> None:
    """Every bit of outputs and gradients is the same with 1, 2, 3 and 8."""
    net = network([50, 300, 140, 10], model, True, dt=0.5, memory=memory)
    events = events_of(st.poisson(rates(9, 50, density), 40, 1.0))
    assert events is not None
    stages, last = _stretch(list(net))
    results = []
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        out = chain.run(events, stages, last.weight, last.bias)
        results.append([out, *torch.autograd.grad(out.logsumexp(1).sum(), list(net.parameters()))])
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_what_runs_in_one_piece(ran: list[int]) -> None:
    """Networks on encoder output, with one layer and several, also those that end in neurons."""
    x = st.poisson(rates(4, 50, 0.1), 10, 1.0)
    for sizes, readout, stages in (
        ((50, 20, 3), "max", 1),
        ((50, 20, 30, 3), "last", 2),
        ((50, 20, 3), "spike_count", 1),
    ):
        ran.clear()
        st.spiking_mlp(sizes, readout=readout)(x)
        assert ran == [stages]


@pytest.mark.parametrize(
    "change",
    [
        "hook",
        "backward hook",
        "reference",
        "dense",
        "gradient",
        "double",
        "layer",
        "linear",
    ],
)
def test_what_does_not(change: str, ran: list[int]) -> None:
    """Modules run one by one where something asks for it, with the same result."""
    net: Any = network([50, 20, 3], "lif", True)
    x: Tensor = st.poisson(rates(4, 50, 0.1), 10, 1.0)
    expected = net(x)
    ran.clear()
    if change == "hook":
        net[1].register_forward_hook(lambda module, inputs, output: None)
    elif change == "backward hook":
        net[0].register_full_backward_hook(lambda module, g_in, g_out: None)
    elif change == "reference":
        net[1].backend = "reference"
    elif change == "dense":
        x = x * 1  # too small to be worth a look
    elif change == "gradient":
        x = (x * 1).requires_grad_()
    elif change == "double":
        net, x = net.double(), x.double()
    elif change == "layer":
        net[1] = type("Own", (st.LIF,), {"_run": lambda s, *a, **k: st.LIF._run(s, *a, **k)})()
    elif change == "linear":
        nn.utils.parametrizations.weight_norm(net[0])
    ours = net(x)
    # Layers that wait for each other become one piece where a hook changes nothing, and where a
    # weight is computed.
    assert ran == ([1] if change in ("hook", "linear") else [])
    torch.testing.assert_close(ours.float(), expected, rtol=1e-4, atol=1e-5)


def test_dense_spikes_are_found(ran: list[int]) -> None:
    """A user's own tensor of zeros and ones, large enough to look at, runs by events too."""
    net = network([211, 130, 10], "lif", False)
    x = (torch.rand(8, 40, 211, generator=torch.Generator().manual_seed(1)) < 0.1).float()
    ours = net(x)
    assert ran == [1]
    in_another_container = nn.Sequential(*net)(x)
    torch.testing.assert_close(in_another_container, ours)
    assert ran == [1, 1]
    net(x * 0.5)
    assert ran == [1, 1]
    expected = net.double()(x.double()).float()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_a_black_batch_is_no_exception(ran: list[int]) -> None:
    """Where no input can spike the network runs in one piece as well; no weight gets a gradient."""
    net = network([50, 20, 3], "lif", True)
    x = st.poisson(torch.zeros(4, 50), 10, 1.0)
    out = net(x)
    assert ran == [1]
    torch.testing.assert_close(out, nn.Sequential(*net)(torch.zeros(10, 4, 50)))
    out.sum().backward()
    assert not net[0].weight.grad.any()


def test_without_gradients_nothing_is_kept() -> None:
    """Frozen networks and no_grad give the same numbers without a graph."""
    net = network([50, 20, 3], "lif", True)
    x = st.poisson(rates(4, 50, 0.1), 10, 1.0)
    expected = net(x)
    with torch.no_grad():
        assert torch.equal(net(x), expected)
    net.requires_grad_(False)
    out = net(x)
    assert torch.equal(out, expected)
    assert not out.requires_grad


def test_a_chain_that_ends_in_neurons() -> None:
    """Without derivatives its spikes are events, equal to those of the modules one by one."""
    net = network([50, 20, 30, 10], "izhikevich", True, readout="spike_count", dt=0.5)
    x = st.poisson(rates(4, 50, 0.1), 70, 1.0)
    expected = net(x)
    with torch.no_grad():
        spikes = st.Sequential(*list(net)[:-1])(x)
        assert type(spikes) is SpikeTensor
        assert torch.equal(spikes.sum(0), expected)
        assert spikes.__dict__["_dense"] is None
        assert torch.equal(net(x), expected)
        assert torch.equal(nn.Sequential(*net)(x * 1), expected)
        assert torch.equal((spikes * 1).sum(dim=0), expected)


def test_frozen_layers() -> None:
    """Weights that want no gradient get none; the others get the same."""
    net = network([50, 20, 30, 3], "lif", True)
    x = st.poisson(rates(4, 50, 0.1), 10, 1.0)
    net(x).sum().backward()
    wanted = {name: p.grad for name, p in net.named_parameters()}
    net.zero_grad()
    net[2].requires_grad_(False)
    net(x).sum().backward()
    for name, p in net.named_parameters():
        if name.startswith("2."):
            assert p.grad is None
        else:
            assert torch.equal(p.grad, wanted[name])


def test_the_graph_may_be_used_twice() -> None:
    """retain_graph gives the same gradients again, though other runs have been in between."""
    net = network([50, 20, 3], "lif", True)
    outs = [net(st.poisson(rates(4, 50, 0.1, k), 10, 1.0)).sum() for k in range(3)]
    parameters = list(net.parameters())
    first = [torch.autograd.grad(o, parameters, retain_graph=True) for o in outs]
    again = [torch.autograd.grad(o, parameters, retain_graph=True) for o in reversed(outs)]
    for one, two in zip(first, reversed(again), strict=True):
        assert all(map(torch.equal, one, two))


def test_second_derivatives() -> None:
    """Double backward is the reference's."""
    net = network([20, 12, 3], "lif", True, dt=0.5)
    x = st.poisson(rates(4, 20, 0.1), 10, 1.0)
    parameters = list(net.parameters())

    def second(y: Tensor) -> list[Tensor]:
        first = torch.autograd.grad((y * y).sum(), parameters, create_graph=True)
        total: Any = sum((g * g).sum() for g in first)
        return list(torch.autograd.grad(total, parameters))

    ours = second(net(x))
    expected = second(nn.Sequential(*net)(x * 1))
    for one, two in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def test_state_dicts_fit() -> None:
    """Names, shapes, values and layout in memory are those of nn.Linear."""
    ours, plain = st.SpikeLinear(5, 3), nn.Linear(5, 3)
    plain.load_state_dict(ours.state_dict())
    ours.load_state_dict(plain.state_dict())
    assert torch.equal(ours.weight, plain.weight)
    assert ours.weight.is_contiguous()


def test_layers_take_the_memory() -> None:
    """``memory`` is one of two words."""
    assert st.LIF(memory="recompute").memory == "recompute"
    with pytest.raises(st.SaltationError, match="memory"):
        st.LIF(memory="forget")
    assert isinstance(st.LIF(), SpikingLayer)
