"""What follows from a model's equations by linear algebra: rest, affine steps, stiffness.

Coefficients are numbers, or tensors of one per neuron, which may be learned: then so is what is
made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation import phi
from saltation.affine import Affine, is_zero
from saltation.derivatives import jacobian
from saltation.errors import SaltationError
from saltation.neurons.made import said
from saltation.schemes import Scheme, stacked

R = TypeVar("R")

# The Jacobian of a nonlinear model is looked at within so many times the range of its potentials:
# the first at which its norm is moderate. Beyond, schemes hold it fast.
_RANGES = (8.0, 4.0, 2.0, 1.0)
_MODERATE = 256.0


@dataclass(frozen=True)
class AffineStep:
    """``h = rest + M (state - rest) + N x`` (+ ``c`` where nothing rests); None where M and N have
    no entry whatever the numbers are.

    Sources: Rotter & Diesmann, "Exact digital simulation of time-invariant linear systems with
    applications to neuronal modeling", Biol. Cybern., 1999.
    """

    m: tuple[tuple[Any, ...], ...]
    n: tuple[Any, ...]
    rest: tuple[Any, ...]
    c: tuple[Any, ...]

    def __call__(self, x: Any, state: Sequence[Any]) -> list[Any]:
        """The state before the jump."""
        away = [
            part if is_zero(r) else part - _met(r, x)
            for part, r in zip(state, self.rest, strict=True)
        ]
        return [
            _total(
                *(_met(f, x) * p for f, p in zip(row, away, strict=True) if f is not None),
                *([] if n is None else [_met(n, x) * x]),
                *(_met(r, x) for r in (rest, c) if not is_zero(r)),
            )
            for row, n, rest, c in zip(self.m, self.n, self.rest, self.c, strict=True)
        ]


def _total(first: Any, *others: Any) -> Any:
    for other in others:
        first = first + other
    return first


def _met(coefficient: Any, x: Any) -> Any:
    """A coefficient in the type of what it meets."""
    return coefficient.to(x.dtype) if isinstance(coefficient, Tensor) else coefficient


def on_cpu(function: Callable[[Any], R]) -> Callable[[Any], R]:
    """What is found of a neuron's numbers, whatever device torch is told to make tensors on."""

    @wraps(function)
    def found(neuron: Any) -> R:
        with torch.device("cpu"):
            return function(neuron)

    return found


def shared(function: Callable[[Any], R]) -> Callable[[Any], R]:
    """What is found of a neuron's numbers alone, as `on_cpu`: once for all neurons that are equal.

    It must be a value that nobody changes. Where parameters are tensors each neuron finds its own.
    """
    found = on_cpu(function)
    known = lru_cache(maxsize=256)(found)

    @wraps(function)
    def of(neuron: Any) -> R:
        return found(neuron) if neuron.tensors else known(neuron)

    return of


def matrix(rows: Sequence[Sequence[Any]]) -> Tensor:
    """Rows of numbers and tensors that broadcast, as ``[..., n, n]``, float64."""
    flat = stacked([entry for row in rows for entry in row], -1)
    return flat.view(*flat.shape[:-1], len(rows), -1)


def number_of(value: Any) -> Tensor:
    """A number or tensor in float64; a number on the CPU, whatever torch's default is."""
    device = value.device if isinstance(value, Tensor) else "cpu"
    return torch.as_tensor(value, dtype=torch.float64, device=device)


def each(jacobians: NDArray[Any]) -> NDArray[Any]:
    """One matrix after the other, equal ones once: ``[N, n, n]``."""
    size = jacobians.shape[-1]
    return np.unique(jacobians.reshape(-1, size * size), axis=0).reshape(-1, size, size)


def fixed_point(equations: list[Affine]) -> tuple[Any, ...]:
    """Where ``J y + c = 0``; zeros where nothing rests, for there an integrator starts."""
    constants = [e.constant for e in equations]
    if all(map(is_zero, constants)):
        return (0.0,) * len(equations)
    j = matrix([e.factors[1:] for e in equations])
    c = stacked(constants, -1)
    if bool((torch.linalg.det(j.detach()) == 0).any()):
        return (0.0,) * len(equations)
    y = -torch.linalg.solve(j, c.unsqueeze(-1)).squeeze(-1)
    return tuple(_number(part) for part in y.unbind(-1))


def _number(value: Tensor) -> Any:
    return value if value.ndim or value.requires_grad else float(value)


