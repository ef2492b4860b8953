"""Converted networks: the tutorials' spikes and gradients, and what is refused by name."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import saltation as st
from benchmarks.tutorials import TUTORIALS, reset
from saltation.kernels import dispatch
from saltation.layers import neuron_layers

CONVERT = {"snntorch": st.from_snntorch, "spikingjelly": st.from_spikingjelly}
# What is learned under another name here.
RENAMED = {
    "recurrent.weight": "weight",
    "recurrent.bias": "bias",
    "beta": "learned.beta",
    "threshold": "learned.v_threshold",
    "w": "learned.k",
}


def own_name(name: str, ours: dict[str, Any]) -> str:
    """A parameter's name in the converted network."""
    if name in ours:
        return name
    (old,) = (old for old in sorted(RENAMED, key=len)[::-1] if name.endswith(f".{old}"))
    return f"{name.removesuffix(old)}{RENAMED[old]}"


def quiet(network: nn.Module) -> None:
    """No dropout, whose masks two networks draw apart."""
    for module in network.modules():
        if "Dropout" in type(module).__name__:
            module.eval()


def parts(output: Any) -> tuple[Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorials_give_the_same(snntorch: Any, spikingjelly: Any, name: str) -> None:
    """Outputs and the gradient of every parameter; snnTorch's spikes are float32 everywhere."""
    one = TUTORIALS[name]
    dtype = torch.float32 if one.library == "snntorch" else torch.float64
    torch.manual_seed(0)
    network = one.make(0.05).to(dtype)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.mul_(4)  # so that every layer spikes
            if type(module).__name__ == "ParametricLIFNode":
                module.v_threshold = 0.5
    converted = CONVERT[one.library](network)
    quiet(network)
    quiet(converted)
    counts: dict[str, int] = {}
    for at, layer in neuron_layers(converted).items():
        layer.register_forward_hook(lambda _, x, y, at=at: counts.update({at: int(y.sum())}))
    x = one.input(3, dtype)[: 12 if one.by_step else None]
    x = x[:3] if name == "gestures" else x
    theirs, ours = parts(one.run(network, x)), parts(converted(x))
    close = {"rtol": 0, "atol": 1e-5 if dtype == torch.float32 else 1e-12}
    noise = torch.Generator().manual_seed(1)
    losses: list[Any] = [0, 0]
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(b, a, **close)
        weight = torch.randn(a.shape, generator=noise, dtype=dtype)
        losses = [losses[0] + (weight * a).sum(), losses[1] + (weight * b).sum()]
    assert counts
    counts.pop("lif2" if name == "regression" else "", 0)  # a potential that is read out
    assert all(counts.values()), counts
    for loss in losses:
        loss.backward()
    mine = dict(converted.named_parameters())
    assert len(mine) == len(list(network.parameters()))
    for at, parameter in network.named_parameters():
        grad = mine[own_name(at, mine)].grad
        assert parameter.grad is not None
        size = parameter.grad.abs().max()
        assert size > 0, at
        assert grad is not None
        torch.testing.assert_close(
            grad, parameter.grad, rtol=0, atol=size * (1e-4 if dtype == torch.float32 else 1e-11)
        )


@pytest.mark.parametrize("name", TUTORIALS)
def test_neurons_run_in_the_compiled_loops(snntorch: Any, spikingjelly: Any, name: str) -> None:
    one = TUTORIALS[name]
    converted = CONVERT[one.library](one.make(0.05))
    for layer in neuron_layers(converted).values():
        own: Any = getattr(layer, "layer", layer)
        x = torch.zeros(2, 3, layer.features if own is not layer else 7)
        if own.neuron.tensors and any(t.numel() > 1 for t in own.parameters()):
            x = torch.zeros(2, 3, max(t.numel() for t in own.parameters()))
        kernel, why = dispatch.resolve("auto", own.neuron, own.surrogate, x, own.rest(x[0]))
        assert (kernel.name, why) == ("cpu", dispatch.FIRST)


def test_a_chain_is_a_sequential_with_the_same_names(spikingjelly: Any) -> None:
    network = TUTORIALS["lif_fc_mnist"].make(1)
    converted = st.from_spikingjelly(network)
    assert type(converted) is st.Sequential
    assert [type(m).__name__ for m in converted] == ["Flatten", "SpikeLinear", "LIF"]
    assert torch.equal(converted[1].weight, network[1].weight)
    assert converted[1].weight is not network[1].weight


def test_a_potential_at_threshold_is_no_spike_in_snntorch(snntorch: Any) -> None:
    """Weights of a half and inputs of one reach the threshold exactly, again and again."""
    for reset_mechanism in ("subtract", "zero"):
        leaky = snntorch.Leaky(beta=1.0, init_hidden=True, reset_mechanism=reset_mechanism)
        network = nn.Sequential(nn.Linear(1, 1, bias=False), leaky)
        nn.init.constant_(network[0].weight, 0.5)
        x = torch.ones(64, 1, 1)
        theirs = torch.stack([network(step) for step in x])
        assert 10 < theirs.sum() < 40
        assert torch.equal(st.from_snntorch(network)(x), theirs)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_step_by_step(snntorch: Any, training: bool) -> None:
    """Every step is normalised by itself, and counted, as by a loop over the steps."""
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), snntorch.Leaky(0.9, init_hidden=True)
    ).train(training)
    nn.init.normal_(network[1].running_mean)
    converted = st.from_snntorch(network)
    assert converted.training == training
    x = 20 * torch.rand(5, 4, 1, 8, 8)
    theirs = torch.stack([network(step) for step in x])
    assert torch.equal(converted(x), theirs)
    assert theirs.mean() > 0.02
    torch.testing.assert_close(converted[1].running_var, network[1].running_var)
    assert converted[1].num_batches_tracked == network[1].num_batches_tracked


