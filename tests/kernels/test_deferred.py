"""Layers of spikes that wait to be read: whatever happens to them, as if they had not waited."""

from __future__ import annotations

import copy
import itertools
import pickle
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import saltation as st
from saltation.errors import SaltationError
from saltation.kernels.cpu.linear import chain
from saltation.kernels.deferred import DeferredTensor
from saltation.kernels.events import SpikeTensor
from saltation.layers import LAYERS

STEPS, BATCH, SIZES = 12, 4, (24, 20, 18, 5)


class Tutorial(nn.Module):
    """A network as tutorials write it."""

    def __init__(self, sizes: tuple[int, ...] = SIZES, **of_neurons: Any) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        kind = LAYERS[of_neurons.pop("neuron", "lif")]
        self.neurons = nn.ModuleList(kind(**of_neurons) for _ in sizes[2:])
        exact(self)

    def forward(self, x: Tensor) -> Tensor:
        for linear, neurons in zip(self.linears, self.neurons, strict=False):
            x = neurons(linear(x))
        return self.linears[-1](x)  # type: ignore[no-any-return]


def exact(module: nn.Module, seed: int = 0) -> None:
    """Weights of which sums have no rounding error, so that no order of adding changes a spike."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.parameters():
            part.copy_(torch.randint(-20, 40, part.shape, generator=noise) / 64)


def spikes(density: float = 0.15, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Tensor:
    """Events."""
    noise = torch.Generator().manual_seed(seed)
    x = st.poisson(density * torch.rand(BATCH, sizes[0], generator=noise), STEPS, 1.0, seed=seed)
    assert type(x) is SpikeTensor
    return x


def dense(x: Tensor) -> Tensor:
    """The same as an ordinary tensor, on which `nn.Linear` waits for nothing."""
    return x + 0


def gradients(out: Tensor, module: nn.Module, **how: Any) -> list[Tensor]:
    """Of a loss that depends on every number of ``out``."""
    probe = torch.linspace(-1, 1, out.numel()).view(out.shape)
    parts = list(module.parameters())
    found = torch.autograd.grad((out * probe).sum(), parts, allow_unused=True, **how)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parts, found, strict=True)]


def same(ours: Any, expected: Any) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def waits(x: Tensor) -> bool:
    """Whether nothing has been computed of it."""
    return type(x) is DeferredTensor and x.__dict__["_made"] is None


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


def as_sequential(net: Tutorial) -> nn.Module:
    modules: list[nn.Module] = []
    for linear, neurons in zip(net.linears, net.neurons, strict=False):
        modules += [linear, nn.Identity(), neurons, nn.Dropout(0.5)]
    return nn.Sequential(*modules, net.linears[-1]).eval()


def as_functions(net: Tutorial) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        for linear, neurons in zip(net.linears, net.neurons, strict=False):
            x = neurons(functional.linear(x, bias=linear.bias, weight=linear.weight))
        return functional.linear(x, net.linears[-1].weight, net.linears[-1].bias)

    return run


def as_spike_linears(net: Tutorial) -> nn.Module:
    ours = copy.deepcopy(net)
    ours.linears = nn.ModuleList(st.SpikeLinear(m.in_features, m.out_features) for m in net.linears)
    ours.linears.load_state_dict(net.linears.state_dict())
    for mine, its in zip(ours.linears, net.linears, strict=True):
        mine.weight, mine.bias = its.weight, its.bias
    return ours


CONTAINERS: dict[str, Callable[[Tutorial], Any]] = {
    "nn.Module": lambda net: net,
    "nn.Sequential": as_sequential,
    "functions": as_functions,
    "SpikeLinear": as_spike_linears,
}


@settings(max_examples=25)
@given(
    container=some.sampled_from(sorted(CONTAINERS)),
    model=some.sampled_from(["lif", "izhikevich"]),
    hidden=some.lists(some.integers(1, 40), min_size=1, max_size=3),
    density=some.sampled_from([0.02, 0.1, 0.25, 0.8]),
    seed=some.integers(0, 50),
)
def test_every_container_against_the_reference(
    container: str, model: str, hidden: list[int], density: float, seed: int
) -> None:
    """Spikes to the bit, currents and gradients to rounding."""
    sizes = (24, *hidden, 5)
    neurons = {"neuron": model, "scheme": "exponential", "v_threshold": 0.3}
    net, reference = Tutorial(sizes, **neurons), Tutorial(sizes, **neurons, backend="reference")
    exact(net, seed)
    exact(reference, seed)
    x = spikes(density, sizes, seed)
    out = CONTAINERS[container](net)(x)
    sparse = float((x + 0).mean()) < 0.38 * sizes[1] / (sizes[1] + 64)
    assert waits(out) == sparse
    expected = reference(dense(x))
    same(out, expected)
    same(gradients(out, net), gradients(expected, reference))
    with torch.no_grad():
        hidden_spikes = net.neurons[0](net.linears[0](x))
        assert torch.equal(hidden_spikes, reference.neurons[0](reference.linears[0](dense(x))))


def test_a_module_runs_in_one_piece(ran: list[int]) -> None:
    """Nothing is computed before the output is read, and then all of it at once."""
    net = Tutorial()
    out = net(spikes())
    assert waits(out)
    assert (out.shape, out.dtype, out.ndim, len(out)) == ((STEPS, BATCH, 5), torch.float32, 3, 12)
    assert ran == []
    out.sum().backward()
    assert ran == [2]
    assert type(out) is Tensor


def test_gradients_against_float64() -> None:
    """One layer of neurons by hand in float64, with the same spikes."""
    net = Tutorial((24, 20, 5), v_threshold=0.3)
    x = spikes()
    ours = gradients(net(x), net)
    double = copy.deepcopy(net).double()
    for mine, its in zip(ours, gradients(double(dense(x).double()), double), strict=True):
        error = (mine.double() - its).norm() / its.norm()
        assert error < 1e-5


def test_double_backward() -> None:
    """A penalty on gradients has the derivative of the plain network's."""
    net = Tutorial(v_threshold=0.3)
    results = []
    for x in (spikes(), dense(spikes())):
        first = gradients(net(x), net, create_graph=True)
        results.append(
            torch.autograd.grad(sum(g.square().sum() for g in first), list(net.parameters())[:-1])
        )
    same(*results)


OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "index": lambda x: x[2:, 1],
    "numpy": lambda x: torch.from_numpy(x.numpy().copy()),
    "tolist": lambda x: torch.tensor(x.tolist()),
    "stack": lambda x: torch.stack([x, x]),
    "iterate": lambda x: torch.stack(list(x)),
    "max": lambda x: x.max(0).values,
    "sum over time": lambda x: x.sum(0),
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "print": repr,
    "vmap": lambda x: torch.func.vmap(lambda row: 2 * row)(x),
    "closed over": lambda x: torch.func.vmap(lambda row: row * x[0, 0, 0])(torch.ones(2)),
    "jvp": lambda x: torch.func.jvp(torch.sin, (x,), (torch.ones(x.shape),))[1],
    "double": lambda x: x.double(),
    "state": lambda x: st.LIF()(x, st.LIF().rest(x[0]))[0],
    "record": lambda x: st.LIF().record(x).h,
    "reference": lambda x: st.LIF(backend="reference")(x),
    "recurrent": lambda x: recurrent(x.shape[-1])(x),
    "flatten": lambda x: x.flatten(1),
    "normalise": lambda x: functional.layer_norm(x, x.shape[-1:]),
    "two products": lambda x: functional.linear(
        functional.linear(x, torch.ones(3, x.shape[-1])), torch.ones(2, 3)
    ),
    "unseen": lambda x: unseen(lambda: torch.relu(x)),
    "unseen sum": lambda x: unseen(lambda: x.sum()),
    "in autocast": lambda x: in_autocast(lambda: x * 2),
    "in inference mode": torch.inference_mode()(lambda x: x * 2),
    "dropout": lambda x: functional.dropout(x, 0.5, training=False) * 2,
    "float": lambda x: float(x.mean()),
    "bytes": lambda x: x.untyped_storage().nbytes(),
}


