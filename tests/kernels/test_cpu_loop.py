"""The compiled loops against the reference loop: spikes to the bit, gradients to rounding."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.kernels import reference
from saltation.layers import SpikingLayer
from saltation.surrogate import SURROGATES
from tests.contracts.conftest import MAIN, Case, cases, jumps
from tests.facts import IN_MV

F32, F64 = torch.float32, torch.float64
ROUNDING = 1e-5

# Of the other models the default scheme; in millivolts float32 keeps too few digits to compare.
others = [c for c in jumps() if c.model not in (*MAIN, *IN_MV) and c.parameters["jump"] == "hard"]
compiled = [*cases(), *others]
every_case = pytest.mark.parametrize("case", compiled, ids=str)


def inputs(case: Case, shape: tuple[int, ...], dtype: torch.dtype = F32) -> list[Tensor]:
    """Currents and a state off rest, the same numbers in any dtype."""
    x = case.currents(*shape, dtype=F32)
    noise = torch.Generator().manual_seed(1)
    state = [
        part + 0.2 * torch.randn(part.shape, generator=noise) for part in case.layer().rest(x[0])
    ]
    return [part.to(dtype).requires_grad_() for part in (x, *state)]


class Result(NamedTuple):
    """Of one run: spikes, last state, and gradients of currents and first state."""

    spikes: Tensor
    last: list[Tensor]
    gradients: list[Tensor]


def run(layer: SpikingLayer, parts: list[Tensor]) -> Result:
    """Forward and backward from random gradients of spikes and last state."""
    spikes, last = layer(parts[0], layer.neuron.State(*parts[1:]))
    noise = torch.Generator().manual_seed(2)
    outputs = [spikes, *last]
    incoming = [torch.randn(o.shape, generator=noise).to(o.dtype) for o in outputs]
    return Result(spikes, list(last), list(torch.autograd.grad(outputs, parts, incoming)))


def close(one: Tensor, two: Tensor, rtol: float = ROUNDING) -> bool:
    """Whether two tensors differ by at most ``rtol`` in norm."""
    assert two.isfinite().all()
    return (one.double() - two.double()).norm().item() <= rtol * two.double().norm().item()


@every_case
@pytest.mark.parametrize("detach_reset", [False, True])
def test_against_the_reference(case: Case, detach_reset: bool) -> None:
    """Spikes and last state to the bit; gradients within rounding of float64 on the same spikes."""
    shape = (12, 3, 11)
    ours = run(case.layer(backend="cpu", detach_reset=detach_reset), inputs(case, shape))
    layer = case.layer(detach_reset=detach_reset)
    same = run(layer, inputs(case, shape))
    assert 0 < ours.spikes.sum() < ours.spikes.numel()
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))
    exact = run(layer, inputs(case, shape, F64))
    assert torch.equal(ours.spikes.double(), exact.spikes), "choose a seed where they agree"
    assert all(map(close, ours.gradients, exact.gradients))


@every_case
def test_without_gradients_too(case: Case) -> None:
    """The run that keeps nothing gives the same."""
    parts = inputs(case, (7, 5, 3))
    with torch.no_grad():
        traces = [
            case.layer(backend=b)(parts[0], case.layer().neuron.State(*parts[1:]))
            for b in ("cpu", "reference")
        ]
    (spikes, last), (expected, expected_last) = traces
    assert torch.equal(spikes, expected)
    assert all(map(torch.equal, last, expected_last))


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("model", ["lif", "izhikevich"])
def test_every_surrogate(name: str, model: str) -> None:
    """The slope of each reaches the gradients."""
    case = Case(model, {"dt": 0.5}, -1.0, 4.0)
    shape = (12, 2, 9)
    ours = run(case.layer(backend="cpu", surrogate=name), inputs(case, shape))
    exact = run(case.layer(surrogate=name), inputs(case, shape, F64))
    assert torch.equal(ours.spikes.double(), exact.spikes)
    assert all(map(close, ours.gradients, exact.gradients))


@settings(max_examples=25)
@given(
    shape=some.lists(some.integers(1, 9), min_size=2, max_size=5).map(tuple),
    model=some.sampled_from(["lif", "izhikevich"]),
    v_rest=some.sampled_from([-0.25, 0.1]),
    transposed=some.booleans(),
)
def test_any_shape(shape: tuple[int, ...], model: str, v_rest: float, transposed: bool) -> None:
    """One step, odd sizes, 2 to 5 dimensions, and currents that are not contiguous."""
    case = Case(model, {"v_rest": v_rest}, -1.0, 4.0)
    parts = inputs(case, shape)
    if transposed and len(shape) > 2:
        parts = [p.detach().transpose(-1, -2).requires_grad_() for p in parts]
    ours, same = (run(case.layer(backend=b), parts) for b in ("cpu", "reference"))
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))
    assert all(map(close, ours.gradients, same.gradients))


@pytest.mark.parametrize("dt", [0.01, 0.05, 2.0, 5.0])
@pytest.mark.parametrize("model", ["lif", "izhikevich"])
def test_any_step(model: str, dt: float) -> None:
    """Small steps and large: in the exponential scheme they differ in their squarings."""
    case = Case(model, {"dt": dt, "v_threshold": 0.8}, 0.0, 6.0)
    parts = inputs(case, (30, 2, 40))
    ours, same = (run(case.layer(backend=b), parts) for b in ("cpu", "reference"))
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))
    assert all(map(close, ours.gradients, same.gradients))


@pytest.mark.parametrize(
    "case",
    [
        Case("lif", {"v_threshold": 1, "v_rest": 0, "beta": 1, "jump": "soft"}, -0.1, 0.3),
        Case("lif", {"tau": 3, "dt": 1, "v_reset": -1}, -1.0, 6.0),
        Case("izhikevich", {"a0": 1, "v_threshold": 1, "v_reset": 0, "b": 1, "a": 0}, -1.0, 4.0),
    ],
    ids=str,
)
def test_integers_as_parameters(case: Case) -> None:
    """They do not widen the arithmetic."""
    parts = inputs(case, (12, 3, 40))
    ours, same = (run(case.layer(backend=b), parts) for b in ("cpu", "reference"))
    assert 0 < ours.spikes.sum() < ours.spikes.numel()
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))


def test_beyond_the_range_of_the_jacobian() -> None:
    """Where the exponential scheme clips v, the Jacobian adds nothing to the gradient."""
    x = torch.tensor([[[0.5, 0.5, 0.5]]])
    v, w = torch.tensor([[-60.0, 50.0, 0.2]]), torch.zeros(1, 3)
    parts = [part.requires_grad_() for part in (x, v, w)]
    ours, same = (run(st.Izhikevich(dt=0.5, backend=b), parts) for b in ("cpu", "reference"))
    assert torch.equal(ours.last[0], same.last[0])
    for one, two in zip(ours.gradients, same.gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=0)


@pytest.mark.parametrize("jump", ["hard", "none"])
def test_potentials_that_run_away(jump: str) -> None:
    """Infinities and NaN arise in the same places as in the reference."""
    layers = [st.Izhikevich(scheme="euler", jump=jump, backend=b) for b in ("cpu", "reference")]
    x = 1e4 * torch.rand(12, 2, 40, generator=torch.Generator().manual_seed(0))
    (s, last), (expected, expected_last) = (layer(x, layer.rest(x[0])) for layer in layers)
    assert torch.equal(s, expected)
    for one, two in zip(last, expected_last, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("model", ["lif", "izhikevich"])
def test_any_number_of_threads(model: str, threads: None) -> None:
    """Every bit is the same with 1, 2, 3 and 8."""
    case = Case(model, {"dt": 0.5}, -1.0, 4.0)
    parts = inputs(case, (5, 40_001))
    torch.set_num_threads(1)
    one = run(case.layer(backend="cpu"), parts)
    for number in (2, 3, 8):
        torch.set_num_threads(number)
        many = run(case.layer(backend="cpu"), parts)
        assert torch.equal(one.spikes, many.spikes)
        assert all(map(torch.equal, [*one.last, *one.gradients], [*many.last, *many.gradients]))


@every_case
def test_second_derivatives(case: Case) -> None:
    """Double backward is the reference's, also where the state is itself a function of x."""
    u = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(3))

    def second(backend: str) -> tuple[Tensor, ...]:
        layer = case.layer(backend=backend)
        parts = inputs(case, (6, 2, 4))
        x, *state = parts
        start = layer.neuron.State(*(part + 0.1 * x[0].sin() for part in state))
        spikes, last = layer(x, start)
        loss = (spikes * u).sum() + sum((part * part).sum() for part in last)
        first = torch.autograd.grad(loss, parts, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in first), parts)  # type: ignore[arg-type]

    ours, expected = second("cpu"), second("reference")
    assert expected[0].norm() > 0
    assert all(map(close, ours, expected))