def test_loops_that_sum_and_batches_first(snntorch: Any) -> None:
    """A sum that grows in the loop, and time in the second dimension."""

    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 4), snntorch.Leaky(0.5)

        def forward(self, x: Tensor) -> Tensor:
            mem, total = torch.zeros(x.size(0), 4), 0
            for t in range(x.size(1)):
                spikes, mem = self.lif(self.fc(x[:, t]), mem)
                total = total + spikes
            return total / 10

    network = Summing()
    x = 20 * torch.rand(6, 17, 5)
    assert torch.equal(st.from_snntorch(network)(x), network(x))
    assert network(x).sum() > 1


def test_a_loop_that_is_shorter_than_its_input(snntorch: Any) -> None:
    """It takes the first steps, and one that is too short is an error, not a shorter result."""

    class Short(nn.Module):
        def __init__(self, less: int | None = None) -> None:
            super().__init__()
            self.fc, self.lif, self.less = nn.Linear(5, 4), snntorch.Leaky(0.5), less

        def forward(self, x: Tensor) -> Tensor:
            mem, out = self.lif.init_leaky(), []
            for t in range(6 if self.less is None else x.size(0) - self.less):
                spikes, mem = self.lif(self.fc(x[t]), mem)
                out.append(spikes)
            return torch.stack(out)

    network, x = Short(), 20 * torch.rand(9, 3, 5)
    converted = st.from_snntorch(network)
    assert torch.equal(converted(x), network(x))
    assert converted(x).shape == (6, 3, 4)
    with pytest.raises(st.SaltationError, match="takes 6 steps, its input has 5"):
        converted(x[:5])
    with pytest.raises(st.SaltationError, match="no size of the input"):
        st.from_snntorch(Short(1))


def test_steps_beside_each_other(snntorch: Any, spikingjelly: Any) -> None:
    """Concatenation in a loop, and a container that loops over single steps."""
    from spikingjelly.activation_based import functional, layer

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 4), snntorch.Leaky(0.5)
            self.out, self.last = nn.Linear(9, 2), snntorch.Leaky(0.5)

        def forward(self, x: Tensor) -> Tensor:
            mem, end = torch.zeros(x.shape[1], 4), torch.zeros((x.shape[1], 2))
            out = []
            for step in x:
                spikes, mem = self.lif(self.fc(step), mem)
                last, end = self.last(self.out(torch.cat([spikes, step], 1)), end)
                out.append(last)
            return torch.stack(out)

    torch.manual_seed(0)
    network, x = Skip(), 20 * torch.rand(9, 3, 5)
    assert network(x).sum() > 2
    assert torch.equal(st.from_snntorch(network)(x), network(x))
    node = spikingjelly.neuron.IFNode()
    contained = nn.Sequential(layer.MultiStepContainer(nn.Linear(5, 4), node))
    expected = contained(x)
    functional.reset_net(contained)
    assert torch.equal(st.from_spikingjelly(contained)(x), expected)


def test_it_is_a_module_like_others(snntorch: Any) -> None:
    """Copies, pickles and state dicts; the original keeps its hidden states."""
    network = TUTORIALS["events"].make(0.1)
    x = TUTORIALS["events"].input(2)[:4]
    network(x[0])
    before = network[2].mem.clone()
    converted = st.from_snntorch(network)
    assert torch.equal(network[2].mem, before)
    assert before.abs().sum() > 0
    expected = converted(x)
    for other in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert all(map(torch.equal, other(x), expected))
    again = st.from_snntorch(TUTORIALS["events"].make(0.1))
    again.load_state_dict(converted.state_dict())
    assert all(map(torch.equal, again(x), expected))


