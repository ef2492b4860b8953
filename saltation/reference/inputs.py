"""What drives a neuron in continuous time: currents that are constant in pieces, and pulses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from saltation.errors import SaltationError, not_negative, number, positive, shown
from saltation.reference.passage import Vector

# Of a step: what the end of an input may miss of the end of the time.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Steps:
    """A current that is constant in pieces: ``values[k]`` from ``times[k]`` to the next time.

    Parameters
    ----------
    times
        ``[K]``, ascending from 0 on; the last value holds for ever.
    values
        ``[K]``, currents in the model's unit.

    Raises
    ------
    SaltationError
        If the two do not fit, do not ascend from 0, or are not finite.

    Examples
    --------
    >>> st.reference.Steps([0, 5, 8], [0, 2.0, 0])  # 2 from 5 to 8
    """

    times: Any
    values: Any

    def __post_init__(self) -> None:
        times, values = _vector("times", self.times), _vector("values", self.values)
        if len(times) != len(values) or not len(times):
            raise SaltationError(
                f"Steps take a value for every time, got {len(times)} times and {len(values)} "
                "values"
            )
        if times[0] != 0 or (np.diff(times) <= 0).any():
            raise SaltationError(f"times of Steps must ascend from 0 on, got {_few(times)}")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True)
class Pulses:
    """Charges that arrive at once, such as spikes at synapses without a time constant.

    A pulse does what a current does whose integral over time is its charge, in the limit of a short
    one: where the current enters as ``dv/dt = ... + x / tau``, v jumps by ``charge / tau``. The
    threshold is tested after the jump; what a pulse brings above it a hard reset takes away.

    Parameters
    ----------
    times
        ``[K]``, 0 or later, in any order. Charges at one time are added up.
    charges
        ``[K]``, or one number for all: the model's unit of current times that of time.
    current : number or Steps, default 0
        What flows beside the pulses.

    Raises
    ------
    SaltationError
        If times and charges do not fit, a time is below 0, or a number is not finite.
    """

    times: Any
    charges: Any = 1.0
    current: Any = 0.0

    def __post_init__(self) -> None:
        times = _vector("times", self.times)
        charges = np.asarray(self.charges)
        charges = _vector(
            "charges", np.full(len(times), self.charges) if not charges.ndim else charges
        )
        if len(times) != len(charges):
            raise SaltationError(
                f"Pulses take a charge for every time, got {len(times)} times and {len(charges)} "
                "charges"
            )
        if (times < 0).any():
            raise SaltationError(f"times of Pulses must be 0 or later, got {times.min():g}")
        current = self.current
        if not isinstance(current, Steps):
            current = Steps([0.0], [_finite("current", current)])
        order = np.argsort(times, kind="stable")
        object.__setattr__(self, "times", times[order])
        object.__setattr__(self, "charges", charges[order])
        object.__setattr__(self, "current", current)

    @classmethod
    def poisson(
        cls, rate: float, t_end: float, charge: float = 1.0, current: Any = 0.0, seed: int = 0
    ) -> Pulses:
        """Pulses of one charge at the times of a Poisson process.

        Parameters
        ----------
        rate
            Pulses per unit of time, 0 or more.
        t_end
            Up to when.
        charge, current
            As in the class.
        seed
            Of the times.
        """
        mean = not_negative("rate", rate) * positive("t_end", t_end)
        drawn = np.random.default_rng(seed)
        times = np.sort(drawn.uniform(0.0, t_end, drawn.poisson(mean)))
        return cls(times, np.full(len(times), _finite("charge", charge)), current)


def driven_by(given: Any, dt: float, t_end: float, impulse: bool = False) -> Pulses:
    """Any input as pulses and the current beside them; ``impulse``: what comes in steps is the
    charge of a pulse at the start of each.

    Raises
    ------
    SaltationError
        If it is none of a number, the currents of steps of ``dt``, times and values, `Steps` and
        `Pulses`, or ends before ``t_end``.
    """
    if isinstance(given, Pulses):
        return given
    if isinstance(given, Steps):
        return Pulses([], [], given)
    if isinstance(given, tuple):
        if len(given) != 2:
            raise SaltationError(
                f"an input in pieces is (times, values), got a tuple of {len(given)}"
            )
        return Pulses([], [], Steps(*given))
    if isinstance(given, torch.Tensor | np.ndarray | list) and np.ndim(_array(given)):
        values = _vector("the input", given)
        if len(values) * dt < t_end - _ROUNDING * dt:
            raise SaltationError(
                f"the input has {len(values)} steps of dt = {dt:g} and ends at "
                f"{len(values) * dt:g}, before t_end = {t_end:g}"
            )
        if impulse:
            return Pulses(np.arange(len(values)) * dt, values)
        return Pulses([], [], Steps(np.arange(len(values)) * dt, values))
    return Pulses([], [], Steps([0.0], [_finite("the input", given)]))


def _finite(what: str, given: Any) -> float:
    value = number(what, given)
    if not np.isfinite(value):
        raise SaltationError(f"{what} must be finite, got {value}")
    return value


def _array(given: Any) -> Any:
    return given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)


def _vector(what: str, given: Any) -> Vector:
    try:
        found = np.asarray(_array(given), dtype=np.float64)
    except (TypeError, ValueError):
        raise SaltationError(f"{what} must be numbers, got {shown(given)}") from None
    if found.ndim != 1:
        raise SaltationError(f"{what} must be one after the other, [K], got {list(found.shape)}")
    if not np.isfinite(found).all():
        raise SaltationError(f"{what} must be finite, got {found[~np.isfinite(found)][0]}")
    return found


def _few(values: Vector) -> str:
    shown = ", ".join(f"{v:g}" for v in values[:5])
    return f"{shown}, ..." if len(values) > 5 else shown
