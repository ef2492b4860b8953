"""Perturbations of a state: their norms, pulling back, and orthonormal frames of several.

A state is a list of tensors ``[B, ...]``; a frame holds k vectors per sample, ``[k B, ...]``,
vector after vector. Vectors are scaled before their norms are taken, so that these hold over the
whole range of the dtype; those of half precision are computed in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from saltation.errors import SaltationError

# What a perturbation counts as that is lost: one that is exactly zero, below the normal numbers of
# its dtype or mere rounding, so that there is no logarithm and no way back.
FLOOR = 1e-12


def single(part: Tensor) -> Tensor:
    """``part``, at least in single precision."""
    return part.float() if part.dtype in (torch.float16, torch.bfloat16) else part


def squares(parts: Sequence[Tensor], samples: int) -> Tensor:
    """Squared Euclidean norm of every part, ``[parts, samples]``."""
    return torch.stack([(_rows(part, samples) ** 2).sum(1) for part in parts])


def _rows(part: Tensor, samples: int) -> Tensor:
    return part.reshape(samples, part.numel() // samples)


def along(scale: Tensor, part: Tensor) -> Tensor:
    """``scale`` [B] in the form that multiplies ``part`` [B, ...]."""
    return scale.view(-1, *[1] * (part.ndim - 1))


def noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape of ``like``, the same on every device and in every
    dtype up to its rounding."""
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float32)
    return drawn.to(like.device, like.dtype)


class Scaled:
    """A vector of every sample, scaled so that its largest number is 1.

    Attributes
    ----------
    parts
        The vector, at least in single precision; exactly 0 where it is lost.
    log
        Logarithm of what it was divided by, ``[B]``, without gradient.
    lost
        bool ``[B]``, where it was 0 or below the normal numbers of its dtype.

    Raises
    ------
    SaltationError
        If there are no numbers in it.
    """

    def __init__(self, parts: Sequence[Tensor], samples: int) -> None:
        flat = [_rows(part.detach(), samples) for part in parts if part.numel()]
        if not flat:
            raise SaltationError("the states of the neurons hold no number that could be perturbed")
        size = single(torch.stack([part.abs().amax(1) for part in flat]).amax(0))
        self.lost = size < torch.finfo(parts[0].dtype).tiny
        scale = torch.where(self.lost, 0, 1 / size)
        self.parts = [along(scale, part) * single(part) for part in parts]
        self.log = torch.where(self.lost, 0, size.log())


class Unit:
    """A vector of every sample, taken apart into direction and length.

    Attributes
    ----------
    parts
        The vector with length 1, of its dtype; exactly 0 where it is lost.
    log
        Logarithm of its length ``[B]``; log `FLOOR` where it is lost.
    lost
        bool ``[B]``, where it was 0 or below the normal numbers of its dtype.
    """

    def __init__(self, parts: Sequence[Tensor], samples: int) -> None:
        scaled = Scaled(parts, samples)
        self.lost = scaled.lost
        length = torch.where(self.lost, FLOOR, squares(scaled.parts, samples).sum(0)).sqrt()
        self.parts = [
            (along(1 / length, small) * small).to(part.dtype)
            for small, part in zip(scaled.parts, parts, strict=True)
        ]
        self.log = torch.where(self.lost, FLOOR, length).log() + scaled.log


def log_norm(parts: Sequence[Tensor], samples: int) -> Tensor:
    """Logarithm of the Euclidean norm ``[samples]``, at least that of the least normal number."""
    scaled = Scaled(parts, samples)
    least = math.log(torch.finfo(parts[0].dtype).tiny)
    square = torch.where(scaled.lost, 1, squares(scaled.parts, samples).sum(0))
    return torch.where(scaled.lost, least, square.log() / 2 + scaled.log)


class Orthonormal:
    """A frame after a decomposition ``V = Q R``.

    Attributes
    ----------
    q
        The parts of Q, of the shapes of those of V.
    log
        ``log |R_ii|`` [k, B]; log `FLOOR` where it is lost.
    floored
        bool ``[k, B]``, where it is.

    Raises
    ------
    SaltationError
        If there are more vectors than numbers in a state.
    """

    def __init__(self, parts: Sequence[Tensor], k: int) -> None:
        samples = len(parts[0]) // k
        if k == 1:
            unit = Unit(parts, samples)
            self.q, self.log, self.floored = unit.parts, unit.log[None], unit.lost[None]
            return
        sizes = [part[0].numel() for part in parts]
        if k > sum(sizes):
            raise SaltationError(f"a state of {sum(sizes)} numbers has no {k} exponents")
        scaled = Scaled(parts, k * samples)
        flat = torch.cat([part.reshape(k, samples, -1) for part in scaled.parts], 2)
        q, diagonal, below = _decompose(flat.permute(1, 2, 0))
        vectors = torch.split(q.permute(2, 0, 1), sizes, 2)
        self.q = [v.reshape(p.shape).to(p.dtype) for v, p in zip(vectors, parts, strict=True)]
        self.floored = below.T
        self.log = diagonal.log().T + torch.where(self.floored, 0, scaled.log.view(k, samples))


def _decompose(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Q of ``v`` [B, N, k], ``|R_ii|`` [B, k], and where that is lost and `FLOOR` in its place."""
    q, r = torch.linalg.qr(v)
    if full_rank(r):
        diagonal = r.diagonal(dim1=1, dim2=2).abs()
        return q, diagonal, torch.zeros_like(diagonal, dtype=torch.bool)
    return _gram_schmidt(v)


def full_rank(r: Tensor) -> bool:
    """Whether in no decomposition of ``r`` [B, k, k] a column depends on those before it: whether
    a derivative exists."""
    return bool((r.diagonal(dim1=1, dim2=2).abs() > _rounding(r)).all())


def _rounding(columns: Tensor) -> Tensor:
    """What is left of a dependent column is rounding, in proportion to its length: the bound, for
    ``[B, N, k]``, below which it is taken for that."""
    given = columns.detach()
    size = given.abs().amax(1).clamp(min=torch.finfo(given.dtype).tiny)
    length: Tensor = size * (given / size[:, None]).norm(dim=1)
    return (8 * torch.finfo(given.dtype).eps * length).clamp(min=torch.finfo(given.dtype).tiny)


def _gram_schmidt(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `_decompose`, column by column; one that is left with nothing becomes zero."""
    columns: list[Tensor] = []
    norms: list[Tensor] = []
    dead: list[Tensor] = []
    for column, least in zip(v.unbind(2), _rounding(v).unbind(1), strict=True):
        rest = column
        if columns:
            before = torch.stack(columns, 2)
            for _ in range(2):  # once more, for what rounding left
                rest = rest - (before @ (before.mT @ rest[..., None]))[..., 0]
        square = (rest**2).sum(1)
        below = square.detach().sqrt() <= least
        norm = torch.where(below, FLOOR**2, square).sqrt()
        columns.append(torch.where(below[:, None], 0, rest / norm[:, None]))
        norms.append(norm)
        dead.append(below)
    return torch.stack(columns, 2), torch.stack(norms, 1), torch.stack(dead, 1)
