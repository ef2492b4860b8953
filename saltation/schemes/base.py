"""What every scheme is: a step made of an ODE's velocity, and what follows from it, its limit."""

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
        columns = identity(jacobian).unbind(0)
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


def identity(like: Tensor) -> Tensor:
    """The identity ``[n, n]`` of matrices ``[..., n, n]``."""
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def scaled(jacobian: Tensor, dt: Any) -> Tensor:
    """``jacobian dt``: ``[..., n, n]`` for ``dt`` of ``[...]``."""
    return jacobian * (dt[..., None, None] if isinstance(dt, Tensor) else dt)
