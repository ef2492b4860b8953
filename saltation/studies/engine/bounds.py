"""Bounds of settings: far beyond what anybody trains, so that a slip of the hand is told."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from saltation.errors import ConfigError


def short(value: Any) -> str:
    """A value as it was given; of long and of nested ones the beginning."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError("values must differ")
    return values


def _above(least: float) -> Callable[[float], float]:
    """Refuses numbers so small that single precision loses what they do."""

    def check(value: float) -> float:
        if value < least:
            raise ValueError(f"input should be at least {least:g}")
        return value

    return check


def within(what: str, given: int, least: int, most: int) -> int:
    """Return ``given`` if it is from ``least`` to ``most``, else raise `ConfigError`."""
    if not least <= given <= most:
        raise ConfigError(f"{what} must be from {least} to {most}, got {given}")
    return given


def possible_path(given: Path) -> Path:
    """Return a path that a file system may have.

    Raises
    ------
    ConfigError
        If a name in it is longer than any, or holds a null character.
    """
    if "\0" in str(given):
        raise ConfigError(f"a path holds no null character, got {short(str(given))}")
    if any(len(os.fsencode(name)) > 255 for name in given.parts) or len(os.fsencode(given)) > 4000:
        raise ConfigError(
            f"a path has at most 4000 bytes, and each name in it 255, got {short(str(given))}"
        )
    return given


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Samples = Annotated[int, Field(ge=1, le=1_000_000_000)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
AtLeast0 = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), AfterValidator(_above(1e-12))]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Several = AfterValidator(_distinct)
Folder = Annotated[Path, AfterValidator(possible_path)]
Some = Field(min_length=1, max_length=1000)
