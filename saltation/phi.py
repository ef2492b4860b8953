"""``phi_1(M) = M^-1 (exp(M) - 1)`` in plain arithmetic, for matrices of few rows; ``exp(M)``.

By scaling and squaring (Al-Mohy & Higham, SIAM J. Matrix Anal., 2009, in its plainest form): with
``S = 2^-k M``, ``H = (exp(S) - 1) / 2`` and ``G = 1 + H``, doubling is ``phi_1(2S) = phi_1(S) G``
and ``H(2S) = 2 H G``, which loses no digits for small S. How often is fixed beforehand, so that a
step is the same operations for all neurons.

A matrix is a list of its rows, whose entries are numbers, tensors or operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saltation.operands import Operand, of_one

# Taylor's polynomial of phi_1 and the norm it is used up to: 0.25**12 / 13! < 1e-17.
_TAYLOR = tuple(1 / math.factorial(k + 1) for k in range(12))
_NORM = 0.25
# In single precision fewer terms are enough up to a greater norm, and so fewer doublings:
# 1 / 12! < 2^-28.
_FEW, _SPARED = _TAYLOR[:11], 2
_MOST = 12
# exp(32) is 8e13: nothing that grows so in a step is followed by it, and float32 holds its square.
GROWTH = 32.0
_EXPLODES = 3.0

Matrix = list[list[Any]]


def squarings(norm: float) -> int:
    """How often to double for matrices up to that norm."""
    if norm <= _NORM:
        return 0
    return min(_MOST, math.ceil(math.log2(norm / _NORM)))


def exponential(m: Tensor) -> Tensor:
    """``exp(m)`` of matrices ``[..., n, n]``.

    `torch.linalg.matrix_exp` errs by 3e-12 where the norm is just below 0.06.
    """
    norm = float(m.detach().abs().sum(-1).max()) if m.numel() else 0.0
    doublings = math.ceil(math.log2(norm / _NORM)) if _NORM < norm < math.inf else 0
    s = 2.0**-doublings * m
    one = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    p = _TAYLOR[-1] * one
    for coefficient in _TAYLOR[-2::-1]:
        p = p @ s + coefficient * one
    found = one + s @ p
    # Not of exp(m) - 1, of which what decays loses its digits.
    for _ in range(doublings):
        found = found @ found
    return found


def bound(times: int) -> float:
    """The norm up to which so many doublings are exact."""
    return float(_NORM * 2.0**times)


def within(entry: Any, limit: float, is_own: bool = True) -> Any:
    """An entry of a Jacobian held within a limit: any Jacobian leaves the method consistent.

    On the diagonal (``is_own``) it is held below `GROWTH` too.
    """
    high = min(limit, GROWTH) if is_own else limit
    if isinstance(entry, float | int):
        return max(-limit, min(high, entry))
    return entry.clamp(-limit, high)


def as_seen(m: Matrix) -> Matrix:
    """A Jacobian times the step with what variables see of each other."""
    return [
        [e if i == k else _seen(e, m[k][k]) for k, e in enumerate(row)] for i, row in enumerate(m)
    ]


def _seen(entry: Any, own: Any) -> Any:
    """What others see of a variable that grows by ``exp(own)`` in a step: ``entry``, or nothing
    where it explodes. It is about to spike, and its exponential is not the way it goes."""
    if isinstance(own, float | int):
        return entry if own <= _EXPLODES else 0.0
    if isinstance(entry, float | int) and entry == 0:
        return entry
    nothing = 0.0 * own
    return torch.where(own > _EXPLODES, nothing, entry + nothing)


def times(
    m: Matrix, vector: list[Any], doublings: int, made: Callable[[Matrix], Matrix] | None = None
) -> list[Any]:
    """``phi_1(M) vector`` for M = m, or for the matrix that is ``made`` of it."""
    if len(vector) == 1:
        return [_scalar(m[0][0], doublings) * vector[0]]
    made = made or _as_it_is
    if len(vector) == 2:
        return _two(m, vector, doublings, made)
    return _any(made(m), vector, doublings)


def _as_it_is(m: Matrix) -> Matrix:
    return m


def _series(m: Matrix, doublings: int) -> tuple[tuple[float, ...], int]:
    """Coefficients of the polynomial, and how often to double after it, in the precision of m."""
    kinds = {e.dtype for row in m for e in row if not isinstance(e, float | int)}
    if kinds and torch.float64 not in kinds:
        return _FEW, max(0, doublings - _SPARED)
    return _TAYLOR, doublings


def _scalar(z: Any, doublings: int) -> Any:
    taylor, doublings = _series([[z]], doublings)

    def doubled(half: Any) -> tuple[Any]:
        p: Any = 2.0 ** (len(taylor) - 1) * taylor[-1]
        for k in range(len(taylor) - 2, -1, -1):
            p = p * half + 2.0**k * taylor[k]
        h = p * half
        for _ in range(doublings):
            g = h + 1.0
            p, h = p * g, h * g
            h = h + h  # where products are many, a sum costs less
        return (p,)

    return of_one(doubled, 2.0 ** -(doublings + 1) * z)[0]


def _two(
    m: Matrix, vector: list[Any], doublings: int, made: Callable[[Matrix], Matrix]
) -> list[Any]:
    def of(entries: list[Any]) -> tuple[Any, Any]:
        return _pair(made([entries[:2], entries[2:]]), doublings)

    entries = [*m[0], *m[1]]
    varying = [i for i, entry in enumerate(entries) if isinstance(entry, Operand)]
    if len(varying) == 1 and not any(isinstance(entry, Tensor) for entry in entries):
        (i,) = varying
        before, after = entries[:i], entries[i + 1 :]
        p, q = of_one(lambda e: of([*before, e, *after]), entries[i])
    else:
        p, q = of(entries)
    return [
        p * own + q * (row[0] * vector[0] + row[1] * vector[1])
        for row, own in zip(made(m), vector, strict=True)
    ]


def _pair(m: Matrix, doublings: int) -> tuple[Any, Any]:
    """By Cayley and Hamilton every function of M is ``p + q M``: pairs of numbers instead of
    matrices, which need only M's trace t and determinant d."""
    (a, b), (c, d) = m
    taylor, doublings = _series(m, doublings)
    scale = 2.0**-doublings
    t, d = scale * (a + d), scale * scale * (a * d - b * c)
    p0: Any = taylor[-2]
    p1: Any = taylor[-1]
    for coefficient in taylor[-3::-1]:
        p0, p1 = coefficient - p1 * d, p0 + p1 * t
    h0, h1 = -0.5 * (p1 * d), 0.5 * (p0 + p1 * t)
    for _ in range(doublings):
        # G = g0 + h1 M
        g0, both, square = h0 + 1.0, p1 * h1, h1 * h1
        p0, p1, h0, h1 = (
            p0 * g0 - both * d,
            p0 * h1 + p1 * g0 + both * t,
            2.0 * (h0 * g0 - square * d),
            2.0 * ((h0 + g0) * h1 + square * t),
        )
    return p0, scale * p1


