"""Equations of a user's that cannot be: each is told in one line, with how it is written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import saltation as st

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no tuple": (
        {"velocity": lambda self, x, v: (-v + x) / self.tau},
        r"Own.velocity must give one value for each of v, as in 'return dv,', got one value",
    ),
    "no tuple of a nonlinear one": (
        {"velocity": lambda self, x, v: -(v**3) + x},
        r"as in 'return dv,', got one value",
    ),
    "too few": (
        {"velocity": lambda self, x, v, w: (x - v,)},
        r"for each of v, w, as in 'return dv, dw', got 1",
    ),
    "nothing": ({"velocity": lambda self, x, v: None}, r"got NoneType"),
    "a name": ({"velocity": lambda self, x, v: (-v / self.tuu,)}, r"Own.velocity fails: .*'tuu'"),
    "a jump": (
        {"velocity": lambda self, x, v, w: (x - v, v - w), "jump": lambda self, v, w: 0.0},
        r"Own.jump must give one value for each of v, w, as in 'return v, w', got a number",
    ),
    "math": (
        {"velocity": lambda self, x, v: (math.exp(v) + x,)},
        r"Own cannot be followed: it makes a Python number of the state; its equations are torch",
    ),
    "numpy": ({"velocity": lambda self, x, v: (np.exp(v) + x,)}, r"Own cannot be followed: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_equations_that_cannot_be(what: str) -> None:
    parts, reason = WRONG[what]
    own = type("Own", (st.Neuron,), {"__annotations__": {"tau": float}, "tau": 2.0, **parts})
    with pytest.raises(st.SaltationError, match=reason) as told:
        own(dt=0.5)
    assert "\n" not in str(told.value)
