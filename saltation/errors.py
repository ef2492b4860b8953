"""Errors and warnings: each says what is wrong, what was given and what is allowed."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable
from decimal import Decimal
from types import BuiltinFunctionType, FunctionType
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import torch
from torch import Tensor, nn

from saltation.naming import unknown

# What is taken where a number is: of Python, numpy, or a torch tensor of no dimension.
Number = float | SupportsFloat


class SaltationError(ValueError):
    """Base of every error saltation raises for bad input."""


class ConfigError(SaltationError):
    """A setting of a study or a command that cannot be run."""


class DataError(SaltationError):
    """A data file that is damaged, mislabelled or hostile."""


class MissingDataError(DataError):
    """A data set that is not where it was looked for."""


class StoreError(DataError):
    """A study's folder that cannot be read or written."""


class NotFiniteError(SaltationError):
    """Numbers that hold NaN or infinity where they would be read as if they did not."""


class OtherNumericsError(SaltationError):
    """Weights of a network that computes something else from the same weights."""


class StabilityWarning(UserWarning):
    """A neuron whose scheme and step amplify small perturbations of the resting state."""


class UnitWarning(UserWarning):
    """Numbers that look as if they were given in another unit than the one expected."""


class LayoutWarning(UserWarning):
    """A tensor that can be read as it must be, but looks as if its dimensions were in another
    order."""


class UnknownNumericsWarning(UserWarning):
    """Weights that do not say what network they are of."""


def choose(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return ``given`` if it is one of ``allowed``.

    Raises
    ------
    SaltationError
        Otherwise; the message names ``what``, the nearest allowed name and all of them.
    """
    names = list(allowed)
    if not isinstance(given, str):
        raise SaltationError(
            f"{what} must be a name, got {shown(given)} (allowed: {', '.join(names)})"
        )
    if given in names:
        return given
    raise SaltationError(unknown(what, given, names))


def register(what: str, table: dict[str, Any], name: str, new: type[Any]) -> None:
    """Enter ``new`` in ``table``; the same class may be defined again, as in a notebook.

    Raises
    ------
    SaltationError
        If another class has the name.
    """
    old = table.get(name, new)
    if (old.__module__, old.__qualname__) != (new.__module__, new.__qualname__):
        raise SaltationError(
            f"{what} '{name}' is taken by {old.__qualname__}: give {new.__qualname__} a name of "
            "its own"
        )
    table[name] = new


def number(what: str, given: Number, allowed: str = "a number") -> float:
    """``given`` as a float: a number of Python or numpy, or a torch tensor of no dimension.

    Raises
    ------
    SaltationError
        If it is anything else: text, a boolean, None, several numbers, or one that is learned.
    """
    value = _float_of(given)
    if value is None:
        raise SaltationError(f"{what} must be {allowed}, got {shown(given)}")
    return value


def positive(what: str, given: Number) -> float:
    """``given`` as a float if it is a finite number above zero, else raise `SaltationError`."""
    allowed = "a finite number above 0"
    value = number(what, given, allowed)
    if not 0 < value < math.inf:
        raise SaltationError(f"{what} must be {allowed}, got {value!r}")
    return value


def not_negative(what: str, given: Number) -> float:
    """``given`` as a float if it is a finite number of at least zero, else `SaltationError`."""
    allowed = "a finite number of at least 0"
    value = number(what, given, allowed)
    if not 0 <= value < math.inf:
        raise SaltationError(f"{what} must be {allowed}, got {value!r}")
    return value


def fraction(what: str, given: Number) -> float:
    """``given`` as a float if it is in [0, 1), else raise `SaltationError`."""
    value = number(what, given, "a number in [0, 1)")
    if not 0 <= value < 1:
        raise SaltationError(f"{what} must be in [0, 1), got {value!r}")
    return value


def count(what: str, given: SupportsIndex) -> int:
    """``given`` as an int if it is an integer of at least 1, else raise `SaltationError`."""
    value = whole(given)
    if value is None or value < 1:
        raise SaltationError(f"{what} must be a positive integer, got {shown(given)}")
    return value


def whole(given: Any) -> int | None:
    """``given`` as an int if it is an integer of Python, numpy or torch, else None."""
    if isinstance(given, bool | np.bool_):
        return None
    if isinstance(given, Tensor | np.ndarray) and (given.ndim or given.dtype in (bool, torch.bool)):
        return None
    try:
        return operator.index(given)
    except (TypeError, RuntimeError):
        return None


def entries(given: Any) -> list[Any]:
    """What ``given`` holds, nothing if it is no collection, or text."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str) else []


def flag(what: str, given: bool) -> bool:
    """``given`` if it is True or False, else raise `SaltationError`."""
    if not isinstance(given, bool | np.bool_):
        raise SaltationError(f"{what} must be True or False, got {shown(given)}")
    return bool(given)


def tensor(what: str, given: Any) -> Tensor:
    """``given`` if it is a torch tensor, else raise `SaltationError`."""
    if isinstance(given, Tensor):
        return given
    name = type(given).__name__
    if isinstance(given, np.ndarray | np.generic | list | tuple | int | float):
        hint = "torch.as_tensor makes one of it"
    else:
        hint = "torch.Tensor is the only type allowed"
    raise SaltationError(f"{what} must be a torch tensor, got {name}: {hint}")


def shown(given: Any) -> str:
    """``given`` for a message: in one line, and short."""
    if isinstance(given, nn.Parameter):
        return f"a Parameter of shape {list(given.shape)}, which is not learned here"
    if isinstance(given, Tensor) and given.requires_grad:
        return f"a tensor of shape {list(given.shape)} that wants a gradient, which it has none of"
    if isinstance(given, Tensor | np.ndarray) and given.ndim:
        kind = "a tensor" if isinstance(given, Tensor) else "an array"
        return f"{kind} of shape {list(given.shape)}, not one number"
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if isinstance(given, FunctionType | BuiltinFunctionType):
        return f"the function {given.__name__}"
    text = " ".join(repr(given).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _float_of(given: Any) -> float | None:
    """``given`` as a float, None if it is not one number."""
    if isinstance(given, bool | np.bool_):
        return None
    try:
        if isinstance(given, numbers.Real | Decimal):
            return float(given)
        if isinstance(given, Tensor):
            plain = not (given.ndim or given.requires_grad or given.dtype == torch.bool)
            return float(given) if plain and not given.is_complex() else None
        if isinstance(given, np.ndarray):
            return float(given) if not given.ndim and given.dtype.kind in "iuf" else None
    except (OverflowError, RuntimeError):
        pass
    return None
