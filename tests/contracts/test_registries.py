"""What is registered belongs together: neurons, layers, schemes, jumps and their public names."""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
from typing import Any

import pytest
import torch

import saltation as st
from saltation.layers import LAYERS, stub
from saltation.neurons import NEURONS
from saltation.neurons.base import JUMPS
from saltation.schemes import SCHEMES
from saltation.surrogate import SURROGATES

every_neuron = pytest.mark.parametrize("name", NEURONS)


@every_neuron
def test_every_neuron_has_a_layer(name: str) -> None:
    """Under the same name, public, and built from the same parameters."""
    layer = LAYERS[name]
    assert layer.neuron_type is NEURONS[name]
    assert getattr(st, layer.__name__) is layer
    own = inspect.signature(layer).parameters
    of_layers = ["surrogate", "backend", "memory"]
    assert [*inspect.signature(NEURONS[name]).parameters, *of_layers] == list(own)
    assert set(LAYERS) == set(NEURONS)


@every_neuron
def test_signatures_for_type_checkers_name_what_there_is(name: str) -> None:
    """What stands beside the source for editors has the names, and the order, of the model's."""
    layer = LAYERS[name]
    classes = (c for c in ast.parse(stub.PLACE.read_text()).body if isinstance(c, ast.ClassDef))
    (made,) = (c for c in classes if c.name == layer.__name__)
    (init,) = (node for node in ast.walk(made) if isinstance(node, ast.FunctionDef))
    written = [arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)]
    assert written == ["self", *inspect.signature(layer).parameters]


def test_the_stub_is_what_the_models_make() -> None:
    """Written anew by ``python -m saltation.layers.stub``, in the form that the linter keeps."""
    assert stub.PLACE.read_text(encoding="utf-8") == stub.text()


@every_neuron
def test_help_tells_of_model_and_parameters(name: str) -> None:
    """The layer's own documentation is its model's, with every parameter and its source."""
    layer = LAYERS[name]
    told = pydoc.render_doc(layer, renderer=pydoc.plaintext)
    for parameter in inspect.signature(NEURONS[name]).parameters:
        assert parameter in told
    assert "See `SpikingLayer`" in told
    assert re.search(r"\b(19|20)\d\d\b", str(layer.__doc__)), "no source"


@every_neuron
def test_layers_and_states_are_pickled(name: str) -> None:
    """With the same numbers after."""
    layer = LAYERS[name]()
    x = torch.rand(6, 2, 3)
    spikes, state = layer(x, layer.rest(x[0]))
    again, kept = pickle.loads(pickle.dumps((layer, state)))  # our own
    assert type(kept) is type(state)
    assert all(map(torch.equal, kept, state))
    assert torch.equal(again(x), spikes)
    waiting = LAYERS[name](refractory=2.0)
    state = waiting.rest(x[0])
    assert type(pickle.loads(pickle.dumps(state))) is type(state)
    assert type(copy.deepcopy(waiting)) is type(waiting)


class Wanderer(st.Neuron):
    """A model of the user's (Nobody, 2026)."""

    tau: float = 3.0

    def velocity(self, x: Any, u: Any, w: Any) -> Any:
        return (x - u - w) / self.tau, u - w


OF_MAIN = """
import copy, inspect, pickle, torch, saltation as st

class Mine(st.Neuron):
    gain: float = 2.0
    tau: float = 3.0

    def velocity(self, x, u):
        return ((self.gain * x - u) / self.tau,)

layer = Mine.layer(dt=0.5, gain=st.learn(1.5))
assert list(inspect.signature(Mine.layer).parameters)[:3] == ["gain", "tau", "dt"]
x = torch.rand(5, 2, 3)
spikes, state = layer(x, layer.rest(x[0]))
again, kept = pickle.loads(pickle.dumps((layer, state)))
assert torch.equal(again(x), spikes) and type(kept) is Mine.State
assert torch.equal(copy.deepcopy(layer)(x), spikes)
assert layer.record(x).h.shape == x.shape
"""


