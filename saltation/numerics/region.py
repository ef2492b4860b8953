"""Stability away from rest: the step as a map, at every state, step and input.

At rest a step multiplies small perturbations by the amplification of its scheme. Elsewhere the
equations have another slope, and the step another Jacobian; and a perturbation that is not small
meets the nonlinearity itself: the state can settle, go round, or overflow.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.kernels import dispatch
from saltation.neurons import Neuron
from saltation.numerics.drives import Vector, changed
from saltation.reference import simulate
from saltation.surrogate import Sigmoid

# Beyond this a state is on its way out of all numbers.
_HUGE = 1e30


def step_jacobian(model: Neuron, x: float, states: Vector) -> Vector:
    """Jacobians ``[N, n, n]`` of one step, before the jump, at states ``[N, n]`` with input x."""
    with torch.enable_grad():
        parts = [torch.tensor(part, requires_grad=True) for part in np.array(states).T]
        current = torch.full_like(parts[0], x)
        none = 0.0 * sum(parts)
        after = model.integrate(current, model.State(*parts), lambda u: 0.0 * u)
        rows = [
            torch.autograd.grad((part + none).sum(), parts, retain_graph=True) for part in after
        ]
    return np.stack([np.stack([p.numpy() for p in row], 1) for row in rows], 1)


def radius(model: Neuron, x: float, states: Vector) -> Vector:
    """By how much a step multiplies the least damped perturbation of each state, ``[N]``."""
    jacobians = step_jacobian(model, x, states)
    found = np.full(len(jacobians), np.inf)
    finite = np.isfinite(jacobians).all((1, 2))
    found[finite] = np.abs(np.linalg.eigvals(jacobians[finite])).max(-1)
    return found


def radius_region(model: Neuron, dts: Vector, potentials: Vector, x: float = 0.0) -> Vector:
    """`radius` at every dt and potential, ``[D, V]``, all other variables as at rest."""
    rest = [float(part) for part in model.fixed_point]
    states = np.tile(rest, (len(potentials), 1))
    states[:, 0] = potentials
    return np.stack([radius(_at(model, dt), x, states) for dt in dts.tolist()])


def radius_along(model: Neuron, x: float, t_end: float, points: int = 400) -> Vector:
    """`radius` at times of the exact solution under a constant current, ``[points]``."""
    solution = simulate(model, x, t_end)
    return radius(model, x, solution(np.linspace(0, t_end, points)))


def overflows(model: Neuron, dts: Vector, inputs: Vector, steps: int = 50) -> NDArray[np.bool_]:
    """Whether the state is beyond all bounds after so many steps under constant currents, from the
    model's first state, ``[D, X]``."""
    found = []
    for dt in dts.tolist():
        one = _at(model, dt)
        parts = torch.stack([part[0] for part in _run(one, inputs, steps, None)])
        found.append((~torch.isfinite(parts) | (parts.abs() > _HUGE)).any(0).numpy())
    return np.stack(found)


def bifurcation(model: Neuron, dts: Vector, x: float, steps: int = 300, last: int = 48) -> Vector:
    """Potentials that the one-step map visits in its last steps under a constant current,
    ``[D, last]``: one point where it rests, several where it goes round; nan where it overflows."""
    found = []
    for dt in dts.tolist():
        one, current = _at(model, dt), np.array([x])
        state = _run(one, current, steps - last, None)
        late = []
        for _ in range(last):
            state = _run(one, current, 1, state)
            late.append(float(state[0]))
        found.append(np.where(np.abs(late) < _HUGE, late, np.nan))
    return np.stack(found)


def _run(model: Neuron, inputs: Vector, steps: int, state: Any) -> Any:
    """The state after so many steps from a state or the first one."""
    x = torch.from_numpy(np.tile(inputs.astype(np.float32), (steps, 1)))[:, None]
    with torch.no_grad():
        start = model.rest(x[0]) if state is None else state
        return dispatch.run("auto", model, Sigmoid(), x, start, False).state


def _at(model: Neuron, dt: float) -> Neuron:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return changed(model, dt=dt)
