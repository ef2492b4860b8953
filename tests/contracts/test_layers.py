"""What every layer keeps to, whatever its model, scheme and jump."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn

import saltation as st
from saltation.layers import noted
from saltation.neurons import Neuron
from tests.contracts.conftest import Case


def stepped(layer: nn.Module, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Spikes and last state of a loop over `step`, from rest."""
    state = None
    spikes = []
    for x_t in x:
        s, state = layer.step(x_t, state)  # type: ignore[operator]
        spikes.append(s)
    assert state is not None
    return torch.stack(spikes), state


def same(one: tuple[Tensor, ...], two: tuple[Tensor, ...]) -> bool:
    """States of one type with equal bits."""
    return type(one) is type(two) and all(map(torch.equal, one, two))


def test_inputs_make_spikes(any_scheme: Case) -> None:
    """The currents of this battery reach threshold now and then, and stay finite."""
    trace = any_scheme.layer().record(any_scheme.currents(12, 6, 7))
    assert 0.03 < trace.spikes.mean() < 0.6
    assert all(part.isfinite().all() for part in trace.states)
    assert set(trace.spikes.unique().tolist()) == {0.0, 1.0}


def test_sequence_is_stepping(any_scheme: Case) -> None:
    """A call on T steps equals T calls of `step`, to the bit, in the last state too."""
    layer, x = any_scheme.layer(), any_scheme.currents(12, 3, 4)
    spikes, state = stepped(layer, x)
    assert torch.equal(layer(x), spikes)
    whole, last = layer(x, layer.rest(x[0]))
    assert torch.equal(whole, spikes)
    assert same(last, state)


