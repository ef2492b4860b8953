"""What the documentation's hooks make of docstrings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

HOOKS = Path(__file__).parents[1] / "docs" / "hooks"


def hook(name: str) -> ModuleType:
    pytest.importorskip("griffe", reason="it comes with the docs extra")
    spec = importlib.util.spec_from_file_location(name, HOOKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parameters_of_a_group_have_their_own_defaults() -> None:
    text = """A neuron.

Parameters
----------
tau, tau_w : float, default 2, 20
    Time constants,
    in one unit.
low, high : float, default 1
    Bounds.
kind, **options
    As there.

Attributes
----------
first, last : int
    Not parameters."""
    assert (
        hook("groups").apart(text)
        == """A neuron.

Parameters
----------
tau : float, default 2
    Time constants,
    in one unit.
tau_w : float, default 20
    Time constants,
    in one unit.
low : float, default 1
    Bounds.
high : float, default 1
    Bounds.
kind
    As there.

**options
    As there.

Attributes
----------
first, last : int
    Not parameters."""
    )
