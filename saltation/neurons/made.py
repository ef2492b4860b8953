"""What a model's class is completed with, from the little that it says."""

from __future__ import annotations

import inspect
import itertools
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, ClassVar, get_origin

import torch
from torch import Tensor

from saltation.affine import Affine, Unknown, affine, is_zero
from saltation.errors import SaltationError, flag, number, positive, register
from saltation.operands import NoRuleError
from saltation.schemes import SCHEMES

# What a model may call by the name of a parameter or method of the base.
_RENAMED = {"jump": "own_jump", "step": "map"}
# Parameters that every model has; their types are no text, which only a module could resolve.
_COMMON: dict[str, Any] = {
    "dt": float,
    "scheme": str,
    "v_threshold": float,
    "v_reset": float,
    "jump": Any,
    "detach_reset": bool,
    "refractory": float,
    "spike_time": str,
    "input": str,
}

# Set by the room of the layers, which is above this one.
layer_of: Callable[[type[Any]], type[Any]] | None = None


class Linear:
    """Whether a class's equations are linear, found with its default parameters."""

    def __get__(self, instance: Any, owner: type[Any]) -> bool:
        if instance is not None:
            return instance.equations is not None
        if "_is_linear" not in owner.__dict__:
            owner._is_linear = _template(owner).equations is not None
        return bool(owner._is_linear)


class Schemes:
    """Names of the schemes that can integrate a class; none for a discrete map."""

    def __get__(self, instance: Any, owner: type[Any]) -> tuple[str, ...]:
        if owner.is_map:
            return ()
        return tuple(name for name in SCHEMES if owner.why_not(name) is None)


class Layer:
    """The layer of a class."""

    def __get__(self, instance: Any, owner: type[Any]) -> type[Any]:
        if layer_of is None:
            # Models know no layers: these say how one is made when they are imported.
            import_module("saltation.layers")
        if layer_of is None:
            raise SaltationError("layers are being imported, and cannot be made yet")
        return layer_of(owner)


class State:
    """The type of a model's state; neurons that wait after a spike also count the steps left."""

    def __init__(self, usual: Any) -> None:
        make: Any = namedtuple  # of fields that are known only now
        self._usual = usual
        self._waiting = make(usual.__name__, (*usual._fields, "waits"))
        # Found again when unpickled.
        self._waiting.__module__ = usual.__module__
        self._waiting.__qualname__ = f"{usual.__qualname__}.waiting"
        usual.waiting = self._waiting

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        waits = instance is not None and instance.refractory
        return self._waiting if waits else self._usual


def _template(owner: type[Any]) -> Any:
    """An object with the default parameters, unchecked; 1 where there is no default."""
    it = object.__new__(owner)
    for f in fields(owner):
        default = getattr(owner, f.name, None)
        missing = default is None and f.type in (float, "float")
        object.__setattr__(it, f.name, 1.0 if missing else default)
    return it


def said(cls: type[Any]) -> set[str]:
    """What a model and its parents define themselves, `Neuron` apart."""
    own = itertools.takewhile(lambda klass: "is_base" not in klass.__dict__, cls.__mro__)
    return {name for klass in own for name in klass.__dict__}


def complete(cls: type[Any], base: type[Any], registry: dict[str, Any]) -> None:
    """Make a model of the class: its fields, state and names; enter it in the registry."""
    if not hasattr(cls, "__module__"):  # made by type() outside of any module
        cls.__module__ = "__main__"
    for name, renamed in _RENAMED.items():
        if inspect.isfunction(cls.__dict__.get(name)) and not _is_whole_step(cls.__dict__[name]):
            setattr(cls, renamed, cls.__dict__[name])
            delattr(cls, name)
    own = dict(inspect.get_annotations(cls))
    if cls.__base__ is base:  # its own parameters come first; those it repeats are in its own order
        own |= {name: kind for name, kind in _COMMON.items() if name not in own}
        for name in _COMMON:
            if name not in cls.__dict__:
                setattr(cls, name, base.__dict__[name])
    cls.__annotations__ = {n: a for n, a in own.items() if not _is_class_variable(a)}
    document = cls.__doc__
    dataclass(frozen=True)(cls)
    cls.__doc__ = document
    if {"velocity", "map"} & cls.__dict__.keys():
        cls.State = State(_state(cls))
    cls.is_map = "velocity" not in said(cls)
    if not hasattr(cls, "State"):
        raise SaltationError(f"{cls.__name__} must define velocity(self, x, v, ...), or step")
    given = "name" in cls.__dict__
    if not given:
        cls.name = cls.__name__
    if "title" not in cls.__dict__:
        cls.title = cls.__name__
    if "jumps" not in cls.__dict__:
        # What jumps late is the potential alone, by a threshold that does not move.
        late = () if {"own_jump", "threshold"} & said(cls) else ("soft_delayed",)
        cls.jumps = ("hard", "soft", *late, "none")
    if given:
        register("neuron", registry, cls.name, cls)


def _is_class_variable(annotation: Any) -> bool:
    return "ClassVar" in str(annotation) or get_origin(annotation) is ClassVar