def test_spikes_alone(snntorch: Any) -> None:
    """Without states a chain is left, which estimators and compiled loops take as it is."""
    network, x = TUTORIALS["events"].make(0.1), TUTORIALS["events"].input(2)[:4]
    converted = st.from_snntorch(network, states=False)
    assert type(converted) is st.Sequential
    assert torch.equal(converted(x), st.from_snntorch(network)(x)[0])
    found = float(st.lyapunov(converted, x, samples=2).exponents.detach().mean())
    other = float(st.lyapunov(network, x, samples=2).exponents.detach().mean())
    assert found == pytest.approx(other, abs=1e-5)
    with pytest.raises(st.SaltationError, match="returns states alone"):
        st.from_snntorch(TUTORIALS["regression"].make(0.1), states=False)
    dense = st.from_snntorch(TUTORIALS["dense"].make(0.1), states=False)
    assert dense(torch.rand(2, 784)).shape == (25, 2, 10)


def test_recorded_layers_are_heard(snntorch: Any) -> None:
    """Statistics, exponents and diagnosis of a network that returns potentials, too."""
    network, x = TUTORIALS["dense"].make(0.05), TUTORIALS["dense"].input(3)
    converted = st.from_snntorch(network)
    with st.watch(converted) as seen:
        spikes, _ = converted(x)
    assert seen["lif2"].mean_spike_rate == pytest.approx(float(spikes.mean()))
    found = st.lyapunov(converted, x, samples=3).exponents.detach()
    torch.testing.assert_close(found, st.lyapunov(network, x, samples=3).exponents.detach())


def test_shared_weights_stay_shared(snntorch: Any) -> None:
    leaky: Callable[[], Any] = lambda: snntorch.Leaky(0.9, init_hidden=True)  # noqa: E731
    network = nn.Sequential(nn.Linear(4, 4), leaky(), nn.Linear(4, 4), leaky())
    network[2].weight = network[0].weight
    converted = st.from_snntorch(network)
    assert converted[2].weight is converted[0].weight


def snntorch_refusals(snn: Any) -> dict[str, tuple[nn.Module, str]]:
    """What cannot be converted, and what the message must name."""
    hidden = {"beta": 0.9, "init_hidden": True}

    class Returned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9)

    class ByHand(Returned):
        def forward(self, x: Tensor) -> Tensor:
            spikes, mem = self.lif(self.fc(x), self.lif.init_leaky())
            for _ in range(3):
                spikes, mem = self.lif(self.fc(x + spikes), mem)
            return spikes

    class Twice(Returned):
        def forward(self, x: Tensor) -> Tensor:
            one = two = self.lif.init_leaky()
            for _ in range(3):
                spikes, one = self.lif(self.fc(x), one)
                spikes, two = self.lif(spikes, two)
            return spikes

    class Branching(Returned):
        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.fc(x) if x.sum() > 0 else x)[0]

    class Sorted(Returned):
        def forward(self, x: Tensor) -> Tensor:
            return self.lif(torch.sort(self.fc(x), 0)[0])[0]

    class Averaging(Returned):
        def forward(self, x: Tensor) -> Tensor:
            mem, out = self.lif.init_leaky(), []
            for t in range(x.size(0)):
                spikes, mem = self.lif(self.fc(x[t]), mem)
                out.append(spikes)
            return torch.stack(out).sum(0) / len(x)

    class Moody(Returned):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.dropout(self.fc(x), 0.5, self.training)
            return self.lif(x if self.training else 2 * x)[0]

    hooked = nn.Sequential(nn.Linear(2, 2), snn.Leaky(**hidden))
    hooked[1].register_forward_hook(lambda *_: None)
    changed = snn.Leaky(**hidden)
    changed.reset_mechanism = "zero"
    return {
        "averaging": (Averaging(), "computes with the number of its input's steps"),
        "moody": (Moody(), "'dropout' on one step"),
        "hooks": (hooked, "'1' is a Leaky with hooks"),
        "changed": (changed, "whose reset_mechanism was changed"),
        "Alpha": (nn.Sequential(snn.Alpha(0.9, 0.8, init_hidden=True)), "'0' is a Alpha"),
        "surrogate": (
            snn.Leaky(**hidden, spike_grad=snn.surrogate.LSO()), "with the surrogate 'LSO'"
        ),
        "quantised": (nn.Sequential(snn.Leaky(**hidden, state_quant=abs)), "state_quant"),
        "graded": (snn.Leaky(**hidden, graded_spikes_factor=2.0), "graded spikes"),
        "at once": (snn.Leaky(**hidden, reset_delay=False), "reset_delay=False"),
        "unknown": (nn.Sequential(nn.Bilinear(2, 2, 2), snn.Leaky(**hidden)), "'0' is a Bilinear"),
        "by hand": (ByHand(), "'lif' in step 2"),
        "twice": (Twice(), "not the one they returned last"),
        "branch": (Branching(), "forward of Branching cannot be followed"),
        "sorted": (Sorted(), "'sort' on one step"),
        "none": (nn.Linear(2, 2), "calls no neurons"),
    }  # fmt: skip


