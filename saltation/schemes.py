"""Integration schemes: each is one step made of an ODE's velocity, and knows its order and limit.

A scheme is given a `System`, whatever its neuron, and makes the state at the end of a step from the
current and the state at its start. On a linear system ``dy/dt = J y`` a step is the multiplication
with a matrix, `Scheme.amplification`, which every scheme that is a formula in the velocity finds by
running itself on unit vectors; a step is stable when no mode grows: the spectral radius of that
matrix is at most one. So adding a scheme is adding its step.

Sources: Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", 1993 (Runge-Kutta);
Hairer & Wanner, II, 1996 (stability functions); Hochbruck & Ostermann, "Exponential integrators",
2010 (Rosenbrock-Euler); Hairer, Lubich & Wanner, "Geometric Numerical Integration", 2006
(symplectic Euler); Shu & Osher, J. Comput. Phys., 1988 (SSP); Rush & Larsen, IEEE Trans. Biomed.
Eng., 1978 (exponential per variable).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation import phi
from saltation.derivatives import jacobian as derivatives
from saltation.errors import SaltationError, choose

SCHEMES: dict[str, Scheme] = {}

# Rounding in the spectral radius must not be read as growth.
_GROWTH_TOLERANCE = 1e-9
# Beyond this many time constants of the slowest mode a scheme counts as always stable.
_HORIZON = 1e4


class System(Protocol):
    """What a step is made of."""

    @property
    def dt(self) -> Any:
        """Length of a step."""

    @property
    def stiffness(self) -> float:
        """A bound on the norm of ``dt J`` where the state usually is, J the Jacobian."""

    def velocity(self, x: Any, *state: Any) -> Sequence[Any]:
        """Time derivatives of the state, in plain torch operations."""


class _Linear:
    """``dy/dt = J y`` for the columns of matrices: variable i is ``[..., columns]``."""

    stiffness = 0.0

    def __init__(self, jacobian: Tensor, dt: Any) -> None:
        self._rows = jacobian.unsqueeze(-1).unbind(-3)
        self.dt = dt

    def velocity(self, x: Any, *state: Any) -> list[Any]:
        return [
            sum(factor * part for factor, part in zip(row.unbind(-2), state, strict=True))
            for row in self._rows
        ]


@dataclass(frozen=True)
class Scheme(ABC):
    """Base of all schemes; one that is made enters `SCHEMES` by `add_scheme`.

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
    linear_only
        True if there is a step for linear systems alone.
    """

    name: str
    title: str
    order: int = field(init=False)

    exact_if_linear = False
    linear_only = False
    fewest_variables = 1
    alone = ""  # why not for fewer

    @abstractmethod
    def step(self, system: System, x: Any, state: Sequence[Any]) -> list[Any]:
        """The state at the end of a step with input ``x``, tensors of any shape or operands."""

    def propagator(self, jacobian: Tensor, dt: Any) -> Tensor:
        """What one step applies to ``dy/dt = jacobian y``: ``[..., n, n]``, float64.

        ``dt`` is a number, or ``[...]`` for a step each.
        """
        columns = _identity(jacobian).unbind(0)
        dt = dt[..., None] if isinstance(dt, Tensor) else dt
        after = self.step(_Linear(jacobian, dt), 0.0, columns)
        return stacked(after, -2)

    def amplification(self, jacobian: NDArray[Any], dt: Any) -> NDArray[Any]:
        """What one step of length ``dt`` applies to ``dy/dt = jacobian y``.

        A matrix ``[n, n]`` for a number, ``[..., n, n]`` for an array of steps ``[...]``.
        """
        matrix = torch.from_numpy(np.array(jacobian, np.float64))
        steps: Any = torch.from_numpy(np.array(dt, np.float64)) if np.ndim(dt) else float(dt)
        if isinstance(steps, Tensor):
            matrix = matrix.expand(*steps.shape, *matrix.shape[-2:])
        return self.propagator(matrix, steps).numpy()

    def stability(self, q: Any) -> Any:
        """The stability function ``R(q)``, ``q = lambda dt``, of a number or an array, real or
        complex."""
        kind = np.complex128 if np.iscomplexobj(q) else np.float64
        value = torch.as_tensor(np.array(q, kind), device="cpu")
        found = self.propagator(value[..., None, None], 1.0)[..., 0, 0]
        return found.numpy() if np.ndim(q) else found.item()

    def refuses(self, variables: int, linear: bool) -> str | None:
        """Why a neuron with so many variables cannot be integrated by it, or None."""
        if self.linear_only and not linear:
            return "it is implicit, and the model is nonlinear"
        if variables < self.fewest_variables:
            return self.alone
        return None

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
        from scipy.optimize import brentq  # the import takes long

        return float(brentq(growth, last, next_, xtol=1e-14))


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
        q = _scaled(jacobian, dt)
        p, d = (_polynomial(c, q) for c in (self.numerator, self.denominator))
        found: Tensor = torch.linalg.solve(d, p)
        return found


def _polynomial(coefficients: tuple[float, ...], q: Tensor) -> Tensor:
    one = _identity(q)
    value: Tensor = coefficients[-1] * one.expand_as(q)
    for c in reversed(coefficients[:-1]):
        value = value @ q + c * one
    return value


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
        return phi.exponential(_scaled(jacobian, dt))


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
        q = _scaled(jacobian, dt)
        total = one = _identity(q).expand_as(q)
        old = one
        for i in range(q.shape[-1]):
            own = q[..., i, i, None]
            # Exact for the constant slope; expm1 keeps the digits of small ones.
            gain = torch.where(own == 0, torch.ones_like(own), torch.expm1(own) / own)
            seen = total if self.in_turn else old
            row = old[..., i, :] + gain * (q[..., None, i, :] @ seen)[..., 0, :]
            total = torch.cat((total[..., :i, :], row[..., None, :], total[..., i + 1 :, :]), -2)
        return total


def add_scheme(scheme: Scheme) -> Scheme:
    """Enter ``scheme`` in `SCHEMES`, for every model that it can integrate, and return it.

    Raises
    ------
    SaltationError
        If another scheme has the name.
    """
    old = SCHEMES.get(scheme.name, scheme)
    if (old, type(old).__qualname__) != (scheme, type(scheme).__qualname__):
        raise SaltationError(
            f"scheme '{scheme.name}' is taken by {old.title}: give it another name"
        )
    SCHEMES[scheme.name] = scheme
    return scheme


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


def stacked(parts: Sequence[Any], dim: int) -> Tensor:
    """Numbers and tensors that broadcast, in float64, along a new axis."""
    # Numbers on the tensors' device, if there are any, whatever torch's default is.
    device = next((p.device for p in parts if isinstance(p, Tensor)), "cpu")
    wide = [torch.as_tensor(p, dtype=_wide(p), device=device) for p in parts]
    return torch.stack(torch.broadcast_tensors(*wide), dim)  # type: ignore[no-untyped-call]


def _wide(part: Any) -> torch.dtype:
    is_complex = part.is_complex() if isinstance(part, Tensor) else isinstance(part, complex)
    return torch.complex128 if is_complex else torch.float64


def _identity(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _scaled(jacobian: Tensor, dt: Any) -> Tensor:
    """``jacobian dt``: ``[..., n, n]`` for ``dt`` of ``[...]``."""
    return jacobian * (dt[..., None, None] if isinstance(dt, Tensor) else dt)


_HALF, _THIRD, _SIXTH = 1 / 2, 1 / 3, 1 / 6

for _scheme in (
    Tableau("euler", "explicit Euler"),
    ExponentialScheme("exponential", "exponential"),
    PartitionedScheme("symplectic", "symplectic Euler, w first"),
    PartitionedScheme("symplectic_v", "symplectic Euler, v first", potential_first=True),
    Tableau("rk2", "Heun (RK2)", a=((1,),), b=(_HALF, _HALF)),
    Tableau("rk3", "Kutta (RK3)", a=((_HALF,), (-1, 2)), b=(_SIXTH, 2 * _THIRD, _SIXTH)),
    Tableau(
        "ssprk3", "Shu-Osher (SSPRK3)", a=((1,), (1 / 4, 1 / 4)), b=(_SIXTH, _SIXTH, 2 * _THIRD)
    ),
    Tableau("heun", "Heun", a=((1,),), b=(_HALF, _HALF)),
    Tableau(
        "rk4",
        "classical RK4",
        a=((_HALF,), (0, _HALF), (0, 0, 1)),
        b=(_SIXTH, _THIRD, _THIRD, _SIXTH),
    ),
    PerVariableScheme("exponential_split", "exponential per variable"),
    PerVariableScheme("exponential_symplectic", "exponential per variable, in turn", in_turn=True),
    RationalScheme("implicit_euler", "implicit Euler", denominator=(1, -1)),
    RationalScheme("trapezoid", "trapezoidal rule", numerator=(1, _HALF), denominator=(1, -_HALF)),
):
    add_scheme(_scheme)