def recurrent(width: int) -> nn.Module:
    torch.manual_seed(0)
    return st.Recurrent(st.LIF(), width)


def unseen(run: Callable[[], Any]) -> Any:
    """As C++ does, below torch's Python functions."""
    with torch._C.DisableTorchFunctionSubclass():
        return run()


def in_autocast(run: Callable[[], Any]) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return run()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_everything_sees_an_ordinary_tensor(name: str, layers: int) -> None:
    """Currents and spikes, first and later ones, without gradients and with them."""
    net = Tutorial(v_threshold=0.3)
    modules = [m for pair in zip(net.linears, net.neurons, strict=False) for m in pair]
    part = nn.Sequential(*modules[:layers])
    for grad in (False, True):
        if grad and name in ("numpy", "deepcopy", "pickle", "print", "tolist"):
            continue  # refused, or shown otherwise, where there is a graph
        with torch.set_grad_enabled(grad):
            given = part(spikes())
            assert waits(given)
            expected = OPERATIONS[name](part(dense(spikes())))
            ours = OPERATIONS[name](given)
        if not isinstance(ours, Tensor):
            assert ours == pytest.approx(expected) if isinstance(ours, float) else ours == expected
            continue
        assert type(ours) is Tensor
        assert ours.requires_grad == expected.requires_grad
        same(ours, expected)
        if ours.requires_grad:
            same(gradients(ours, part), gradients(expected, part))


def test_what_refuses_a_graph_refuses_it_here() -> None:
    """numpy and deepcopy of what has a graph."""
    net = Tutorial()
    with pytest.raises(RuntimeError, match="requires grad"):
        net(spikes()).numpy()
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(net(spikes()))


CHANGES: dict[str, Callable[[Tutorial], Any]] = {
    "mul_": lambda net: torch.no_grad()(net.linears[0].weight.mul_)(2),
    "data": lambda net: net.linears[1].weight.data.mul_(2),
    "new data": lambda net: setattr(net.linears[0].weight, "data", torch.zeros(20, 24)),
    "numpy": lambda net: net.linears[0].weight.detach().numpy().fill(0),
    "bias": lambda net: net.linears[2].bias.data.fill_(9),
    "load": lambda net: net.linears[0].load_state_dict(nn.Linear(24, 20).state_dict()),
    "step": lambda net: step(net),
    "other parameter": lambda net: setattr(
        net.linears[0], "weight", nn.Parameter(torch.zeros(20, 24))
    ),
    "surrogate": lambda net: setattr(net.neurons[0], "surrogate", st.surrogate.ATan()),
    "frozen": lambda net: net.requires_grad_(False),
}


def step(net: nn.Module) -> None:
    for part in net.parameters():
        part.grad = torch.ones_like(part)
    torch.optim.SGD(net.parameters(), lr=0.1).step()


@pytest.mark.parametrize("name", CHANGES)
def test_changed_weights_change_nothing_made_before(name: str) -> None:
    """Numbers and gradients are those of the weights when the layer was called."""
    net, twin = Tutorial(v_threshold=0.3), Tutorial(v_threshold=0.3)
    parts = list(net.parameters())
    out, hidden = net(spikes()), net.neurons[0](net.linears[0](spikes()))
    CHANGES[name](net)
    net.requires_grad_(True)
    x = dense(spikes())
    expected = twin(x)
    same(out, expected)
    assert torch.equal(hidden, twin.neurons[0](twin.linears[0](x)))
    found = torch.autograd.grad(out.square().sum(), parts)
    same(found, torch.autograd.grad(expected.square().sum(), list(twin.parameters())))


