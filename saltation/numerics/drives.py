"""What drives a neuron while its numerics are looked at: given inputs, and currents to begin with.

On a grid every step has the mean of the input over its time. So the charge that arrives is the same
at every dt, and that of a pulse is held over the step it falls into.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.errors import SaltationError
from saltation.kernels import dispatch
from saltation.neurons import Neuron
from saltation.reference import Pulses, Steps
from saltation.surrogate import Sigmoid

Vector = NDArray[np.float64]

# Multiples of the smallest current that makes a neuron spike on and on.
USUAL = (1.3, 2.0)
# Currents that are tried to find it, around the one that holds the potential at threshold.
_TRIED = np.geomspace(1 / 16, 16, 97)
# Of the fastest time constant at rest, and how many of the slowest.
_STEP, _LONG = 0.05, 25.0
_MOST_STEPS = 60_000


def scaled(drive: Pulses, factor: float) -> Pulses:
    """The same times with all charges and currents multiplied."""
    current = drive.current
    steps = Steps(current.times, factor * current.values)
    return Pulses(drive.times, factor * drive.charges, steps)


def is_constant(drive: Pulses) -> bool:
    """Whether nothing changes in time."""
    return not len(drive.times) and len(drive.current.times) == 1


def on_grid(drive: Pulses, start: float, dt: float, steps: int) -> Vector:
    """The mean of the input over each step from ``start`` on, ``[steps]``: the charge that arrives
    in it over dt. Of a later start, a pulse at that very time has acted already."""
    edges = start + dt * np.arange(steps + 1)
    times, values = drive.current.times, drive.current.values
    until = np.append(times, max(edges[-1], times[-1] + dt))
    charge = np.concatenate([[0.0], np.cumsum(values * np.diff(until))])
    total = np.interp(edges, until, charge)
    arrived = np.concatenate([[0.0], np.cumsum(drive.charges)])
    # A pulse at the beginning of a step arrives in it; the last edge is open.
    before = np.searchsorted(drive.times, edges, "left")
    if start:
        before[0] = np.searchsorted(drive.times, start, "right")
    total = total + arrived[before]
    mean: Vector = np.diff(total) / dt
    return mean


def spikes_on_grid(
    model: Neuron, x: Vector, start: Vector | None = None
) -> NDArray[np.bool_] | None:
    """Spikes ``[T, B]`` under currents ``x`` of ``[T, B]`` as a network runs them, in float32; of a
    neuron that takes impulses, those have the charge of the current over the step.

    From the states ``start`` of ``[B, n]``, or from the model's first one. None if a state does not
    stay finite.
    """
    charge = x * model.dt if model.input == "impulse" else x
    given = torch.from_numpy(charge.astype(np.float32))[:, None]
    state = model.rest(given[0])
    if start is not None:
        parts = torch.from_numpy(start.astype(np.float32)).T[:, None].unbind(0)
        state = type(state)(*(part.contiguous() for part in parts))
    with torch.no_grad():
        trace = dispatch.run("auto", model, Sigmoid(), given, state, False)
    if not all(bool(torch.isfinite(part).all()) for part in trace.state):
        return None
    return trace.spikes[:, 0].numpy() > 0.5


def usual(model: Neuron) -> list[float]:
    """Constant currents to look at when none is given: multiples of the smallest that keeps the
    neuron spiking for 25 of its slowest time constants, found on a fine grid.

    Raises
    ------
    SaltationError
        If none of the currents that are tried makes it spike.
    """
    fine = _fine(model)
    slow = 1 / np.abs(np.linalg.eigvals(model.jacobian).real).min()
    steps = int(min(_LONG * slow / fine.dt, _MOST_STEPS))
    currents = _scale(model) * _TRIED
    spikes = spikes_on_grid(fine, np.tile(currents, (steps, 1)))
    if spikes is not None:
        late = spikes[steps // 2 :].sum(0) >= 2
        if late.any():
            least = float(currents[late.argmax()])
            return [float(f"{factor * least:.3g}") for factor in USUAL]
    raise SaltationError(
        f"no constant current from {currents[0]:.3g} to {currents[-1]:.3g} makes {model.title} "
        "spike on and on; give the inputs"
    )


def rate_of(model: Neuron, current: float) -> float:
    """Spikes per unit of time under a constant current, on a fine grid; 0 if there are none."""
    fine = _fine(model)
    slow = 1 / np.abs(np.linalg.eigvals(model.jacobian).real).min()
    steps = int(min(_LONG * slow / fine.dt, _MOST_STEPS))
    spikes = spikes_on_grid(fine, np.full((steps, 1), current))
    if spikes is None:
        return 0.0
    at = np.flatnonzero(spikes[:, 0])
    return (len(at) - 1) / ((at[-1] - at[0]) * fine.dt) if len(at) > 1 else 0.0


def _fine(model: Neuron) -> Neuron:
    """The neuron on a grid that is fine for its time constants at rest."""
    fast = float(np.abs(np.linalg.eigvals(model.jacobian)).max())
    return changed(model, dt=_STEP / fast if fast else model.dt)


def changed(model: Neuron, **parameters: Any) -> Neuron:
    """The neuron with other values of some parameters."""
    make: Any = type(model)
    made: Neuron = make(**{n: getattr(model, n) for n in model.parameters()} | parameters)
    return made


def _scale(model: Neuron) -> float:
    """The largest current that holds the potential somewhere below threshold, all else at rest."""
    rest = [float(part) for part in model.fixed_point]
    top = float(model.threshold(*rest))
    at = np.linspace(rest[0], top, 65)
    state = [at, *(np.full(65, part) for part in rest[1:])]
    still, driven = (model.rates(x, state)[0] for x in (0.0, 1.0))
    gain = driven - still
    with np.errstate(all="ignore"):
        needed = np.where(gain > 0, -still / gain, -np.inf)
    most = float(needed.max())
    return most if np.isfinite(most) and most > 0 else max(abs(top), 1.0)
