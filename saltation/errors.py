"""Errors and warnings: each says what is wrong, what was given and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


class StabilityWarning(UserWarning):
    """A neuron whose scheme and step amplify small perturbations of the resting state."""


def choose(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return ``given`` if it is one of ``allowed``.

    Raises
    ------
    SaltationError
        Otherwise; the message names ``what``, the nearest allowed name and all of them.
    """
    names = list(allowed)
    if given in names:
        return given
    near = difflib.get_close_matches(str(given), names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise SaltationError(f"unknown {what} '{given}'{hint} (allowed: {', '.join(names)})")


def positive(what: str, given: float) -> float:
    """Return ``given`` if it is a finite number above zero, else raise `SaltationError`."""
    if not 0 < given < float("inf"):
        raise SaltationError(f"{what} must be a finite number above 0, got {given!r}")
    return given