def test_state_carried_over_is_one_long_run(case: Case) -> None:
    """Two calls with the state passed on equal one call."""
    layer, x = case.layer(), case.currents(12, 3, 4)
    whole, last = layer(x, layer.rest(x[0]))
    first, state = layer(x[:5], layer.rest(x[0]))
    second, state = layer(x[5:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert same(state, last)


def test_starts_from_rest_and_forgets(case: Case) -> None:
    """A call leaves nothing behind: the next one is the same, and the module holds no tensor but
    what its model learns, and says in its state dict what it computes by."""
    layer, x = case.layer(), case.currents(12, 3, 4)
    first = layer(x)
    layer(case.currents(12, 3, 4, seed=1))
    assert torch.equal(layer(x), first)
    learned = [f"learned.{name}" for name in layer.neuron_type.learns]
    assert [name for name, _ in layer.named_parameters()] == learned
    assert list(layer.buffers()) == []
    assert {*layer.state_dict()} == {*learned, "_extra_state"}


def test_samples_do_not_see_each_other(case: Case) -> None:
    """A permuted batch gives permuted spikes; a sample alone gives its own."""
    layer, x = case.layer(), case.currents(12, 5, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(layer(x[:, order]), layer(x)[:, order])
    assert torch.equal(layer(x[:, 2:3]), layer(x)[:, 2:3])


def test_record_is_forward_with_its_history(case: Case) -> None:
    """Spikes where h reaches threshold; states that lead to the last; each step follows from it."""
    layer, x = case.layer(), case.currents(12, 3, 4)
    trace = layer.record(x)
    spikes, last = layer(x, layer.rest(x[0]))
    assert trace.h is not None
    assert torch.equal(trace.spikes, spikes)
    if type(layer.neuron).threshold is Neuron.threshold:  # one that does not move
        assert torch.equal((trace.h - layer.neuron.v_threshold >= 0).to(x.dtype), spikes)
    assert same(trace.state, last)
    assert same(type(last)(*(part[-1] for part in trace.states)), last)
    for t in (1, 7):
        before = type(last)(*(part[t - 1] for part in trace.states))
        s, after = layer.step(x[t], before)
        assert torch.equal(s, spikes[t])
        assert same(after, type(last)(*(part[t] for part in trace.states)))


@settings(max_examples=5)
@given(
    steps=some.integers(1, 4),
    batch=some.integers(0, 3),
    trailing=some.lists(some.integers(0, 3), max_size=3),
)
def test_any_shape(model: Case, steps: int, batch: int, trailing: list[int]) -> None:
    """[T, B] with any dimensions after, one step, an empty batch: as the flattened run gives."""
    layer, x = model.layer(), model.currents(steps, batch, *trailing)
    spikes, state = layer(x, layer.rest(x[0]))
    flat = layer(x.reshape(steps, -1))
    assert torch.equal(spikes, flat.view(x.shape))
    assert all(part.shape == x.shape[1:] for part in state)


def test_strided_input(model: Case) -> None:
    """A transposed view is read as what it shows."""
    layer, x = model.layer(), model.currents(3, 12, 4)
    assert torch.equal(layer(x.transpose(0, 1)), layer(x.transpose(0, 1).contiguous()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(model: Case, dtype: torch.dtype) -> None:
    """Spikes, potentials and states have the currents' dtype, in the default backend."""
    layer = model.layer(backend="auto")
    trace = layer.record(model.currents(3, 2, 4, dtype=dtype))
    assert trace.h is not None
    assert {t.dtype for t in (trace.spikes, trace.h, *trace.states, *trace.state)} == {dtype}


def test_detach_reset_changes_gradients_only(case: Case) -> None:
    """Spikes are the same; the gradient differs where there is a jump."""
    x = case.currents(12, 3, 4).requires_grad_()
    through, detached = case.layer(), case.layer(detach_reset=True)
    one, two = through(x), detached(x)
    assert torch.equal(one, two)
    gradients = [torch.autograd.grad(spikes.sum(), x)[0] for spikes in (one, two)]
    assert torch.equal(*gradients) == (case.parameters["jump"] == "none")


def test_input_is_not_changed(case: Case) -> None:
    """Neither the currents nor a given state are written to."""
    layer, x = case.layer(), case.currents(5, 2, 3)
    state = layer.rest(x[0])
    copies = [part.clone() for part in (x, *state)]
    layer(x, state)
    assert all(map(torch.equal, copies, (x, *state)))


def test_bad_sequences_are_refused(model: Case) -> None:
    """Integers, a missing batch dimension and no steps."""
    layer = model.layer()
    with pytest.raises(st.SaltationError, match=r"must be floating point, got torch\.int64"):
        layer(torch.ones(3, 2, dtype=torch.int64))
    for shape in ((3,), (0, 2)):
        with pytest.raises(st.SaltationError, match=r"must be \[T, B, ...\] with at least one"):
            layer(torch.ones(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_currents_that_are_not_finite_are_refused(model: Case, backend: str, value: float) -> None:
    """One among many, at the first step or the last, in every way to call a layer."""
    layer = model.layer(backend=backend)
    for step in (0, 4):
        x = model.currents(5, 2, 3, dtype=torch.float32)
        x[step, 1, 2] = value
        state = layer.rest(x[0])
        calls: list[Callable[[], object]] = [
            lambda x=x: layer(x),
            lambda x=x, state=state: layer(x, state),
            lambda x=x: layer.record(x),
            lambda x=x, step=step: layer.step(x[step]),
            lambda x=x: st.Recurrent(layer, 3)(x),
        ]
        for call in calls:
            with pytest.raises(st.NotFiniteError, match=r"got NaN or infinity in 1 of (30|6) val"):
                call()
        with noted() as found:
            calls[0]()
        assert len(found) == 1


def test_finite_currents_are_not_looked_at_under_transforms(model: Case) -> None:
    """vmap and forward mode run as they did; an overflow under finite currents is not refused."""
    layer, x = model.layer(), model.currents(3, 2, 3)
    assert torch.equal(torch.vmap(layer)(x.unsqueeze(0))[0], layer(x))
    assert torch.equal(torch.func.jvp(layer, (x,), (x,))[0], layer(x))
    huge = torch.full((60, 2), torch.finfo(torch.float32).max / 4)
    for sign in (1, -1):
        layer(sign * huge)


def test_what_is_no_tensor_is_refused(model: Case) -> None:
    """Lists, arrays and states of them, by the name of their type."""
    layer, x = model.layer(), model.currents(3, 2, 3)
    for wrong in (x.numpy(), x.tolist(), None):
        name = type(wrong).__name__
        for call in (layer, layer.record, layer.step):
            with pytest.raises(st.SaltationError, match=f"must be a torch tensor, got {name}"):
                call(wrong)
    state = tuple(part.numpy() for part in layer.rest(x[0]))
    with pytest.raises(st.SaltationError, match=r"one step, \[2, 3\], got ndarray"):
        layer(x, state)
    with pytest.raises(st.SaltationError, match=r"floating point, got torch\.complex"):
        layer(x * 1j)


def test_bad_states_are_refused(model: Case) -> None:
    """A state of another model or another batch is named as such."""
    layer, x = model.layer(), model.currents(5, 2, 3)
    name = layer.neuron.State.__name__
    for wrong in (torch.zeros(2, 3), (), (torch.zeros(2, 3),) * 7):
        with pytest.raises(st.SaltationError, match=f"is {name}"):
            layer(x, wrong)
    other = layer.rest(torch.zeros(4, 3))
    with pytest.raises(st.SaltationError, match=r"one step, \[2, 3\], got \[4, 3\]"):
        layer(x, other)
    with pytest.raises(st.SaltationError, match=r"one step, \[2, 3\], got \[4, 3\]"):
        layer.step(x[0], other)


def test_repr_tells_how_it_was_made(case: Case) -> None:
    """Every parameter that differs from its default, and time constants, scheme and dt always."""
    layer = case.layer(v_threshold=1.25)
    shown = layer.extra_repr().split(", ")
    neuron = layer.neuron
    always = ("dt", "scheme", *neuron.time_constants)
    plain = [name for name in always if name not in neuron.learns]
    for name in (*case.parameters, "v_threshold", *plain):
        value = getattr(neuron, name)
        if name != "jump" or value != "hard":
            assert f"{name}={value!r}" in shown
    default = type(neuron)()
    for field in dataclasses.fields(neuron):  # type: ignore[arg-type]
        if field.name not in always:
            differs = getattr(neuron, field.name) != getattr(default, field.name)
            assert any(part.startswith(f"{field.name}=") for part in shown) == differs