def test_changed_spikes_change_nothing_made_before() -> None:
    """The input's, and hidden ones, with and without gradients."""
    net = Tutorial(v_threshold=0.3)
    x = dense(spikes())
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            ours = spikes()
            out = net(ours)
            ours.mul_(3)
            same(out, net(x))
            hidden = net.neurons[0](net.linears[0](spikes()))
            out = net.linears[1](hidden)
            after = net.neurons[1](out)
            expected = net.linears[1](net.neurons[0](net.linears[0](x)))
            with torch.no_grad():
                hidden.detach().mul_(3)
            same(after, net.neurons[1](expected))
            same(out, expected)
            # And what is made of it afterwards is made of what it holds then.
            expected = net.linears[1](3 * net.neurons[0](net.linears[0](x)))
            same(net.linears[1](hidden), expected)


def test_changed_in_place_with_a_graph() -> None:
    """``+=`` and ``mul_`` on hidden currents and spikes, as on ordinary ones."""
    net = Tutorial(v_threshold=0.3)

    def run(x: Tensor) -> Tensor:
        currents = net.linears[0](x)
        currents += 0.25
        hidden = net.neurons[0](currents)
        hidden.mul_(2)
        out = net.linears[1](hidden)
        out[0] = 0
        return out  # type: ignore[no-any-return]

    ours, expected = run(spikes()), run(dense(spikes()))
    same(ours, expected)
    same(gradients(ours, net), gradients(expected, net))


def test_modes_are_those_of_the_call() -> None:
    """Not those in which the result is read, nor those of another layer."""
    net, x = Tutorial(v_threshold=0.3), spikes()
    with torch.no_grad():
        out = net(x)
    assert not (out * 1).requires_grad
    out = net(x)
    with torch.no_grad():
        out[0]
    assert out.requires_grad
    same(gradients(out, net), gradients(net(dense(x)), net))
    with torch.no_grad():
        hidden = net.neurons[0](net.linears[0](x))
    out = net.linears[1](hidden)
    assert out.sum(0).requires_grad
    assert not gradients(out, net)[0].any()
    currents = net.linears[0](x)
    with torch.no_grad():
        hidden = net.neurons[0](currents)
    out = net.linears[1](hidden)
    found = gradients(out, net)
    assert not found[0].any()
    assert found[2].any()
    with torch.inference_mode():
        out = net(x)
    assert out.clone().is_inference() is False
    assert not (out + 0).requires_grad
    out = net(x)
    with torch.inference_mode():
        out.sum()
    assert not out.is_inference()
    same(gradients(out, net), gradients(net(dense(x)), net))
    net.linears[0].requires_grad_(False)
    out = net(x)
    net.linears[0].requires_grad_(True)
    assert not gradients(out, net)[0].any()


def test_spikes_that_want_a_gradient() -> None:
    """A layer of them does not wait, and their gradient is there."""
    net, x = Tutorial(v_threshold=0.3), spikes()
    x.requires_grad_()
    out = net(x)
    assert not waits(out)
    plain = dense(spikes()).requires_grad_()
    (out.sum() + net(plain).sum()).backward()
    same(x.grad, plain.grad)


def test_two_readers() -> None:
    """A residual, a penalty on hidden spikes, and two heads: gradients add up, in any order."""
    torch.manual_seed(0)
    net = Tutorial((24, 20, 20, 5), v_threshold=0.3)
    other = nn.Linear(20, 5)
    exact(other)

    def run(x: Tensor, order: int) -> Tensor:
        first = net.neurons[0](net.linears[0](x))
        penalty = first.mean() if order == 0 else 0
        second = net.neurons[1](net.linears[1](first))
        out = net.linears[2](second)
        head = other(first)
        if order == 1:
            penalty = first.mean()
        total = out.square().sum() + head.sum() + (first + second).square().sum()
        if order == 2:
            penalty = first.mean()
        return total + 10 * penalty

    parts = [*net.parameters(), *other.parameters()]
    for order in range(3):
        ours, expected = run(spikes(), order), run(dense(spikes()), order)
        same(ours, expected)
        same(torch.autograd.grad(ours, parts), torch.autograd.grad(expected, parts))