REFUSALS = (
    "Alpha", "surrogate", "quantised", "graded", "at once", "unknown", "by hand", "twice", "branch",
    "sorted", "none", "averaging", "moody", "hooks", "changed",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_snntorch_refusals(snntorch: Any, name: str) -> None:
    network, told = snntorch_refusals(snntorch)[name]
    with pytest.raises(st.SaltationError) as error:
        st.from_snntorch(network)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_spikingjelly_refusals(spikingjelly: Any) -> None:
    from spikingjelly.activation_based import layer

    sj = spikingjelly
    cases = {
        "'0' is a QIFNode": nn.Sequential(sj.neuron.QIFNode()),
        "with the surrogate SoftSign": sj.neuron.LIFNode(
            surrogate_function=sj.surrogate.SoftSign()
        ),
        "step_mode='m' beside": nn.Sequential(
            layer.Linear(2, 2, step_mode="m"), sj.neuron.IFNode()
        ),
        "'1' is a SynapseFilter": nn.Sequential(sj.neuron.IFNode(), layer.SynapseFilter()),
        "must be a torch.nn.Module": 3,
    }
    for told, network in cases.items():
        with pytest.raises(st.SaltationError, match=told):
            st.from_spikingjelly(network)


def test_every_lif_of_spikingjelly(spikingjelly: Any) -> None:
    """Resets, input decay, detached resets and surrogates of LIFNode and IFNode, step by step."""
    sj = spikingjelly
    surrogates = [sj.surrogate.PiecewiseQuadratic(), sj.surrogate.Erf(), sj.surrogate.Rect()]
    nodes = [
        sj.neuron.LIFNode(
            tau=3.0, decay_input=decays, v_reset=v_reset, detach_reset=decays, surrogate_function=s
        )
        for decays in (True, False)
        for v_reset in (None, -0.25)
        for s in surrogates
    ]
    nodes += [sj.neuron.IFNode(v_reset=v_reset) for v_reset in (None, -0.25)]
    nodes += [sj.neuron.ParametricLIFNode(decay_input=False), sj.neuron.IzhikevichNode()]
    torch.manual_seed(0)
    given = torch.rand(15, 4, 6, dtype=torch.float64) * 2.5
    for node in nodes:
        ours = st.from_spikingjelly(node)
        x, y = given.clone().requires_grad_(), given.clone().requires_grad_()
        reset("spikingjelly", node)
        theirs, mine = torch.stack([node(step) for step in x]), ours(y)
        assert torch.equal(mine, theirs), node
        assert 0.005 < theirs.mean() < 0.95, node
        weight = torch.randn(theirs.shape, dtype=torch.float64)
        (theirs * weight).sum().backward()
        (mine * weight).sum().backward()
        torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["Lapicque", "Synaptic none", "Synaptic zero", "RSynaptic"])
def test_other_neurons_of_snntorch(snntorch: Any, kind: str) -> None:
    """Spikes and every state that is returned, and the gradient of the input."""
    options: dict[str, Any] = {"init_hidden": True, "output": True}
    make: dict[str, Callable[[], Any]] = {
        "Lapicque": lambda: snntorch.Lapicque(beta=0.8, reset_mechanism="subtract", **options),
        "Synaptic none": lambda: snntorch.Synaptic(0.5, 0.8, reset_mechanism="none", **options),
        "Synaptic zero": lambda: snntorch.Synaptic(0.5, 0.8, reset_mechanism="zero", **options),
        "RSynaptic": lambda: snntorch.RSynaptic(0.5, 0.8, linear_features=6, **options),
    }
    torch.manual_seed(3)
    network = make[kind]()
    given = torch.rand(20, 4, 6) - (0.2 if "none" in kind else 0)
    given = 10 * given if kind == "Lapicque" else given
    x, y = given.clone().requires_grad_(), given.clone().requires_grad_()
    theirs = [torch.stack(p) for p in zip(*(network(step) for step in x), strict=True)]
    ours = st.from_snntorch(network)(y)
    assert 0.02 < theirs[0].mean() < 0.9
    assert torch.equal(ours[0], theirs[0])
    for a, b in zip(theirs, ours, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=2e-6)
    noise = [torch.randn_like(part) for part in theirs]
    sum((w * a).sum() for w, a in zip(noise, theirs, strict=True)).backward()
    sum((w * b).sum() for w, b in zip(noise, ours, strict=True)).backward()
    size = float(x.grad.abs().max())
    torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=1e-4 * size)
