"""Errors name what is wrong, what was given and what is allowed."""

from __future__ import annotations

import pytest

import saltation as st
from saltation.errors import choose, positive
from saltation.layers import Readout


def test_choose_returns_a_known_name() -> None:
    """A name among the allowed comes back as it is."""
    assert choose("fruit", "fig", iter(["apple", "fig"])) == "fig"


def test_choose_suggests_the_nearest_and_lists_all() -> None:
    """The message holds the kind, the given name, the nearest and all allowed names."""
    with pytest.raises(st.SaltationError) as error:
        choose("fruit", "aple", ["apple", "fig"])
    assert str(error.value) == ("unknown fruit 'aple'; did you mean 'apple'? (allowed: apple, fig)")


def test_choose_suggests_nothing_when_nothing_is_near() -> None:
    """No far-fetched suggestion."""
    with pytest.raises(st.SaltationError, match=r"^unknown fruit 'zzz' \(allowed: apple, fig\)$"):
        choose("fruit", "zzz", ["apple", "fig"])


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_positive_refuses(value: float) -> None:
    """Zero, negative, infinite and NaN are refused and shown."""
    with pytest.raises(st.SaltationError, match=f"dt must be .* got {value!r}"):
        positive("dt", value)


@pytest.mark.parametrize(
    ("make", "nearest"),
    [
        (lambda: st.LIF(scheme="expoential"), "exponential"),
        (lambda: st.Izhikevich(scheme="symplectik_v"), "symplectic_v"),
        (lambda: st.LIF(jump="soft_delay"), "soft_delayed"),
        (lambda: st.LIF(v_treshold=1.0), "v_threshold"),
        (lambda: st.LIF(surrogate="sigmoit"), "sigmoid"),
        (lambda: st.LIF(backend="referense"), "reference"),
        (lambda: Readout("spikecount"), "spike_count"),
        (lambda: st.get_scheme("rk5"), "rk4"),
        (lambda: st.spiking_mlp((2, 2), neuron="izikevich"), "izhikevich"),
    ],
)
def test_unknown_names_suggest_the_nearest(make: object, nearest: str) -> None:
    """Every choice by name helps with a typing error, as a ValueError."""
    with pytest.raises(ValueError, match=f"did you mean '{nearest}'"):
        make()  # type: ignore[operator]
