"""Recurrent layers: their definition, streaming, derivatives, and what they refuse."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor, nn

import saltation as st
from saltation.kernels.recurrent import RecurrentState
from saltation.layers import SpikingLayer, neuron_layers
from saltation.surrogate import Sigmoid, Smooth
from tests.contracts.conftest import Case, cases, jumps
from tests.facts import TOLERANCE

F64 = torch.float64
every_case = pytest.mark.parametrize("case", cases(), ids=str)


def recurrent(layer: SpikingLayer, features: int, bias: bool = True) -> st.Recurrent:
    """The same weights every time, in float64; those of neurons without a jump inhibit."""
    made = st.Recurrent(layer, features, bias=bias).double()
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in made.parameters():
            drawn = torch.randn(parameter.shape, dtype=F64, generator=noise)
            drawn = -drawn.abs() if layer.neuron.jump == "none" else drawn
            parameter.copy_(0.5 * drawn / features**0.5)
    return made


def flat(state: RecurrentState) -> list[Tensor]:
    """All tensors of a state."""
    return [state.spikes, *state.neuron]


def test_by_hand() -> None:
    """Neuron 0 fires at once; its spike reaches neuron 1, and that one's neuron 0, a step later."""
    layer = st.Recurrent(st.LIF(beta=0.0, v_threshold=1.0), 2)
    layer.load_state_dict({"weight": torch.tensor([[0.0, 3.0], [2.0, 0.0]])})
    x = torch.zeros(4, 1, 2)
    x[0, 0, 0] = 1.0
    assert layer(x)[:, 0].tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    trace = layer.record(x)
    assert trace.h is not None
    assert trace.h[:, 0].tolist() == [[1, 0], [0, 2], [3, 0], [0, 2]]


@every_case
def test_the_definition(case: Case) -> None:
    """current[t] = x[t] + V s[t-1] + bias, then the step of the neurons."""
    layer = recurrent(case.layer(), 6)
    assert layer.bias is not None
    x = case.currents(12, 3, 6)
    s, state = torch.zeros(3, 6, dtype=F64), layer.layer.rest(x[0])
    spikes = []
    for x_t in x:
        current = x_t + torch.einsum("ij,bj->bi", layer.weight, s) + layer.bias
        s, state = layer.layer.step(current, state)
        spikes.append(s)
    assert torch.equal(layer(x), torch.stack(spikes))
    assert 0 < torch.stack(spikes).mean() < 1


@every_case
def test_sequence_is_stepping(case: Case) -> None:
    """A call on T steps equals T calls of `step`, two calls with the state, and `record`."""
    layer, x = recurrent(case.layer(), 6), case.currents(12, 3, 6)
    state, spikes = None, []
    for x_t in x:
        s, state = layer.step(x_t, state)
        spikes.append(s)
    assert state is not None
    whole, last = layer(x, layer.rest(x[0]))
    assert torch.equal(whole, torch.stack(spikes))
    assert all(map(torch.equal, flat(last), flat(state)))
    first, between = layer(x[:5], layer.rest(x[0]))
    second, end = layer(x[5:], between)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(map(torch.equal, flat(end), flat(last)))
    trace = layer.record(x)
    assert torch.equal(trace.spikes, whole)
    assert torch.equal(trace.states.spikes, whole)
    assert all(map(torch.equal, (part[-1] for part in trace.states.neuron), last.neuron))
    assert trace.h is not None
    neuron = layer.layer.neuron
    if type(neuron).threshold is st.Neuron.threshold:  # where it does not move
        assert torch.equal((trace.h - neuron.v_threshold >= 0).double(), whole)