def test_hidden_gradients() -> None:
    """retain_grad, hooks and torch.autograd.grad of hidden spikes, asked before the output is read;
    asked later, when no gradient passes through them, they say so."""
    net, seen = Tutorial(v_threshold=0.3), []

    def run(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        currents = net.linears[0](x)
        hidden = net.neurons[0](currents)
        return currents, hidden, net.linears[1](hidden)

    found = []
    for x in (spikes(), dense(spikes())):
        currents, hidden, out = run(x)
        hidden.retain_grad()
        currents.register_hook(seen.append)
        out.square().sum().backward()
        found.append(hidden.grad)
        currents, hidden, out = run(x)
        hidden.requires_grad  # noqa: B018  # whoever asks is given its numbers
        found.append(torch.autograd.grad(out.square().sum(), [hidden])[0])
    same(found[:2], found[2:])
    same(seen[0], seen[1])
    currents, hidden, out = run(spikes())
    loss = out.square().sum()
    for ask in (hidden.retain_grad, lambda: hidden.grad, lambda: currents.register_hook(print)):
        with pytest.raises(SaltationError, match="must be asked for before"):
            ask()
    with pytest.raises(SaltationError, match="must be asked for before"):
        torch.autograd.grad(loss, [hidden])
    same(hidden.mean(), run(dense(spikes()))[1].mean())
    with pytest.raises(SaltationError, match="must be asked for before"):
        hidden.retain_grad()
    with pytest.raises(SaltationError, match="changed in place"):
        hidden.mul_(2)


def test_hooks() -> None:
    """Forward hooks see and may change what passes; backward hooks see gradients."""
    net = Tutorial(v_threshold=0.3)
    seen: list[Tensor] = []
    handles = [
        net.linears[0].register_forward_hook(lambda m, a, out: out * 1.5),
        net.neurons[0].register_forward_hook(lambda m, a, out: seen.append(out)),
        net.neurons[1].register_full_backward_hook(lambda m, a, b: seen.extend((*a, *b))),
        net.linears[1].register_forward_pre_hook(lambda m, a: (a[0] * 2,)),
    ]
    results, gathered = [], []
    for x in (spikes(), dense(spikes())):
        seen.clear()
        out = net(x)
        results.append([out, *gradients(out, net)])
        gathered.append([one + 0 for one in seen])
    same(*results)
    same(*gathered)
    assert len(gathered[0]) == 3
    for handle in handles:
        handle.remove()


class Scaled(torch.autograd.Function):
    """A user's own function, which torch calls without asking the tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum()


class Product(torch.autograd.Function):
    """One that returns what waits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return functional.linear(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:
        return None, g.flatten(0, 1).T @ ctx.saved_tensors[0].flatten(0, 1)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("read", ["never", "before", "after", "kept"])
def test_own_functions(layers: int, read: str) -> None:
    """Its gradient arrives at the weights, read before or after or not at all."""
    net = Tutorial(v_threshold=0.3)
    modules = [m for pair in zip(net.linears, net.neurons, strict=False) for m in pair]
    part, w = nn.Sequential(*modules[:layers]), torch.full((), 1.5, requires_grad=True)
    found = []
    for x in (spikes(), dense(spikes())):
        given = part(x)
        held = weakref.ref(given) if read == "kept" else None
        extra = given.square().sum() if read in ("before", "kept") else 0
        out = Scaled.apply(given, w)  # type: ignore[no-untyped-call]
        if read == "after":
            extra = given.square().sum()
        loss = out.square().sum() + extra
        found.append([loss, *torch.autograd.grad(loss, [w, *part.parameters()])])
        assert held is None or held() is given
    same(*found)
    results = []
    for x in (spikes(), dense(spikes())):
        out = net.neurons[0](Product.apply(x, net.linears[0].weight))  # type: ignore[no-untyped-call]
        results.append(gradients(out, net)[0])
    same(*results)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(reentrant: bool) -> None:
    """Recomputed in backward."""
    net = Tutorial(v_threshold=0.3)
    anchor = torch.zeros((), requires_grad=True)  # the reentrant form looks at its inputs

    def body(x: Tensor, _: Tensor) -> Tensor:
        return net.neurons[0](net.linears[0](x))  # type: ignore[no-any-return]

    found = []
    for x in (spikes(), dense(spikes())):
        out = net.linears[1](checkpoint(body, x, anchor, use_reentrant=reentrant))
        net.zero_grad()
        out.square().sum().backward()
        found.append([p.grad for p in net.parameters() if p.grad is not None])
    same(*found)
    assert len(found[0]) == 4


def test_saved_tensor_hooks() -> None:
    """What is kept for backward may be put elsewhere."""
    net = Tutorial(v_threshold=0.3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        ours = net(spikes())
        found = gradients(ours, net)
    same(found, gradients(net(dense(spikes())), net))


def test_transforms_do_not_wait() -> None:
    """torch.func over the weights, forward mode and autocast."""
    net, x = Tutorial((24, 20, 5), v_threshold=0.3), spikes()
    parts = dict(net.named_parameters())

    def loss(parts: Any, x: Tensor) -> Tensor:
        return torch.func.functional_call(net, parts, (x,)).square().sum()  # type: ignore[no-any-return]

    same(torch.func.grad(loss)(parts, x), torch.func.grad(loss)(parts, dense(x)))
    tangents = {k: torch.ones_like(v) for k, v in parts.items()}
    found = [
        torch.func.jvp(lambda p, x=x: loss(p, x), (parts,), (tangents,)) for x in (x, dense(x))
    ]
    same(*found)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(net.linears[1].weight.detach(), torch.ones(5, 20))
        hidden = net.neurons[0](net.linears[0](x))
        out = functional.linear(hidden, dual)
        expected = functional.linear(net.neurons[0](net.linears[0](dense(x))), dual)
        same(forward_ad.unpack_dual(out).tangent, forward_ad.unpack_dual(expected).tangent)
    with torch.autocast("cpu", torch.bfloat16):
        assert net.linears[0](x).dtype == torch.bfloat16
        assert net.linears[0](x).equal(net.linears[0](dense(x)))
    hidden = net.neurons[0](net.linears[0](x))
    with torch.autocast("cpu", torch.bfloat16):
        assert net.linears[1](hidden).dtype == torch.bfloat16


def test_compiled_parts() -> None:
    """A captured layer gets and gives what waits."""
    net, x = Tutorial(v_threshold=0.3), spikes()
    expected = net(dense(x))
    captured: Any = torch.compile(net, backend="eager")
    same(captured(x), expected)
    head: Any = torch.compile(net.linears[2], backend="eager")
    hidden = net.neurons[1](net.linears[1](net.neurons[0](net.linears[0](x))))
    out = head(hidden)
    same(out, expected)
    same(gradients(out, net), gradients(net(dense(x)), net))


def test_what_watches_operations_sees_them() -> None:
    """Under a dispatch mode and in a trace nothing waits."""
    from torch.utils.flop_counter import FlopCounterMode

    net = Tutorial()
    counts = []
    for x in (spikes(), dense(spikes())):
        with FlopCounterMode(display=False) as counter:
            net(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


class Twice(nn.Linear):
    """A user's layer."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return 2 * super().forward(input)


def test_layers_of_ones_own() -> None:
    """Subclasses of nn.Linear and of neuron layers, and weights that two layers share."""

    class Loud(st.LIF):
        def forward(self, x: Tensor, state: Any = None) -> Any:
            return 3 * super().forward(x, state)

    linear, neurons, tied = Twice(24, 24), Loud(v_threshold=0.3), nn.Linear(24, 24)
    exact(linear)
    exact(tied)
    net = nn.ModuleList([linear, neurons, tied])

    def run(x: Tensor) -> Tensor:
        x = st.LIF(v_threshold=0.3)(tied(neurons(linear(x))))
        x = st.LIF(v_threshold=0.3)(tied(x))
        return tied(x)  # type: ignore[no-any-return]

    ours, expected = run(spikes()), run(dense(spikes()))
    same(ours, expected)
    same(gradients(ours, net), gradients(expected, net))
    chained = nn.Sequential(tied, st.LIF(v_threshold=0.3), tied, st.LIF(v_threshold=0.3), tied)
    out = chained(spikes())
    assert waits(out)
    same(gradients(out, tied), gradients(chained(dense(spikes())), tied))


def test_dropout_in_training() -> None:
    """Is drawn, from the same generator; without it spikes pass unread."""
    net = Tutorial(v_threshold=0.3)
    drop = nn.Dropout(0.5)
    found = []
    for x in (spikes(), dense(spikes())):
        torch.manual_seed(0)
        out = net.linears[1](drop(net.neurons[0](net.linears[0](x))))
        found.append([out, *gradients(out, net)])
    same(*found)
    assert waits(drop.eval()(net.linears[0](spikes())))


def test_not_finite_is_said() -> None:
    """By the layer that gets it, when it is called."""
    net = Tutorial()
    net.linears[0].weight.data[0, 0] = float("nan")
    x = st.poisson(torch.full((BATCH, 24), 0.2), STEPS, 1.0)
    with pytest.raises(st.errors.NotFiniteError):
        net(x)


def test_nothing_outlives_its_use() -> None:
    """What a tensor was made of goes once it has numbers, and with the graph."""
    net = Tutorial()
    out = net(spikes())
    origin = weakref.ref(out.__dict__["_origin"])
    hidden = weakref.ref(out.__dict__["_origin"].source)
    loss = out.sum()
    assert origin() is None
    assert hidden() is None
    loss.backward()
    with torch.no_grad():
        out = net(spikes())
        origin = weakref.ref(out.__dict__["_origin"])
        del out
    assert origin() is None


def test_threads_see_the_same() -> None:
    """Who reads at the same time."""
    net = Tutorial(v_threshold=0.3)
    out, expected = net(spikes()), float(net(dense(spikes())).detach().sum())
    with ThreadPoolExecutor(4) as pool:
        for total in pool.map(lambda _: float(out.detach().sum()), range(8)):
            assert total == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("write", ["add_", "data"])
def test_writes_that_are_not_seen(layers: int, write: str) -> None:
    """From C++, below torch's Python functions: numbers, gradients, and the layer after."""
    net = Tutorial(v_threshold=0.3)
    modules = [m for pair in zip(net.linears, net.neurons, strict=False) for m in pair]
    part = nn.Sequential(*modules[:layers])
    for grad in (False, True):
        results = []
        for x in (spikes(), dense(spikes())):
            with torch.set_grad_enabled(grad):
                given = part(x)
                unseen(lambda t=given: t.add_(1) if write == "add_" else t.data.fill_(7))
                after = (net.linears[1] if layers == 2 else torch.sin)(given)
                found = gradients(after, part) if grad else []
                results.append([given * 1, after, *found])
        same(*results)


def test_attributes_stay() -> None:
    """What a user puts on a tensor."""
    out = Tutorial()(spikes())
    out.note = "mine"
    known = id(out)
    out.sum()
    assert (out.note, id(out)) == ("mine", known)