@pytest.mark.parametrize("layer", [st.LIF(), st.Izhikevich()], ids=["lif", "izhikevich"])
def test_forward_mode_and_transforms_fall_back(layer: SpikingLayer) -> None:
    """jvp, dual numbers and vmap take the reference loop: <g, J t> = <J' g, t>."""
    x = 5 * torch.rand(8, 2, 5, generator=torch.Generator().manual_seed(4))
    t, g = (torch.randn(x.shape, generator=torch.Generator().manual_seed(k)) for k in (5, 6))
    spikes, pushed = torch.func.jvp(layer, (x,), (t,))
    assert torch.equal(spikes, layer(x))
    y = x.clone().requires_grad_()
    (pulled,) = torch.autograd.grad(layer(y), y, g)
    torch.testing.assert_close((g * pushed).sum(), (pulled * t).sum(), rtol=1e-4, atol=1e-4)
    with torch.autograd.forward_ad.dual_level():
        dual = layer(torch.autograd.forward_ad.make_dual(x, t))
        assert torch.equal(torch.autograd.forward_ad.unpack_dual(dual).tangent, pushed)
    assert torch.equal(torch.func.vmap(layer, 1, 1)(x.unsqueeze(2)).squeeze(2), spikes)


@pytest.mark.parametrize("wanted", [0, 1], ids=["currents", "state"])
@pytest.mark.parametrize("given_by", [0, 1], ids=["spikes", "last"])
def test_one_gradient_from_one_output(wanted: int, given_by: int) -> None:
    """Only the currents or only the state ask, and only the spikes or the last state are used."""

    def gradient(backend: str) -> Tensor:
        parts = [part.detach() for part in inputs(Case("lif", {}, -1.0, 4.0), (6, 2, 3))]
        layer = st.LIF(backend=backend)
        parts[wanted].requires_grad_()
        spikes, last = layer(parts[0], layer.neuron.State(parts[1]))
        return torch.autograd.grad((spikes, last.v)[given_by].sum(), parts[wanted])[0]

    assert close(gradient("cpu"), gradient("reference"))


def test_the_graph_may_be_used_twice() -> None:
    """retain_graph gives the same gradient again."""
    x, v = inputs(Case("lif", {}, -1.0, 4.0), (6, 2, 3))
    spikes, _ = st.LIF(backend="cpu")(x, st.LIF().neuron.State(v))
    first, second = (torch.autograd.grad(spikes.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_one_run_is_the_reference_trace() -> None:
    """What the kernel returns has the form of `reference.Trace`."""
    layer = st.Izhikevich(backend="cpu")
    x = torch.rand(4, 2, 3)
    trace: Any = layer._run(x, layer.rest(x[0]), record=False)
    assert isinstance(trace, reference.Trace)
    assert isinstance(trace.state, layer.neuron.State)
    assert trace.state.v.shape == (2, 3)