def _is_whole_step(function: Any) -> bool:
    """Whether it is `Neuron.step`, overridden, not a discrete map."""
    return function.__name__ == "step" and "spike" in inspect.signature(function).parameters


def _state(cls: type[Any]) -> Any:
    """The named tuple of the arguments behind the current."""
    function = cls.__dict__.get("velocity") or cls.__dict__["map"]
    names = list(inspect.signature(function).parameters)[2:]
    if not names:
        raise SaltationError(f"{cls.__name__}.{function.__name__} must take self, x and the state")
    make: Any = namedtuple  # of fields that are known only now
    made = make(f"{cls.__name__.removesuffix('Neuron')}State", names)
    made.__doc__ = f"State of `{cls.__name__}`: {', '.join(names)}, each ``[B, ...]``."
    # Found again when unpickled.
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.State"
    return made


def check(neuron: Any) -> None:
    """Check the types and ranges of a model's parameters, and convert numbers."""
    for parameter in fields(neuron):
        what, value = f"{neuron.title} {parameter.name}", getattr(neuron, parameter.name)
        of_time = parameter.name.startswith("tau") or parameter.name == "dt"
        if parameter.type in (float, "float"):
            if is_varied(value) and may_vary(neuron, parameter.name):
                value = varied(what, value, of_time)
            elif of_time:
                value = positive(what, value)
            else:
                value = number(what, value)
                if not abs(value) < float("inf"):
                    raise SaltationError(f"{what} must be finite, got {value}")
        elif parameter.type in (bool, "bool"):
            value = flag(what, value)
        object.__setattr__(neuron, parameter.name, value)


def may_vary(model: Any, name: str) -> bool:
    """Whether a parameter may be a tensor or learned: a number that is no length of steps."""
    types = {parameter.name: str(parameter.type) for parameter in fields(model)}
    return "float" in types.get(name, "") and name not in ("dt", "refractory")


def is_varied(value: Any) -> bool:
    """Whether a parameter is no single number: a tensor of one per neuron, or learned."""
    return isinstance(value, Tensor) and (value.ndim > 0 or value.requires_grad)


def varied(what: str, value: Tensor, of_time: bool = False) -> Tensor:
    """The tensor of a parameter, checked."""
    if not value.is_floating_point():
        raise SaltationError(f"{what} must be floating point, got a tensor of {value.dtype}")
    if value.is_meta:  # nothing is known of it
        return value
    known = value.detach()
    if not bool(torch.isfinite(known).all()):
        raise SaltationError(f"{what} must be finite, got a tensor with NaN or infinity")
    if of_time and not bool((known > 0).all()):
        raise SaltationError(f"{what} must be above 0, got a tensor with {known.min().item():g}")
    return value


def mean(value: Any) -> float:
    """A parameter as one number."""
    return float(value.detach().double().mean()) if isinstance(value, Tensor) else value


def check_equations(neuron: Any) -> None:
    """See that velocity and jump give a number for every variable, on stand-ins for all they take.

    Raises
    ------
    SaltationError
        If one fails, or returns something else, with how it is written.
    """
    names = type(neuron).State._fields
    asked = {"velocity": 1 + len(names), "jump": len(names)}
    for what, count in asked.items():
        function = neuron.velocity if what == "velocity" else neuron.own_jump
        told = f"{neuron.title}.{what}"
        try:
            found = function(*[Unknown() for _ in range(count)])
        except NoRuleError:  # whoever follows the equations says what has none
            continue
        except (AttributeError, LookupError, NameError) as error:
            raise SaltationError(f"{told} fails: {error}") from None
        if isinstance(found, tuple | list) and len(found) == len(names):
            continue
        one = [f"d{name}" if what == "velocity" else name for name in names]
        form = f"return {', '.join(one)}{',' if len(one) == 1 else ''}"
        got = len(found) if isinstance(found, tuple | list) else type(found).__name__
        got = {"Unknown": "one value, no tuple", "float": "a number, no tuple"}.get(str(got), got)
        raise SaltationError(
            f"{told} must give one value for each of {', '.join(names)}, as in '{form}', got {got}"
        )


def moves(neuron: Any) -> list[Callable[[Any, Any, Any], Any]]:
    """How each variable jumps, as functions of the variable, the spike and the whole state."""
    count = len(type(neuron).State._fields)
    found = affine(neuron.own_jump, count)
    return [_move(neuron, i, None if found is None else found[i], count) for i in range(count)]


def _move(neuron: Any, i: int, to: Affine | None, count: int) -> Callable[[Any, Any, Any], Any]:
    if to is not None and all(map(is_zero, to.factors)):  # a fixed value
        if is_zero(to.constant):
            return lambda part, s, h: (1 - s) * part
        return lambda part, s, h: (1 - s) * part + s * to.constant
    if to is not None and to.factors == tuple(float(i == k) for k in range(count)):
        if is_zero(to.constant):
            return lambda part, s, h: part
        return lambda part, s, h: part + s * to.constant
    return lambda part, s, h: (1 - s) * part + s * neuron.own_jump(*h)[i]
