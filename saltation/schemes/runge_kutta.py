"""Explicit Runge-Kutta methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from saltation.schemes.base import Scheme, System


@dataclass(frozen=True)
class Tableau(Scheme):
    """An explicit Runge-Kutta method: ``k_i = f(y + dt sum_j a_ij k_j)``, ``y + dt sum_i b_i k_i``.

    Parameters
    ----------
    a
        Rows of the strictly lower triangle, the first stage's empty row left out.
    b
        Weights of the stages. The order is derived: it is that of the conditions on both, up to 4,
        which hold (Hairer, Norsett & Wanner, 1993, II.2).

    Raises
    ------
    ValueError
        If the rows do not fit, or the method is not consistent.
    """

    a: tuple[tuple[float, ...], ...] = ()
    b: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        stages = len(self.b)
        if [len(row) for row in self.a] != list(range(1, stages)):
            raise ValueError(
                f"scheme '{self.name}': {stages} weights need rows of 1 ... {stages - 1}"
            )
        a, b = np.zeros((stages, stages)), np.array(self.b)
        for i, row in enumerate(self.a):
            a[i + 1, : i + 1] = row
        c = a.sum(1)
        conditions: list[list[tuple[Any, float]]] = [
            [(b.sum(), 1.0)],
            [(b @ c, 1 / 2)],
            [(b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)],
            [
                (b @ c**3, 1 / 4),
                (b * c @ a @ c, 1 / 8),
                (b @ a @ c**2, 1 / 12),
                (b @ a @ a @ c, 1 / 24),
            ],
        ]
        holds = [all(abs(x - y) < 1e-12 for x, y in one) for one in conditions]
        order = holds.index(False) if False in holds else len(holds)
        if order < 1:
            raise ValueError(
                f"scheme '{self.name}' is not consistent: its weights must add up to 1"
            )
        object.__setattr__(self, "order", order)

    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        changes: list[list[Any]] = []
        for row in ((), *self.a):
            at = [_plus(part, row, changes, i) for i, part in enumerate(state)]
            changes.append([system.dt * part for part in system.velocity(x, *at)])
        return [_plus(part, self.b, changes, i) for i, part in enumerate(state)]


def _plus(start: Any, weights: Sequence[float], changes: list[list[Any]], i: int) -> Any:
    """``start`` and the weighted changes of variable i; none times 0, none multiplied with 1."""
    for weight, change in zip(weights, changes, strict=True):
        if weight:
            start = start + (change[i] if weight == 1 else weight * change[i])
    return start
