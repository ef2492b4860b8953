"""The compiled recurrent loop: to the bit where sums have the same order, else to rounding."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch
from saltation.kernels.recurrent import RecurrentState
from saltation.layers import Recurrent
from saltation.surrogate import SURROGATES, Smooth
from tests.contracts.conftest import Case, cases

F32, F64 = torch.float32, torch.float64
ROUNDING = 1e-5

compiled = cases()
every_case = pytest.mark.parametrize("case", compiled, ids=str)
LIF = Case("lif", {"dt": 0.5}, -1.0, 4.0)
IZHIKEVICH = Case("izhikevich", {"dt": 0.5}, -1.0, 3.0)
both_models = pytest.mark.parametrize("case", [LIF, IZHIKEVICH], ids=["lif", "izhikevich"])


def network(case: Case, features: int, dtype: torch.dtype = F32, **more: object) -> Recurrent:
    """The same weights every time; those of neurons without a jump inhibit."""
    layer = Recurrent(case.layer(**{"backend": "cpu", **more}), features, bias=True)
    noise = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in layer.parameters():
            drawn = torch.randn(parameter.shape, generator=noise)
            drawn = -drawn.abs() if layer.layer.neuron.jump == "none" else drawn
            parameter.copy_(0.5 * drawn / features**0.5)
    return layer.to(dtype)


def inputs(case: Case, shape: tuple[int, int, int], dtype: torch.dtype = F32) -> list[Tensor]:
    """Currents, spikes before them and a state off rest, the same numbers in any dtype."""
    noise = torch.Generator().manual_seed(1)
    x = case.currents(*shape, dtype=F32)
    spikes = (torch.rand(shape[1:], generator=noise) < 0.2).float()
    state = [
        part + 0.2 * torch.randn(part.shape, generator=noise) for part in case.layer().rest(x[0])
    ]
    return [part.to(dtype).requires_grad_() for part in (x, spikes, *state)]


class Result(NamedTuple):
    """Of one run: spikes, last state, and gradients of inputs, weight and bias."""

    spikes: Tensor
    last: list[Tensor]
    gradients: list[Tensor]


def run(layer: Recurrent, parts: list[Tensor]) -> Result:
    """Forward and backward from random gradients of spikes and last state."""
    start = RecurrentState(parts[1], layer.layer.neuron.State(*parts[2:]))
    spikes, state = layer(parts[0], start)
    last = [state.spikes, *state.neuron]
    noise = torch.Generator().manual_seed(2)
    outputs = [spikes, *last]
    incoming = [torch.randn(o.shape, generator=noise).to(o.dtype) for o in outputs]
    wanted = [*parts, *layer.parameters()]
    return Result(spikes, last, list(torch.autograd.grad(outputs, wanted, incoming)))


def in_order(layer: Recurrent, parts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Spikes and last state of a plain loop that adds the columns of V one after the other."""
    x, s, *state = (part.detach() for part in parts)
    neuron, weight = layer.layer.neuron, layer.weight.detach()
    after, spikes = neuron.State(*state), []
    bias = 0.0 if layer.bias is None else layer.bias.detach()
    for x_t in x:
        total = torch.zeros_like(s)
        for j in range(layer.features):
            total = total + s[:, j : j + 1] * weight[:, j]
        s, after, _ = neuron.step(x_t + (total + bias), after, layer.layer.surrogate)
        spikes.append(s)
    return torch.stack(spikes), [s, *after]


def close(one: Tensor, two: Tensor, rtol: float = ROUNDING) -> bool:
    """Whether two tensors differ by at most ``rtol`` in norm."""
    assert two.isfinite().all()
    return (one.double() - two.double()).norm().item() <= rtol * two.double().norm().item()


@every_case
@pytest.mark.parametrize("detach_reset", [False, True])
def test_against_the_reference(case: Case, detach_reset: bool) -> None:
    """Spikes and last state to the bit of sums in order; gradients to rounding of float64."""
    runs_away = case.model == "izhikevich" and case.parameters["jump"] == "none"
    shape = (5 if runs_away else 12, 8, 19)
    ours = run(network(case, 19, detach_reset=detach_reset), inputs(case, shape))
    assert 0 < ours.spikes.sum() < ours.spikes.numel()
    spikes, last = in_order(network(case, 19), inputs(case, shape))
    assert torch.equal(ours.spikes, spikes)
    assert all(map(torch.equal, ours.last, last))
    other = network(case, 19, F64, backend="reference", detach_reset=detach_reset)
    exact = run(other, inputs(case, shape, F64))
    assert torch.equal(ours.spikes.double(), exact.spikes), "choose a seed where they agree"
    assert all(map(close, ours.last, exact.last))
    assert all(map(close, ours.gradients, exact.gradients))


