"""Parameters of neurons and surrogates: what is a number, what is not, and units of time."""

from __future__ import annotations

import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import saltation as st
from saltation.layers import LAYERS
from saltation.surrogate import SURROGATES

# Each is 0.5 to the bit.
HALVES: list[Any] = [
    *(np.float16(0.5), np.float32(0.5), np.float64(0.5), np.array(0.5)),
    *(torch.tensor(0.5), torch.tensor(0.5, dtype=torch.bfloat16), Fraction(1, 2), Decimal("0.5")),
]
TWOS: list[Any] = [2, np.int64(2), np.uint8(2), torch.tensor(2), np.array(2)]

# What is given in place of a number, and how the message calls it.
NO_NUMBERS: list[tuple[Any, str]] = [
    ("2", "'2'"),
    (True, "True"),
    (np.True_, r"(np\.)?True"),
    (torch.tensor(True), r"tensor\(True\)"),
    (2j, "2j"),
    ([2.0], r"\[2\.0\]"),
    (np.ones(3), r"an array of shape \[3\], not one number"),
    (object, "the class object"),
]
# One per neuron, or learned: parameters of neurons may be these, but not the step.
TENSORS: list[tuple[Any, str]] = [
    (torch.ones(1), r"a tensor of shape \[1\], not one number"),
    (torch.ones(3), r"a tensor of shape \[3\], not one number"),
    (nn.Parameter(torch.tensor(2.0)), r"a Parameter of shape \[\], which is not learned here"),
    (torch.tensor(2.0, requires_grad=True), r"a tensor of shape \[\] that wants a gradient"),
]
# What is a tensor, but not of numbers that a parameter may have.
WRONG_TENSORS: list[tuple[Any, str]] = [
    (torch.ones(3, dtype=torch.int64), "be floating point, got a tensor of torch.int64"),
    (torch.tensor([1.0, float("nan")]), "be finite, got a tensor with NaN or infinity"),
]

every_layer = pytest.mark.parametrize("name", LAYERS)


def numbers_of(name: str) -> list[str]:
    """The parameters of a model that are numbers."""
    neuron = LAYERS[name].neuron_type()
    return [
        k
        for k in neuron.parameters()
        if isinstance(getattr(neuron, k), float) and k not in neuron.learns
    ]


@pytest.mark.filterwarnings("ignore::saltation.StabilityWarning")
@every_layer
def test_numbers_of_numpy_and_torch(name: str) -> None:
    """Make the layer that Python's numbers make, whose parameters are floats."""
    for parameter in numbers_of(name):
        for value, given in ((0.5, HALVES), (2.0, TWOS)):
            expected = LAYERS[name](jump="none", **{parameter: value})
            for number in given:
                layer = LAYERS[name](jump="none", **{parameter: number})
                assert layer.neuron == expected.neuron
                assert type(getattr(layer.neuron, parameter)) is float
                assert repr(layer) == repr(expected)


@every_layer
def test_what_is_no_number_is_refused(name: str) -> None:
    """By the name of the parameter and what was given, in one line."""
    for parameter in numbers_of(name):
        plain = parameter in ("dt", "refractory")
        for given, called in [*NO_NUMBERS, *(TENSORS if plain else [])]:
            wrong = f" {parameter} must be a (finite )?number.*, got {called}"
            with pytest.raises(st.SaltationError, match=wrong) as error:
                LAYERS[name](**{parameter: given})
            assert "\n" not in str(error.value)
        for given, called in [] if plain else WRONG_TENSORS:
            with pytest.raises(st.SaltationError, match=f" {parameter} must {called}"):
                LAYERS[name](**{parameter: given})


@every_layer
def test_switches_are_true_or_false(name: str) -> None:
    """A text that says no would be true."""
    for given in ("no", 0, None, 1.0):
        with pytest.raises(st.SaltationError, match="detach_reset must be True or False, got"):
            LAYERS[name](detach_reset=given)
    assert LAYERS[name](detach_reset=np.True_).neuron.detach_reset is True


@every_layer
def test_names_are_text(name: str) -> None:
    """Schemes, jumps, surrogates, backends: what is no text is no name."""
    for parameter in ("scheme", "jump", "backend", "memory"):
        for given in (3, True, ["hard"], st.get_scheme("euler")):
            with pytest.raises(st.SaltationError, match=r"must be a name, got .* \(allowed: "):
                LAYERS[name](**{parameter: given})