@given(steps=some.integers(1, 70), batch=some.integers(1, 8), cut=some.integers(0, 69))
def test_state_is_carried_over(steps: int, batch: int, cut: int) -> None:
    """In the default backend too, to the bit, wherever the sequence is cut."""
    torch.manual_seed(0)
    layer = st.Recurrent(st.LIF(dt=0.5), 20)
    x = 6 * torch.rand(steps, batch, 20)
    cut = 1 + cut % steps
    whole, last = layer(x, layer.rest(x[0]))
    spikes, state = layer(x[:cut], layer.rest(x[0]))
    if cut < steps:
        more, state = layer(x[cut:], state)
        spikes = torch.cat([spikes, more])
    assert torch.equal(spikes, whole)
    assert all(map(torch.equal, flat(state), flat(last)))
    assert torch.equal(layer(x), whole)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, marks=() if c.model == "lif" or c in jumps() else pytest.mark.slow)
        for c in cases()
    ],
    ids=str,
)
def test_gradients_of_smooth_spikes(case: Case) -> None:
    """Reverse, forward mode and double backward against finite differences."""
    layer = recurrent(case.layer(surrogate=Smooth(Sigmoid(2.0))), 3)
    noise = torch.Generator().manual_seed(1)

    def function(x: Tensor, weight: Tensor, spikes: Tensor, *state: Tensor) -> Any:
        start = RecurrentState(spikes, layer.layer.neuron.State(*state))
        given = {"weight": weight, "bias": layer.bias}
        trace, last = torch.func.functional_call(layer, given, (x, start))
        return trace, *flat(last)

    x = case.currents(3, 2, 3)
    state = flat(layer.rest(x[0]))
    state = [p + 0.2 * torch.randn(p.shape, dtype=F64, generator=noise) for p in state]
    parts = tuple(p.detach().requires_grad_() for p in (x, layer.weight, *state))
    assert torch.autograd.gradcheck(function, parts, check_forward_ad=True, fast_mode=True)
    if case.parameters["jump"] == "hard":
        assert torch.autograd.gradgradcheck(function, parts, fast_mode=True)


@pytest.mark.parametrize("model", ["lif", "izhikevich"])
def test_forward_mode_is_reverse_mode(model: str) -> None:
    """<g, J t> = <J' g, t> with true spikes; and vmap over samples is the batch."""
    case = Case(model, {"dt": 0.5}, -1.0, 3.0)
    layer, x = recurrent(case.layer(backend="auto"), 7), case.currents(12, 4, 7)
    noise = torch.Generator().manual_seed(2)
    t, g = (torch.randn(x.shape, dtype=F64, generator=noise) for _ in range(2))
    spikes, pull = torch.func.vjp(layer, x)
    _, pushed = torch.func.jvp(layer, (x,), (t,))
    forward, reverse = (g * pushed).sum(), (pull(g)[0] * t).sum()
    assert abs(forward - reverse) <= TOLERANCE[F64] * (g * pushed).abs().sum()
    single = torch.func.vmap(layer, 1, 1)(x.unsqueeze(2)).squeeze(2)
    assert torch.equal(single, spikes)


def test_float32_falls_back_in_transforms() -> None:
    """Within torch.func the compiled loop steps aside."""
    layer = st.Recurrent(st.LIF(), 4)
    x = 5 * torch.rand(6, 2, 4, generator=torch.Generator().manual_seed(0))
    spikes, pushed = torch.func.jvp(layer, (x,), (torch.ones_like(x),))
    assert torch.equal(spikes, layer(x))
    assert pushed.abs().sum() > 0


