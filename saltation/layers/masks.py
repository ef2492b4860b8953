"""Which steps belong to a sample, where samples of one batch are of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.errors import SaltationError, count, tensor


def lengths_mask(lengths: Tensor, steps: int) -> Tensor:
    """Which steps belong to samples of these lengths: bool ``[steps, B]``.

    Readouts, `SpikingMLP` and the losses of `saltation.losses` take it: padding then changes
    nothing.

    Parameters
    ----------
    lengths : Tensor, [B]
        Steps of every sample, integers from 1 to ``steps``.
    steps : int
        Those of the longest, or more.

    Raises
    ------
    SaltationError
        If lengths are no integers, or out of range.
    """
    steps = count("steps", steps)
    if tensor("lengths", lengths).ndim != 1 or lengths.is_floating_point():
        raise SaltationError(
            f"lengths must be integers [B], got {lengths.dtype} {list(lengths.shape)}"
        )
    if len(lengths) and not 1 <= int(lengths.min()) <= int(lengths.max()) <= steps:
        raise SaltationError(
            f"lengths must be from 1 to the {steps} steps, got {int(lengths.min())} to "
            f"{int(lengths.max())}"
        )
    return torch.arange(steps, device=lengths.device)[:, None] < lengths


def check_mask(mask: Tensor, outputs: Tensor) -> None:
    """Refuse what is no mask ``[T, B]`` of ``outputs [T, B, ...]``.

    Raises
    ------
    SaltationError
        If its shape is another, or there is a sample without a step.
    """
    if tensor("mask", mask).shape != outputs.shape[:2]:
        raise SaltationError(
            f"mask must be [T, B] = {list(outputs.shape[:2])}, got {list(mask.shape)}"
        )
    if not bool((mask > 0).any(0).all()):
        raise SaltationError("mask must leave every sample at least one step")