def test_beta() -> None:
    """A number in [0, 1], refused beyond by more than nothing, with its digits."""
    assert st.LIF(beta=np.float64(0.9)).neuron == st.LIF(beta=0.9).neuron
    assert st.LIF(beta=torch.tensor(1)).neuron == st.LIF(beta=1.0).neuron
    for given in (1.0000001, -1e-9, float("nan"), float("inf")):
        with pytest.raises(st.SaltationError, match=rf"beta must be in \[0, 1\], got {given!r}"):
            st.LIF(beta=given)
    for given, called in NO_NUMBERS:
        with pytest.raises(st.SaltationError, match=rf"beta must be a number in .*, got {called}"):
            st.LIF(beta=given)
    with pytest.raises(
        st.SaltationError, match=r"beta must be in \[0, 1\], got a tensor with 1\.5"
    ):
        st.LIF(beta=torch.tensor([0.5, 1.5]))
    with pytest.raises(st.SaltationError, match=r"either beta or tau.*got beta=0\.5 and tau=2"):
        st.LIF(beta=0.5, tau=2)


@pytest.mark.parametrize("name", SURROGATES)
def test_numbers_of_surrogates(name: str) -> None:
    """As those of neurons."""
    make: Any = SURROGATES[name]
    for number in HALVES:
        assert make(number) == make(0.5)
        assert hash(make(number)) == hash(make(0.5))
    for given, called in NO_NUMBERS + TENSORS:
        with pytest.raises(st.SaltationError, match=f"must be a finite number.*, got {called}"):
            make(given)


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (st.surrogate.ATan, r"the class ATan: write ATan\(\.\.\.\)"),
        (st.surrogate.Smooth, r"the class Smooth: write Smooth\(\.\.\.\)"),
        (lambda u: u, "the function <lambda>"),
        (torch.sigmoid, "the function sigmoid"),
        (nn.Sigmoid(), r"Sigmoid\(\)"),
        (None, "None"),
        (25, "25"),
    ],
)
def test_what_is_no_surrogate_is_refused(given: Any, called: str) -> None:
    """Classes and other callables, with the names there are."""
    wrong = rf"surrogate must be a name or an object of .*, got {called}.* \(allowed: sigmoid, fast"
    with pytest.raises(st.SaltationError, match=wrong):
        st.LIF(surrogate=given)
    if not isinstance(given, str):
        with pytest.raises(st.SaltationError, match="Smooth takes a surrogate such as"):
            st.surrogate.Smooth(given)


MIXED = [
    ("lif", {"tau": 20e-3, "dt": 1.0}, r"LIF with tau = 0\.02 and dt = 1 has 50 tau in a step"),
    ("lif", {"tau": 20.0, "dt": 1e-3}, r"tau = 20 and dt = 0\.001 has 2e\+04 steps in tau"),
    ("lif", {"tau": 2.0, "dt": 2e-3}, "has 1000 steps in tau"),
    ("lif", {"tau": 0.1, "dt": 1.0}, "has 10 tau in a step"),
    ("lif", {"dt": 1e-4}, "has 2e"),
    ("cuba_lif", {"tau_syn": 5e-3}, r"CUBA-LIF with tau_syn = 0\.005 and dt = 1 has 200 tau_syn"),
    ("cuba_lif", {"tau": 20.0, "dt": 0.1, "tau_syn": 5e-3}, "20 tau_syn in a step"),
    ("cuba_lif", {"tau": 20.0, "tau_syn": 5.0, "dt": 1e-3}, "2e.04 steps in tau"),
    ("izhikevich", {"tau_w": 2e-3}, r"Izhikevich with tau_w = 0\.002 and dt = 1 has 500 tau_w"),
    ("izhikevich", {"tau_w": 5000.0}, "5000 steps in tau_w"),
]


@pytest.mark.parametrize(("name", "parameters", "text"), MIXED)
def test_units_mixed_up_warn(name: str, parameters: dict[str, float], text: str) -> None:
    """In one line, at the line that made the layer."""
    with pytest.warns(st.UnitWarning, match=text) as caught:
        LAYERS[name](**parameters)
    assert len(caught) == 1
    assert "same unit of time" in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "parameters", [{"dt": dt} for dt in (0.005, 0.05, 0.5, 1.0, 5.0)] + [{"tau": 20.0, "dt": 0.1}]
)
def test_ordinary_steps_do_not_warn(parameters: dict[str, float]) -> None:
    """Those of studies, and a decay per step, which has no unit.

    Of models with a tau; with one of 20 too, steps of 1 / 200 are many.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for layer in LAYERS.values():
            taus = layer().neuron.time_constants.values()
            if "tau" in layer.neuron_type.parameters() and max(taus) < 1000 * parameters["dt"]:
                layer(**parameters)
        st.LIF(beta=0.99999)
        st.LIF(beta=1e-9)
