"""Symplectic Euler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saltation.schemes.base import Scheme, System


@dataclass(frozen=True)
class PartitionedScheme(Scheme):
    """Symplectic Euler: one variable after the other, each from the new values of those before.

    Parameters
    ----------
    potential_first
        Whether the variables follow each other from the potential on, or end with it.
    """

    potential_first: bool = False

    fewest_variables = 2
    alone = "it updates two variables in turn, and the potential is the only one"

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", 1)

    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        now = list(state)
        order = range(len(now))
        for i in order if self.potential_first else reversed(order):
            now[i] = now[i] + system.dt * system.velocity(x, *now)[i]
        return now
