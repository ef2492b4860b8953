"""Implicit methods, for linear systems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saltation.schemes.base import Scheme, System, identity, scaled


@dataclass(frozen=True)
class RationalScheme(Scheme):
    """An implicit one-step method with stability function ``P(q) / Q(q)``, for linear systems.

    Parameters
    ----------
    numerator, denominator
        Coefficients of ``P`` and ``Q``, constant term first. The order is derived from them: it
        is the number of Taylor coefficients that ``P / Q`` shares with ``exp``, less one.
    """

    numerator: tuple[float, ...] = (1.0,)
    denominator: tuple[float, ...] = (1.0,)

    linear_only = True

    def __post_init__(self) -> None:
        # Coefficient k of P - Q exp vanishes as long as P / Q agrees with exp.
        terms = len(self.numerator) + len(self.denominator)
        p = np.zeros(terms)
        p[: len(self.numerator)] = self.numerator
        exp = np.array([1 / math.factorial(k) for k in range(terms)])
        defect = np.abs(p - np.convolve(self.denominator, exp)[:terms])
        order = int(np.argmax(defect > 1e-12)) - 1
        if order < 1:
            raise ValueError(f"scheme '{self.name}' is not consistent: R(0) = R'(0) = 1 must hold")
        object.__setattr__(self, "order", order)

    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        raise NotImplementedError(f"'{self.name}' has a step for linear systems alone: propagator")

    def propagator(self, jacobian: Tensor, dt: Any) -> Tensor:
        q = scaled(jacobian, dt)
        p, d = (_polynomial(c, q) for c in (self.numerator, self.denominator))
        found: Tensor = torch.linalg.solve(d, p)
        return found


def _polynomial(coefficients: tuple[float, ...], q: Tensor) -> Tensor:
    one = identity(q)
    value: Tensor = coefficients[-1] * one.expand_as(q)
    for c in reversed(coefficients[:-1]):
        value = value @ q + c * one
    return value