def affine_step(equations: list[Affine], scheme: Scheme, dt: float) -> AffineStep:
    """The step of linear equations, of which the current is the first unknown."""
    # With x and 1 as further variables that do not change, the propagator of the larger system
    # holds M, N and c side by side: there is no difference M - 1 that would lose digits of small
    # steps. The order of the variables counts, for schemes that update one after the other.
    size = len(equations)
    own = [[*e.factors[1:], e.factors[0], e.constant] for e in equations]
    driven = [*own, *([0.0] * (size + 2) for _ in range(2))]
    found = scheme.propagator(matrix(driven), dt)
    pattern = scheme.propagator(matrix(_pattern(driven)), 0.01)
    entries = [
        [_number(found[..., i, k]) if pattern[i, k] != 0 else None for k in range(size + 2)]
        for i in range(size)
    ]
    rest = fixed_point(equations)
    rests = not all(map(is_zero, rest))
    return AffineStep(
        m=tuple(tuple(row[:size]) for row in entries),
        n=tuple(row[size] for row in entries),
        rest=rest,
        c=tuple(0.0 if rests or row[-1] is None else row[-1] for row in entries),
    )


def struck(step: AffineStep, gains: Sequence[Any]) -> AffineStep:
    """The step with impulses: the state jumps by ``gains x``, then goes through it without
    input."""
    n = []
    for row in step.m:
        terms = [m * g for m, g in zip(row, gains, strict=True) if m is not None and not is_zero(g)]
        n.append(_total(*terms) if terms else None)
    return replace(step, n=tuple(n))


def _pattern(rows: list[list[Any]]) -> list[list[float]]:
    """Where coefficients are, with numbers of which no sum of products is zero by chance."""
    return [
        [0.37 + 0.61 * ((7 * i + 3 * k) % 11) if not is_zero(e) else 0.0 for k, e in enumerate(row)]
        for i, row in enumerate(rows)
    ]


def search(neuron: Any) -> tuple[Any, ...]:
    """The resting state of a nonlinear model by Newton's method from its reset on."""
    start = neuron.initial() if "initial" in said(type(neuron)) else _start(neuron)
    y = [number_of(part) for part in start]
    for _ in range(200):
        f, rows = jacobian(lambda *z: neuron.velocity(0.0, *z), y)
        j = matrix(rows)
        v = stacked(f, -1)
        try:
            move = torch.linalg.solve(j.detach(), v.unsqueeze(-1)).squeeze(-1)
        except RuntimeError:
            break
        # Not further than the potentials' own range, so that exponentials stay finite.
        limit = _scale(neuron)
        y = [part - m.clamp(-limit, limit) for part, m in zip(y, move.unbind(-1), strict=True)]
        if bool((move.detach().abs() <= 1e-13 * (1 + _largest(y))).all()):
            return tuple(_number(part) for part in y)
        y = [part.detach() for part in y]
    raise SaltationError(
        f"{neuron.title} has no resting state with these parameters: define initial(self), the "
        "state before the first input"
    )


def _start(neuron: Any) -> list[Any]:
    return [
        getattr(neuron, "v_rest", neuron.v_reset),
        *([0.0] * (len(type(neuron).State._fields) - 1)),
    ]


def _largest(parts: list[Tensor]) -> float:
    return max(float(part.detach().abs().max()) for part in parts)


def _scale(neuron: Any) -> float:
    """The largest of the model's potentials, by their names."""
    known = (getattr(neuron, name) for name in neuron.parameters() if name.startswith("v_"))
    sizes = [float(number_of(v).detach().abs().max()) for v in known]
    return max(sizes, default=0.0) or 1.0


def stiffness(neuron: Any) -> float:
    """A bound on the norm of ``dt J`` over the range of the potential."""
    start = [number_of(p).detach() for p in neuron.initial()]

    def norm(v: Any) -> float:
        _, rows = jacobian(lambda *y: neuron.velocity(0.0, *y), [v, *start[1:]])
        held = neuron.dt * matrix(rows).detach()
        own = held.diagonal(dim1=-2, dim2=-1)
        own.clamp_(max=phi.GROWTH)
        return float(held.abs().sum(-1).nan_to_num(torch.inf).max())

    # An upstroke is steepest at the threshold, where it may end.
    threshold = number_of(neuron.v_threshold).detach()
    # There entries must not be held: what decays fast would be moved too far. They are within the
    # norm over their number.
    usual = len(start) * max(norm(start[0]), norm(threshold))
    share = len(start) if len(start) > 2 else 1  # as above, where one entry may be the norm
    for wide in _RANGES:
        ends = (number_of(v * _scale(neuron)) for v in (-wide, wide))
        found = max(usual, *(share * norm(end) for end in ends))
        if found <= _MODERATE:
            return found
    return max(_MODERATE, usual)
