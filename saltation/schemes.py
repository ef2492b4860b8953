"""Integration schemes as data: each knows its name, its order and its stability function.

A scheme applied to ``dy/dt = lambda y`` multiplies ``y`` by ``R(q)`` every step, ``q = lambda dt``;
applied to a linear system ``dy/dt = J y`` it multiplies by the matrix `Scheme.amplification`. A
step is stable when no mode grows: the spectral radius of that matrix is at most one.

No scheme owns a loop or knows a neuron. A neuron asks for what it needs: the amplification factor
(leaky neurons are linear, so a step of any scheme is one affine map) or the name (the nonlinear
models write their own step per scheme).

Sources: Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", 1993 (Runge-Kutta);
Hairer & Wanner, II, 1996 (stability functions); Hochbruck & Ostermann, "Exponential integrators",
2010 (Rosenbrock-Euler); Hairer, Lubich & Wanner, "Geometric Numerical Integration", 2006
(symplectic Euler).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from saltation.errors import choose

SCHEMES: dict[str, Scheme] = {}

# Rounding in the spectral radius must not be read as growth.
_GROWTH_TOLERANCE = 1e-9
# Beyond this many time constants of the slowest mode a scheme counts as always stable.
_HORIZON = 1e4


@dataclass(frozen=True)
class Scheme(ABC):
    """Base of all schemes.

    Attributes
    ----------
    name
        As users write it.
    title
        As reports write it.
    order
        Order of convergence on a smooth nonlinear system.
    exact_if_linear
        True if a linear system with constant input is solved without error.
    """

    name: str
    title: str
    order: int = field(init=False)

    exact_if_linear = False

    @abstractmethod
    def amplification(self, jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
        """What one step of length ``dt`` applies to ``dy/dt = jacobian y``.

        A matrix ``[n, n]`` for a number, ``[..., n, n]`` for an array of steps ``[...]``.
        """

    @abstractmethod
    def stability(self, q: Any) -> Any:
        """The stability function ``R(q)``, ``q = lambda dt``; scalars or arrays, complex or not."""

    def radius(self, jacobian: NDArray[Any], dt: Any) -> Any:
        """Spectral radius of the amplification: growth per step of the fastest growing mode.

        A number, or ``[...]`` for an array of steps.
        """
        return np.abs(np.linalg.eigvals(self.amplification(jacobian, dt))).max(-1)

    def is_stable(self, jacobian: NDArray[Any], dt: float) -> bool:
        """Whether no perturbation of ``dy/dt = jacobian y`` grows under steps of ``dt``."""
        return bool(self.radius(jacobian, dt) <= 1 + _GROWTH_TOLERANCE)

    def dt_limit(self, jacobian: NDArray[Any]) -> float:
        """Largest ``dt`` up to which every step is stable; ``inf`` if there is no limit.

        Zero if the system itself is unstable, for then no step can be called stable.
        """
        eigenvalues = np.linalg.eigvals(jacobian)
        if eigenvalues.real.max() >= 0:
            return 0.0
        if self.exact_if_linear:
            return math.inf
        fastest = (-eigenvalues.real / np.abs(eigenvalues) ** 2).min()  # half of Euler's limit
        slowest = 1 / np.abs(eigenvalues).min()
        grid = np.geomspace(1e-3 * fastest, _HORIZON * slowest, 4000)
        unstable = self.radius(jacobian, grid) > 1 + _GROWTH_TOLERANCE
        if not unstable.any():
            return math.inf
        first = int(unstable.argmax())
        if first == 0:
            return 0.0

        def growth(dt: float) -> float:
            return float(self.radius(jacobian, dt)) - 1

        last, next_ = grid[first - 1], grid[first]
        if growth(last) >= 0:
            return float(last)
        return float(scipy.optimize.brentq(growth, last, next_, xtol=1e-14))


@dataclass(frozen=True)
class RationalScheme(Scheme):
    """A one-step method whose stability function is ``P(q) / Q(q)``.

    Parameters
    ----------
    numerator, denominator
        Coefficients of ``P`` and ``Q``, constant term first. The order is derived from them: it
        is the number of Taylor coefficients that ``P / Q`` shares with ``exp``, less one.
    """

    numerator: tuple[float, ...] = (1.0,)
    denominator: tuple[float, ...] = (1.0,)

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

    def stability(self, q: Any) -> Any:
        return _horner(self.numerator, q) / _horner(self.denominator, q)

    def amplification(self, jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
        q = _scaled(jacobian, dt)
        p = sum(c * np.linalg.matrix_power(q, k) for k, c in enumerate(self.numerator))
        d = sum(c * np.linalg.matrix_power(q, k) for k, c in enumerate(self.denominator))
        return np.asarray(np.linalg.solve(d, p))


@dataclass(frozen=True)
class ExponentialScheme(Scheme):
    """Exact exponential of the Jacobian at the start of the step (Rosenbrock-Euler, order 2)."""

    exact_if_linear = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", 2)

    def stability(self, q: Any) -> Any:
        return np.exp(q)

    def amplification(self, jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
        return np.asarray(scipy.linalg.expm(_scaled(jacobian, dt)))


@dataclass(frozen=True)
class PartitionedScheme(Scheme):
    """Symplectic Euler: one variable first, the other with the first one's new value (order 1).

    Parameters
    ----------
    first
        Index of the variable that is updated first.
    """

    first: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", 1)

    def stability(self, q: Any) -> Any:
        """On a single variable there is nothing to partition: explicit Euler, ``1 + q``."""
        return 1 + q

    def amplification(self, jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
        q = _scaled(jacobian, dt)
        # Each substep changes one variable and keeps the other.
        of_first = (np.arange(2) == self.first)[:, None]
        return np.asarray((np.eye(2) + q * ~of_first) @ (np.eye(2) + q * of_first))


def get_scheme(scheme: str | Scheme) -> Scheme:
    """The scheme of that name; a `Scheme` passes through.

    Raises
    ------
    SaltationError
        If no scheme has that name; the message lists those that exist.
    """
    if isinstance(scheme, Scheme):
        return scheme
    return SCHEMES[choose("scheme", scheme, SCHEMES)]


def _scaled(jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
    """``jacobian dt``: ``[..., n, n]`` for ``dt`` of ``[...]``."""
    return np.asarray(jacobian * np.asarray(dt)[..., None, None])


def _horner(coefficients: tuple[float, ...], q: Any) -> Any:
    value = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        value = value * q + c
    return value


for _scheme in (
    RationalScheme("euler", "explicit Euler", numerator=(1, 1)),
    ExponentialScheme("exponential", "exponential"),
    PartitionedScheme("symplectic", "symplectic Euler, w first", first=1),
    PartitionedScheme("symplectic_v", "symplectic Euler, v first", first=0),
    RationalScheme("rk2", "Heun (RK2)", numerator=(1, 1, 1 / 2)),
    RationalScheme("rk4", "classical RK4", numerator=(1, 1, 1 / 2, 1 / 6, 1 / 24)),
    RationalScheme("implicit_euler", "implicit Euler", denominator=(1, -1)),
    RationalScheme("trapezoid", "trapezoidal rule", numerator=(1, 1 / 2), denominator=(1, -1 / 2)),
):
    SCHEMES[_scheme.name] = _scheme