def test_models_of_users() -> None:
    """Signature, help and pickles as of those that are built in; in a script too, whose models are
    of ``__main__``, as a notebook's are."""
    layer = Wanderer.layer(dt=0.5)
    assert list(inspect.signature(Wanderer.layer).parameters)[:2] == ["tau", "dt"]
    assert "Nobody" in pydoc.render_doc(Wanderer.layer, renderer=pydoc.plaintext)
    state = layer.rest(torch.zeros(2, 3))
    again, kept = pickle.loads(pickle.dumps((layer, state)))
    assert repr(again) == repr(layer)
    assert repr(layer).startswith("Wanderer(tau=3.0, dt=0.5, scheme='exponential', ")
    assert type(kept) is Wanderer.State
    ran = subprocess.run([sys.executable, "-c", OF_MAIN], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_subclasses_and_names() -> None:
    """A subclass changes nothing about its parent; the name of a neuron is taken once."""
    before = dict(NEURONS), st.AdEx.neuron_type.__dict__.copy()

    class Steeper(NEURONS["adex"]):  # type: ignore[misc,name-defined]
        delta: float = 0.1

        def jump(self, v: Any, w: Any) -> Any:
            return self.v_reset, w + 2 * self.b

    own, parent = Steeper.layer(delta=0.15), st.AdEx()
    assert (own.neuron.delta, Steeper().delta, parent.neuron.delta) == (0.15, 0.1, 0.2)
    h = (torch.tensor([2.0]), torch.tensor([1.0]))
    after = [n.apply_jump(n.State(*h), torch.ones(1)).w.item() for n in (own.neuron, parent.neuron)]
    assert after == pytest.approx([1.4, 1.2])
    assert before[0] == NEURONS
    assert st.AdEx.neuron_type.__dict__.keys() == before[1].keys()


def test_discrete_maps() -> None:
    """A next state in place of a velocity: it runs and learns, and has no scheme and no limit."""

    class Tent(st.Neuron):
        slope: float = 0.9

        def step(self, x: Any, v: Any) -> Any:
            return (self.slope * (1 - torch.abs(v)) + x,)

    try:
        layer = Tent.layer(slope=st.learn(0.8), v_threshold=1.2)
        x = torch.rand(9, 2, 3, dtype=torch.float64)
        spikes, state = layer(x, layer.rest(x[0]))
        v = torch.zeros(2, 3, dtype=torch.float64)
        slope = torch.tensor(0.8).double()  # learned in float32
        for x_t, s_t in zip(x, spikes, strict=True):
            h = slope * (1 - v.abs()) + x_t
            assert torch.equal(s_t, (h >= 1.2).double())
            v = (1 - s_t) * h
        torch.testing.assert_close(state.v, v, rtol=1e-7, atol=1e-7)
        assert 0 < spikes.mean() < 1
        spikes.sum().backward()
        assert next(layer.parameters()).grad is not None
        assert Tent.schemes == ()
        assert layer.neuron.is_stable
        with pytest.raises(st.SaltationError, match="Tent is a discrete map: it has no scheme and"):
            _ = layer.neuron.dt_limit
        with pytest.raises(st.SaltationError, match="no stability limit, got scheme='rk4'"):
            Tent.layer(scheme="rk4")
    finally:
        assert "Tent" not in NEURONS


@every_neuron
def test_a_subclass_does_not_take_the_name(name: str) -> None:
    """Of its layer, or of its neuron, whose parameters it has; its own signature is its own."""
    layer, neuron = LAYERS[name], NEURONS[name]
    own = type("Own", (layer,), {})
    own_neuron = type("OwnNeuron", (neuron,), {})
    of_own: Any = type("OfOwn", (layer,), {"neuron_type": own_neuron})
    assert of_own().numerics()["neuron"] == "OwnNeuron"
    assert LAYERS[name] is layer
    assert NEURONS[name] is neuron
    assert inspect.signature(own) == inspect.signature(layer)
    assert repr(own()).removeprefix("Own") == repr(layer()).removeprefix(layer.__name__)

    def init(self: object, gain: float = 1.0) -> None: ...

    assert list(inspect.signature(type("Own", (layer,), {"__init__": init})).parameters) == ["gain"]
    with pytest.raises(st.SaltationError, match=f"neuron '{name}' is taken by {neuron.__name__}"):
        type("Other", (neuron,), {"name": name})
    with pytest.raises(st.SaltationError, match=f"'{name}' is taken by {layer.__name__}: give"):
        type("Other", (layer,), {"neuron_type": neuron})


def test_a_surrogate_does_not_take_a_name() -> None:
    """A subclass that names itself as another is refused; one without a name has none."""
    sigmoid = SURROGATES["sigmoid"]
    type("Own", (sigmoid,), {})
    assert SURROGATES["sigmoid"] is sigmoid
    with pytest.raises(st.SaltationError, match="surrogate 'atan' is taken by ATan: give Other"):
        type("Other", (sigmoid,), {"name": "atan"})


def test_a_class_may_be_defined_again() -> None:
    """As when a notebook's cell is run twice: the later one has the name."""
    made = [type("Again", (SURROGATES["sigmoid"],), {"name": "again"}) for _ in range(2)]
    try:
        assert SURROGATES["again"] is made[1]
    finally:
        del SURROGATES["again"]


@every_neuron
def test_every_state_has_a_potential(name: str) -> None:
    """The loops record h.v, whatever else the state holds."""
    assert "v" in NEURONS[name].State._fields


@every_neuron
def test_every_neuron_names_known_schemes_and_jumps(name: str) -> None:
    """Its defaults among them; the Jacobian has a row per state variable."""
    neuron = NEURONS[name]
    assert set(neuron.schemes) <= set(SCHEMES)
    assert set(neuron.jumps) <= set(JUMPS)
    default = neuron()
    assert default.scheme in neuron.schemes
    assert default.jump in neuron.jumps
    size = len(neuron.State._fields)
    assert default.jacobian.shape == (size, size)


@every_neuron
def test_every_neuron_refuses_the_other_schemes_with_a_reason(name: str) -> None:
    """A scheme that exists but does not fit is refused with the reason and what fits."""
    neuron = NEURONS[name]
    for scheme in set(SCHEMES) - set(neuron.schemes):
        with pytest.raises(st.SaltationError) as error:
            neuron(scheme=scheme)
        assert neuron.why_not(scheme) in str(error.value)
        assert ", ".join(neuron.schemes) in str(error.value)


@every_neuron
def test_every_neuron_is_an_immutable_value(name: str) -> None:
    """Frozen, equal by parameters, with the fields that layers and studies rely on."""
    neuron = NEURONS[name]
    needed = {"dt", "scheme", "v_threshold", "v_reset", "jump", "detach_reset"}
    assert needed <= {field.name for field in dataclasses.fields(neuron)}  # type: ignore[arg-type]
    assert neuron(dt=0.5) == neuron(dt=0.5) != neuron(dt=0.25)
    with pytest.raises(dataclasses.FrozenInstanceError):
        neuron().dt = 0.1


def test_public_names_exist_and_are_sorted() -> None:
    """`saltation.__all__` promises nothing that is not there."""
    assert all(hasattr(st, name) for name in st.__all__)
    assert len(set(st.__all__)) == len(st.__all__)
