"""Schemes with the exponential of the Jacobian, or of each variable's own slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saltation import phi
from saltation.derivatives import jacobian as derivatives
from saltation.schemes.base import Scheme, System, identity, scaled


@dataclass(frozen=True)
class ExponentialScheme(Scheme):
    """Rosenbrock-Euler: ``y + phi_1(dt J(y)) dt f(y)``, J the Jacobian at the start of the step.

    Exact for linear systems, of order 2 for others.
    """

    exact_if_linear = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", 2)

    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        dt, squarings = system.dt, phi.squarings(system.stiffness)
        f, j = derivatives(lambda *y: system.velocity(x, *y), state)
        bound = phi.bound(squarings) / len(state)
        held = [
            [phi.within(dt * entry, bound, i == k) for k, entry in enumerate(row)]
            for i, row in enumerate(j)
        ]
        change = phi.times(held, [dt * part for part in f], squarings, phi.as_seen)
        return [part + moved for part, moved in zip(state, change, strict=True)]

    def propagator(self, jacobian: Tensor, dt: Any) -> Tensor:
        return phi.exponential(scaled(jacobian, dt))


@dataclass(frozen=True)
class PerVariableScheme(Scheme):
    """Every variable by the exponential of its own equation, the others held (Rush & Larsen, 1978).

    ``y_i + phi_1(dt df_i/dy_i) dt f_i``, exact where f_i is linear in y_i, as the gates of Hodgkin
    and Huxley's equations are.

    Parameters
    ----------
    in_turn
        Whether later variables see the new values of earlier ones (Baronig et al., 2025, call this
        symplectic Euler discretisation), or all see the old ones (their Euler-forward).
    """

    in_turn: bool = False

    fewest_variables = 2
    alone = "of a single variable it is 'exponential'"

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", 1)

    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        dt, squarings = system.dt, phi.squarings(system.stiffness)
        now, old = list(state), list(state)
        for i in range(len(now)):
            seen = now if self.in_turn else old

            def own(y: Any, i: int = i, seen: list[Any] = seen) -> list[Any]:
                return [system.velocity(x, *seen[:i], y, *seen[i + 1 :])[i]]

            (f,), ((j,),) = derivatives(own, [old[i]])
            slope = phi.within(dt * j, phi.bound(squarings))
            (change,) = phi.times([[slope]], [dt * f], squarings)
            now[i] = old[i] + change
        return now

    def propagator(self, jacobian: Tensor, dt: Any) -> Tensor:
        q = scaled(jacobian, dt)
        total = one = identity(q).expand_as(q)
        old = one
        for i in range(q.shape[-1]):
            own = q[..., i, i, None]
            # Exact for the constant slope; expm1 keeps the digits of small ones.
            gain = torch.where(own == 0, torch.ones_like(own), torch.expm1(own) / own)
            seen = total if self.in_turn else old
            row = old[..., i, :] + gain * (q[..., None, i, :] @ seen)[..., 0, :]
            total = torch.cat((total[..., :i, :], row[..., None, :], total[..., i + 1 :, :]), -2)
        return total