def _any(m: Matrix, vector: list[Any], doublings: int) -> list[Any]:
    taylor, doublings = _series(m, doublings)
    scale = 2.0**-doublings
    s = _scaled(m, scale)
    p = _plus_identity(_scaled(s, taylor[-1]), taylor[-2])
    for coefficient in taylor[-3::-1]:
        p = _plus_identity(_product(p, s), coefficient)
    h = _scaled(_product(p, s), 0.5)
    for _ in range(doublings):
        g = _plus_identity(h, 1.0)
        p, h = _product(p, g), _scaled(_product(h, g), 2.0)
    return [_dot(row, vector) for row in p]


def _dot(row: list[Any], column: list[Any]) -> Any:
    total = row[0] * column[0]
    for one, two in zip(row[1:], column[1:], strict=True):
        total = total + one * two
    return total


def _product(one: Matrix, two: Matrix) -> Matrix:
    columns = [list(column) for column in zip(*two, strict=True)]
    return [[_dot(row, column) for column in columns] for row in one]


def _scaled(m: Matrix, factor: float) -> Matrix:
    return [[factor * entry for entry in row] for row in m]


def _plus_identity(m: Matrix, number: float) -> Matrix:
    return [[e + number if i == k else e for k, e in enumerate(row)] for i, row in enumerate(m)]