def test_samples_do_not_see_each_other() -> None:
    """A permuted batch gives permuted spikes."""
    layer = st.Recurrent(st.LIF(), 9)
    x = 6 * torch.rand(12, 8, 9, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 4, 7, 1, 2, 6, 5])
    assert torch.equal(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_spikes_are_counted_once(backend: str) -> None:
    """`watch` sees the whole layer, by its own name, and hooks on it fire once a call."""
    net = nn.Sequential(st.SpikeLinear(5, 4), st.Recurrent(st.LIF(backend=backend), 4), st.LIF())
    x = 30 * torch.rand(6, 2, 5, generator=torch.Generator().manual_seed(0))
    assert list(neuron_layers(net)) == ["1", "2"]
    calls = []
    net[1].register_forward_hook(lambda *_: calls.append(1))
    with st.watch(net) as statistics:
        out = net[:2](x)
        net[1](net[0](x), net[1].rest(net[0](x[0])))
    assert len(calls) == 2
    assert statistics["1"].spikes == 2 * out.sum() > 0
    assert statistics["1"].sites == 2 * out.numel()
    alone = net[1]
    with st.watch(alone) as statistics:
        alone(net[0](x))
    assert list(statistics) == [""]
    assert statistics[""].spikes == out.sum()


def test_parameters() -> None:
    """Drawn within 1 / sqrt(F), saved under their names, copied and moved with the module."""
    torch.manual_seed(0)
    layer = st.Recurrent(st.Izhikevich(), 100, bias=True)
    assert {n: list(p.shape) for n, p in layer.named_parameters()} == {
        "weight": [100, 100],
        "bias": [100],
    }
    assert 0.09 < layer.weight.abs().max() <= 0.1
    assert layer.weight.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    other = st.Recurrent(st.Izhikevich(), 100, bias=True)
    other.load_state_dict(layer.state_dict())
    x = 9 * torch.rand(5, 2, 100)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    torch.optim.SGD(layer.parameters(), 0.1).step(lambda: layer(x).sum().backward())  # type: ignore[arg-type,func-returns-value]
    assert not torch.equal(other.weight, layer.weight)
    assert st.Recurrent(st.LIF(), 2).bias is None


def test_bad_arguments_are_refused() -> None:
    """What is no neuron layer and what is no number of neurons."""
    for wrong in (nn.ReLU(), st.LIF, "lif"):
        with pytest.raises(st.SaltationError, match=r"takes a neuron layer such as st\.LIF\(\)"):
            st.Recurrent(wrong, 3)  # type: ignore[arg-type]
    for features in (0, -1, 2.0, True, "3"):
        with pytest.raises(st.SaltationError, match="features must be a positive integer, got"):
            st.Recurrent(st.LIF(), features)  # type: ignore[arg-type]


def test_bad_currents_are_refused() -> None:
    """Integers, other shapes and no steps; a batch may be empty."""
    layer = st.Recurrent(st.LIF(), 3)
    with pytest.raises(st.SaltationError, match=r"must be floating point, got torch\.int64"):
        layer(torch.ones(3, 2, 3, dtype=torch.int64))
    for shape in ((3,), (2, 3), (0, 2, 3), (4, 2, 5), (4, 2, 1, 3)):
        with pytest.raises(st.SaltationError, match=r"\[T, B, F\] with at least one step and F"):
            layer(torch.ones(shape))
        with pytest.raises(st.SaltationError, match=r"\[T, B, F\] with at least one step and F"):
            layer.record(torch.ones(shape))
    for shape in ((3,), (2, 4), (1, 2, 3)):
        with pytest.raises(st.SaltationError, match=r"must be \[B, F\] and F = 3, got"):
            layer.step(torch.ones(shape))
    assert layer(torch.ones(4, 0, 3)).shape == (4, 0, 3)


def test_bad_states_are_refused() -> None:
    """A state of the neurons alone, of another model, and of another batch."""
    layer, x = st.Recurrent(st.LIF(), 3), torch.zeros(5, 2, 3)
    rest = layer.rest(x[0])
    for wrong in (rest.neuron, (), torch.zeros(2, 3)):
        with pytest.raises(st.SaltationError, match=r"is RecurrentState\(spikes, neuron\), got"):
            layer(x, wrong)
    with pytest.raises(st.SaltationError, match=r"state of LIF is LIFState\(v\)"):
        layer(x, RecurrentState(rest.spikes, st.Izhikevich().rest(x[0])))
    for spikes, got in ((torch.zeros(4, 3), r"\[4, 3\]"), (None, "NoneType")):
        with pytest.raises(st.SaltationError, match=rf"spikes must have .* \[2, 3\], got {got}"):
            layer.step(x[0], rest._replace(spikes=spikes))
    with pytest.raises(st.SaltationError, match=r"state v must have .* \[2, 3\], got \[4, 3\]"):
        layer(x, RecurrentState(rest.spikes, st.LIF().rest(torch.zeros(4, 3))))


def test_repr_tells_how_it_was_made() -> None:
    """Size, bias and the neurons within."""
    shown = repr(st.Recurrent(st.LIF(dt=0.25), 3, bias=True))
    assert "features=3, bias=True" in shown
    assert "dt=0.25" in shown