@pytest.mark.parametrize("name", SURROGATES)
@both_models
def test_every_surrogate(case: Case, name: str) -> None:
    """The slope of each reaches the gradients."""
    shape = (12, 3, 17)
    ours = run(network(case, 17, surrogate=name), inputs(case, shape))
    other = network(case, 17, F64, backend="reference", surrogate=name)
    exact = run(other, inputs(case, shape, F64))
    assert torch.equal(ours.spikes.double(), exact.spikes)
    assert all(map(close, ours.gradients, exact.gradients))


@settings(max_examples=40)
@given(
    steps=some.sampled_from([1, 2, 3, 9, 65, 130]),
    batch=some.integers(1, 14),
    features=some.sampled_from([1, 2, 15, 16, 17, 33]),
    case=some.sampled_from([LIF, IZHIKEVICH]),
    drive=some.sampled_from([0.0, 0.5, 1.0, 20.0]),
    strided=some.booleans(),
)
def test_any_shape(
    steps: int, batch: int, features: int, case: Case, drive: float, strided: bool
) -> None:
    """From silence to a spike of every neuron in every step, through the dense product too."""
    parts = inputs(case, (steps, batch, features))
    x = parts[0].detach() * drive
    parts[0] = (x.transpose(0, 2).contiguous().transpose(0, 2) if strided else x).requires_grad_()
    layer = network(case, features)
    ours, (spikes, last) = run(layer, parts), in_order(layer, parts)
    assert torch.equal(ours.spikes, spikes)
    assert all(map(torch.equal, ours.last, last))
    with torch.no_grad():
        start = RecurrentState(parts[1], layer.layer.neuron.State(*parts[2:]))
        kept, after = layer(parts[0], start)
    assert torch.equal(kept, spikes)
    assert all(map(torch.equal, [after.spikes, *after.neuron], last))
    layer.layer.backend = "reference"
    with torch.no_grad():  # a run with the spikes of ours, whose sums differ only in rounding
        same = torch.equal(layer(parts[0], start)[0], spikes)
    if same:
        expected = run(layer, parts)
        for one, two in zip(ours.gradients, expected.gradients, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4 * two.abs().max().item())


@both_models
def test_many_neurons(case: Case) -> None:
    """A wide layer over many steps: the rates of both loops agree, and every step does."""
    shape = (100, 16, 256)
    layer = network(case, 256)
    x = case.currents(*shape, dtype=F32)
    spikes = layer(x)
    layer.layer.backend = "reference"
    expected = layer.record(x)
    assert abs(spikes.mean() - expected.spikes.mean()) < 1e-3
    # From the reference's own states, one step at a time: what is left is the order of summation.
    layer.layer.backend = "cpu"
    different = 0
    for t in range(1, len(x)):
        history = expected.states
        neuron = layer.layer.neuron.State(*(part[t - 1] for part in history.neuron))
        s, _ = layer(x[t : t + 1], RecurrentState(history.spikes[t - 1], neuron))
        different += int((s[0] != expected.spikes[t]).sum())
    assert different <= 1e-5 * spikes.numel()


@both_models
def test_any_number_of_threads(case: Case, threads: None) -> None:
    """Every bit is the same with 1, 2, 3 and 8, alone in the batch or among others."""
    parts = inputs(case, (20, 41, 140))
    layer = network(case, 140)
    torch.set_num_threads(1)
    one = run(layer, parts)
    for number in (2, 3, 8):
        torch.set_num_threads(number)
        many = run(layer, parts)
        assert torch.equal(one.spikes, many.spikes)
        assert all(map(torch.equal, [*one.last, *one.gradients], [*many.last, *many.gradients]))
    some_parts = [parts[0][:, 9:11], *(part[9:11] for part in parts[1:])]
    start = RecurrentState(some_parts[1], layer.layer.neuron.State(*some_parts[2:]))
    assert torch.equal(layer(some_parts[0], start)[0], one.spikes[:, 9:11])


@both_models
def test_spikes_of_any_size_before_the_first_step(case: Case) -> None:
    """A state may have been moved off 0 and 1, as stability estimates do."""
    shape = (6, 5, 9)
    results = []
    for dtype, backend in ((F32, "cpu"), (F64, "reference")):
        parts = inputs(case, shape, dtype)
        with torch.no_grad():
            parts[1] += 0.01 * torch.arange(9)
        results.append(run(network(case, 9, dtype, backend=backend), parts))
    assert torch.equal(results[0].spikes.double(), results[1].spikes)
    assert all(map(close, results[0].gradients, results[1].gradients))


@both_models
def test_recomputed_memory(case: Case) -> None:
    """The same bits, whether what backward needs is stored or computed again."""
    parts = inputs(case, (9, 7, 21))
    stored, again = (run(network(case, 21, memory=m), parts) for m in ("store", "recompute"))
    assert all(map(torch.equal, stored.gradients, again.gradients))


