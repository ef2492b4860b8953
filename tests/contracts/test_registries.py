"""What is registered belongs together: neurons, layers, schemes, jumps and their public names."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import Any

import pytest

import saltation as st
from saltation.layers import LAYERS
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
    """What stands in the source for editors has the names, and the order, of the model's."""
    layer = LAYERS[name]
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(layer))).body
    (init,) = (node for node in ast.walk(made) if isinstance(node, ast.FunctionDef))
    written = [arg.arg for arg in (*init.args.args, *init.args.kwonlyargs)]
    assert written == ["self", *inspect.signature(layer).parameters]


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
    assert repr(own()).startswith("Own(tau=2.0, ")

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
