"""What is registered belongs together: neurons, layers, schemes, jumps and their public names."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

import saltation as st
from saltation.layers import LAYERS
from saltation.neurons import NEURONS
from saltation.neurons.base import JUMPS
from saltation.schemes import SCHEMES

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
