"""Parameters lie in memory as torch's do, so that torch's own tools work on them."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import saltation as st
from saltation.kernels.cpu.linear import chain
from saltation.layers import SpikingLayer


def few() -> Tensor:
    """Spikes, few enough for a chain that follows them."""
    return st.poisson(0.1 * torch.rand(4, 20, generator=torch.Generator().manual_seed(0)), 20)


def make() -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    net = st.spiking_mlp((20, 16, 5), dt=0.5, v_threshold=0.02)
    return net, few()


def test_contiguous_with_their_gradients() -> None:
    """Of products, chains and feedback, also after a step and after loading."""
    net, x = make()
    wide = st.Sequential(st.SpikeLinear(20, 16), st.LIF(v_threshold=0.02), st.SpikeLinear(16, 70))
    for module, given in (
        (net, x),
        (wide, x),
        (st.SpikeLinear(20, 33), x),
        (st.Recurrent(st.LIF(), 20, bias=True), torch.randn(6, 4, 20)),
        (st.SpikeConv2d(8, 16, 3), torch.rand(2, 8, 9, 9)),
    ):
        module(given).sum().backward()
        for parameter in module.parameters():
            assert parameter.is_contiguous()
            assert parameter.grad.is_contiguous()
        torch.optim.Adam(module.parameters()).step()
        module.load_state_dict(copy.deepcopy(module.state_dict()))
        assert all(parameter.is_contiguous() for parameter in module.parameters())


def _lbfgs(net: Any, x: Tensor) -> None:
    optimizer = torch.optim.LBFGS(net.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        return loss

    first = closure().item()
    optimizer.step(closure)
    assert closure().item() < first


def _vector(net: Any, x: Tensor) -> None:
    vector = nn.utils.parameters_to_vector(net.parameters())
    nn.utils.vector_to_parameters(2 * vector, net.parameters())
    assert torch.equal(nn.utils.parameters_to_vector(net.parameters()), 2 * vector)


def _flat_gradients(net: Any, x: Tensor) -> None:
    net(x).sum().backward()
    assert torch.cat([p.grad.view(-1) for p in net.parameters()]).abs().sum() > 0


def _saved(net: Any, x: Tensor) -> None:
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    twin, _ = make()
    twin.load_state_dict(torch.load(file))
    assert torch.equal(twin(x), net(x))


def _columns(net: Any, x: Tensor) -> None:
    """Weights that lie by columns, as earlier releases had them, give the same."""
    expected = net(x)
    with torch.no_grad():
        for module in (net[0], net[2]):
            module.weight = nn.Parameter(module.weight.T.contiguous().T)
    assert torch.equal(net(x), expected)
    net(x).sum().backward()


def _shared(net: Any, x: Tensor) -> None:
    expected = net(x)
    net.share_memory()
    assert torch.equal(copy.deepcopy(net)(x), expected)


@pytest.mark.parametrize("tool", [_lbfgs, _vector, _flat_gradients, _saved, _columns, _shared])
def test_tools_of_torch(tool: Callable[[Any, Tensor], None]) -> None:
    tool(*make())


def _pruned(linear: Any) -> None:
    prune.random_unstructured(linear, "weight", amount=0.5)


def _structured(linear: Any) -> None:
    prune.ln_structured(linear, "weight", amount=0.5, n=2, dim=0)


CHANGED: dict[str, Callable[[Any], Any]] = {
    "pruned": _pruned,
    "structured": _structured,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("name", CHANGED)
def test_weights_made_of_others(name: str) -> None:
    """On events as on the dense tensor, with the same gradients."""
    net, x = make()
    for place in (0, 2):
        CHANGED[name](net[place])
    net.eval()  # spectral norm goes on with its estimate in training
    found = []
    for given in (x, x + 0):
        loss = net(given).square().sum()
        found.append([loss, *torch.autograd.grad(loss, list(net.parameters()))])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def _instance(module: nn.Module) -> None:
    """As one patches an object."""
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]


def _hooked(module: nn.Module) -> None:
    module.register_forward_hook(lambda module, args, out: 2 * out)


def _in_the_call(module: nn.Module) -> None:
    call = module._call_impl
    module._call_impl = lambda x: 2 * call(x)  # type: ignore[method-assign]


def _subclass(module: nn.Module) -> None:
    kind = type(module)
    if issubclass(kind, st.LIF):
        return _instance(module)  # a neuron of a name that is taken is not made here
    module.__class__ = type("Mine", (kind,), {"forward": lambda self, x: 2 * kind.forward(self, x)})
    return None


def _compiled(module: nn.Module) -> None:
    _instance(module)
    module.compile(backend="eager")


@pytest.mark.parametrize("change", [_instance, _hooked, _in_the_call, _subclass, _compiled])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", [st.SpikeLinear, nn.Linear])
def test_a_changed_forward_is_called(change: Any, place: int, kind: Any) -> None:
    """In a chain of events as on dense input, with and without gradients."""
    torch.manual_seed(0)
    net = st.Sequential(kind(20, 16), st.LIF(dt=0.5, v_threshold=0.02), kind(16, 5))
    x = few()
    before = net(x).detach()
    change(net[place])
    expected = nn.Sequential(*net)(x + 0)
    assert not torch.allclose(before, expected)
    torch.testing.assert_close(net(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(st.SpikeLinear, "forward"), (SpikingLayer, "forward"), (nn.Module, "__call__")],
)
def test_a_changed_class_is_called(kind: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = make()
    dense, before = x + 0, net(x).detach()
    own = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda self, *given: 2 * own(self, *given))
    assert not torch.allclose(net(x), before)
    torch.testing.assert_close(net(x), net(dense))


def test_unchanged_chains_run_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = make()
    calls: list[Any] = []
    run = chain.run
    monkeypatch.setattr(chain, "run", lambda *given: calls.append(given) or run(*given))
    net(x)
    assert len(calls) == 1


def _graph(layer: Any) -> Any:
    torch._dynamo.reset()
    return torch.compile(layer, fullgraph=True, backend="aot_eager")


def _both(one: Any, other: Any) -> None:
    """Equal spikes and gradients."""
    x = 3 * torch.rand(9, 4, 6, generator=torch.Generator().manual_seed(0))
    found = []
    for layer in (one, other):
        y = x.clone().requires_grad_()
        s = layer(y)
        found.append((s.detach(), torch.autograd.grad(s.sum(), y)[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_graphs_follow_the_surrogate_and_the_neuron() -> None:
    """Slope annealing under torch.compile: replaced, or changed in place, which breaks a graph."""
    layer = st.LIF(tau=2.0, dt=0.5, surrogate=st.surrogate.Sigmoid(2.0))
    captured = _graph(layer)
    _both(captured, layer)
    for alpha in (4.0, 25.0):
        layer.surrogate = st.surrogate.Sigmoid(alpha)
        _both(captured, st.LIF(tau=2.0, dt=0.5, surrogate=st.surrogate.Sigmoid(alpha)))
    layer.surrogate = st.surrogate.ATan(2.0)
    _both(captured, st.LIF(tau=2.0, dt=0.5, surrogate="atan"))
    layer.neuron = st.LIF(tau=3.0, dt=0.5, v_threshold=0.5, jump="soft").neuron
    expected = st.LIF(tau=3.0, dt=0.5, v_threshold=0.5, jump="soft", surrogate="atan")
    _both(captured, expected)
    torch._dynamo.reset()
    captured = torch.compile(layer, backend="aot_eager")
    _both(captured, expected)
    object.__setattr__(layer.surrogate, "alpha", 30.0)
    _both(captured, layer)


def test_graphs_of_networks_follow_too() -> None:
    """Copies have surrogates of their own, and one that is a module is run as it is."""

    class Learned(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return st.surrogate.Sigmoid(3.0)(u)

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), st.LIF(dt=0.5), nn.Linear(5, 2))
    captured = _graph(net)
    _both(captured, net)
    twin = copy.deepcopy(net)
    net[1].surrogate = st.surrogate.FastSigmoid(3.0)
    _both(captured, net)
    _both(_graph(twin), twin)
    net[1].surrogate = Learned()
    assert net[1]._key is None
    torch._dynamo.reset()
    _both(torch.compile(net, backend="aot_eager"), net)
