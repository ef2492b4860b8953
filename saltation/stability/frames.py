"""Perturbations of a state: their norms, pulling back, and orthonormal frames of several.

A state is a list of tensors ``[B, ...]``; a frame holds k vectors per sample, ``[k B, ...]``,
vector after vector. Growth never becomes infinite or NaN: it has a floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saltation.errors import SaltationError

# The least factor by which a perturbation is said to shrink: exact zero, from which there is no
# logarithm and no way back, counts as this.
FLOOR = 1e-12


def squares(parts: Sequence[Tensor], samples: int) -> Tensor:
    """Squared Euclidean norm of every part, ``[parts, samples]``."""
    return torch.stack([(part.reshape(samples, -1) ** 2).sum(1) for part in parts])


def safe_norm(square: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Square roots, at least ``floor``, with gradient 0 there; and where they were below it."""
    below = square <= floor * floor
    return torch.where(below, floor * floor, square).sqrt(), below


def along(scale: Tensor, part: Tensor) -> Tensor:
    """``scale`` [B] in the form that multiplies ``part`` [B, ...]."""
    return scale.view(-1, *[1] * (part.ndim - 1))


def noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers in the shape of ``like``, the same on every device."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return drawn.to(like.device)


class Orthonormal:
    """A frame after a decomposition ``V = Q R``.

    Attributes
    ----------
    q
        The parts of Q, of the shapes of those of V.
    log
        ``log |R_ii|`` [k, B], at least ``log FLOOR``.
    floored
        bool ``[k, B]``, where it would have been less, or is lost in rounding.

    Raises
    ------
    SaltationError
        If there are more vectors than numbers in a state.
    """

    def __init__(self, parts: Sequence[Tensor], k: int) -> None:
        samples = len(parts[0]) // k
        if k == 1:
            norm, below = safe_norm(squares(parts, samples).sum(0), FLOOR)
            scale = torch.where(below, 0, 1 / norm)
            self.q = [along(scale, part) * part for part in parts]
            self.log, self.floored = norm.log()[None], below[None]
            return
        sizes = [part[0].numel() for part in parts]
        if k > sum(sizes):
            raise SaltationError(f"a state of {sum(sizes)} numbers has no {k} exponents")
        flat = torch.cat([part.reshape(k, samples, -1) for part in parts], 2)
        q, diagonal, below = _decompose(flat.permute(1, 2, 0))
        vectors = torch.split(q.permute(2, 0, 1), sizes, 2)
        self.q = [v.reshape(p.shape) for v, p in zip(vectors, parts, strict=True)]
        self.log, self.floored = diagonal.log().T, below.T


def _decompose(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Q of ``v`` [B, N, k], ``|R_ii|`` [B, k] with its floor, and where that was needed."""
    q, r = torch.linalg.qr(v)
    if full_rank(r):
        diagonal = r.diagonal(dim1=1, dim2=2).abs()
        return q, diagonal, torch.zeros_like(diagonal, dtype=torch.bool)
    return _gram_schmidt(v)


def full_rank(r: Tensor) -> bool:
    """Whether in no decomposition of ``r`` [B, k, k] a column depends on those before it: whether
    a derivative exists."""
    return bool((r.diagonal(dim1=1, dim2=2).abs() > _lost(r)).all())


def _lost(columns: Tensor) -> Tensor:
    """What is left of a dependent column is rounding, in proportion to its length: the bound, for
    ``[B, N, k]``, below which it is taken for that."""
    length: Tensor = columns.detach().norm(dim=1)
    return (8 * torch.finfo(columns.dtype).eps * length).clamp(min=FLOOR)


def _gram_schmidt(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `_decompose`, column by column; one that is left with nothing becomes zero."""
    columns: list[Tensor] = []
    norms: list[Tensor] = []
    dead: list[Tensor] = []
    for column, least in zip(v.unbind(2), _lost(v).unbind(1), strict=True):
        rest = column
        if columns:
            before = torch.stack(columns, 2)
            for _ in range(2):  # once more, for what rounding left
                rest = rest - (before @ (before.mT @ rest[..., None]))[..., 0]
        norm, _ = safe_norm((rest**2).sum(1), FLOOR)
        below = norm <= least
        norm = torch.where(below, FLOOR, norm)
        columns.append(torch.where(below[:, None], 0, rest / norm[:, None]))
        norms.append(norm)
        dead.append(below)
    return torch.stack(columns, 2), torch.stack(norms, 1), torch.stack(dead, 1)