@both_models
def test_silence_at_the_end(case: Case) -> None:
    """Where no gradient arrives none is made up: only the first steps are asked for."""
    x = inputs(case, (20, 5, 9))[0]
    results = [
        torch.autograd.grad(network(case, 9, backend=b)(x)[:8].sum(), x)[0]
        for b in ("cpu", "reference")
    ]
    assert not results[0][8:].any()
    assert close(*results)


def test_a_gradient_that_dies() -> None:
    """A step whose slopes are all zero passes nothing on, though a later one had a gradient."""
    case = Case("lif", {"beta": 0.0, "surrogate": "rectangle"}, 0.6, 1.4)
    x = inputs(case, (6, 5, 9))[0].detach()
    x[3] = -50.0
    results = []
    for backend in ("cpu", "reference"):
        given = x.clone().requires_grad_()
        spikes = network(case, 9, backend=backend)(given)
        results.append(torch.autograd.grad((spikes[5] + 0.5 * spikes[1]).sum(), given)[0])
    assert results[0][5].any()
    assert not results[0][2:4].any()
    assert all(map(close, results[0][[0, 1, 4, 5]], results[1][[0, 1, 4, 5]]))


@every_case
def test_second_derivatives(case: Case) -> None:
    """Double backward is the reference's, also where the state is itself a function of x."""
    u = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(3))

    def second(backend: str) -> tuple[Tensor, ...]:
        layer = network(case, 4, backend=backend)
        x, spikes, *state = parts = inputs(case, (5, 2, 4))
        neuron = layer.layer.neuron.State(*(part + 0.1 * x[0].sin() for part in state))
        out, last = layer(x, RecurrentState(spikes * 1.0, neuron))
        loss = (out * u).sum() + sum((part * part).sum() for part in last.neuron)
        wanted = [*parts, *layer.parameters()]
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in first), wanted)  # type: ignore[arg-type]

    ours, expected = second("cpu"), second("reference")
    assert expected[0].norm() > 0
    assert all(map(close, ours, expected))


@pytest.mark.parametrize("wanted", ["x", "weight", "bias", "spikes", "v"])
def test_one_gradient(wanted: str) -> None:
    """Only one of the inputs asks."""

    def gradient(backend: str) -> Tensor:
        layer = network(LIF, 5, backend=backend).requires_grad_(False)
        x, spikes, v = (part.detach() for part in inputs(LIF, (7, 3, 5)))
        assert layer.bias is not None
        place = {"x": x, "weight": layer.weight, "bias": layer.bias, "spikes": spikes, "v": v}
        one = place[wanted].requires_grad_()
        out, _ = layer(x, RecurrentState(spikes, layer.layer.neuron.State(v)))
        return torch.autograd.grad((out * out).sum(), one, retain_graph=True)[0]

    assert close(gradient("cpu"), gradient("reference"))


def test_the_graph_may_be_used_twice() -> None:
    """retain_graph gives the same gradient again."""
    layer, x = network(LIF, 5), inputs(LIF, (7, 3, 5))[0]
    out = layer(x).sum()
    one, two = (torch.autograd.grad(out, layer.weight, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_within_a_compiled_network() -> None:
    """torch.compile calls the loop as it is."""
    layer, x = network(LIF, 5), inputs(LIF, (7, 3, 5))[0]
    compiled = torch.compile(layer, backend="eager")
    (one,), (two,) = (torch.autograd.grad(f(x).sum(), x) for f in (layer, compiled))
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("weight", "not torch.float64 on cpu"),
        ("state", "not torch.float64 on cpu"),
        ("autocast", "it takes no part in autocast"),
        ("record", "it keeps no traces"),
        ("smooth", "spikes are 0 and 1, not those of Smooth"),
    ],
)
def test_what_it_refuses(change: str, reason: str) -> None:
    """A named backend says why it cannot."""
    more = {"surrogate": Smooth(SURROGATES["sigmoid"]())} if change == "smooth" else {}
    layer = network(LIF, 3, **more)
    x = torch.zeros(2, 1, 3)
    state = layer.rest(x[0])
    if change == "weight":
        layer.double()
    if change == "state":
        state = state._replace(spikes=state.spikes.double())
    with (
        torch.autocast("cpu", enabled=change == "autocast"),
        pytest.raises(st.SaltationError, match=r"backend 'cpu' cannot run this: ") as error,
    ):
        layer.record(x) if change == "record" else layer(x, state)
    assert reason in str(error.value)


def test_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU nobody asks for it and everybody gets it."""
    monkeypatch.setattr(dispatch, "recurrent_reference", None)
    st.Recurrent(st.LIF(), 3)(torch.zeros(2, 1, 3))
