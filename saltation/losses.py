"""Losses of the outputs of every step, ``[T, B, k]``, of samples that may end early."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from saltation.errors import SaltationError, positive, tensor
from saltation.layers.masks import check_mask


def mse_loss(
    outputs: Tensor, targets: Tensor, *, mask: Tensor | None = None, scale: float = 1.0
) -> Tensor:
    """Mean squared error of the outputs of every step.

    Parameters
    ----------
    outputs : Tensor, [T, B, k]
        Of every step.
    targets : Tensor, [T, B, k]
        What they are to be.
    mask : Tensor, [T, B], optional
        True, or a weight from 0 to 1, where a step counts; others get no gradient. See
        `lengths_mask`. Steps count alike, whichever sample they are of.
    scale : float, default 1
        What the error is divided by: with the variance of the targets the loss of who always
        answers with their mean is 1.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    SaltationError
        If shapes do not fit, or no step counts.
    """
    _check_outputs(outputs)
    if tensor("targets", targets).shape != outputs.shape or not targets.is_floating_point():
        raise SaltationError(
            f"targets must be floating point and of the shape of outputs, {list(outputs.shape)}, "
            f"got {targets.dtype} {list(targets.shape)}"
        )
    errors = (_within(outputs, mask) - targets).square().mean(-1)
    return _mean(errors, mask) / positive("scale", scale)


def _check_outputs(outputs: Tensor) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim != 3 or not len(outputs):
        given = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise SaltationError(
            f"outputs must be those of every step, [T, B, classes] with at least one, got {given}"
        )


def _within(outputs: Tensor, mask: Tensor | None) -> Tensor:
    """The outputs, with 0 where no step counts: what they are there, NaN too, has no effect."""
    if mask is None:
        return outputs
    check_mask(mask, outputs)
    return torch.where(mask[..., None] > 0, outputs, 0)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Over the steps that count, of values ``[T, B]``."""
    return values.mean() if mask is None else (values * mask).sum() / mask.sum()


def tet_loss(
    outputs: Tensor,
    labels: Tensor,
    *,
    regulariser: float = 0.0,
    target: float = 1.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Temporal efficient training: the mean over steps of each step's own cross-entropy.

    ``(1 - λ) 1/T sum over t of CE(O[t], y) + λ 1/T sum over t of MSE(O[t], φ)`` for the outputs O
    of a network, λ being the ``regulariser`` and φ the ``target``. The loss of the mean output is
    small where a few steps answer and the others do not matter; here every step has to answer, so
    that the gradient does not vanish with the loss of the mean. Source: Deng, Li, Zhang & Gu,
    "Temporal efficient training of spiking neural network via gradient re-weighting", ICLR 2022.

    Parameters
    ----------
    outputs : Tensor, [T, B, classes]
        Of every step; of the networks in `saltation.models` with ``per_step=True``.
    labels : Tensor, [B] or [T, B]
        Classes of the samples, or of every step.
    regulariser : float, default 0
        λ, in [0, 1): how much outputs are held near the target. The authors' code begins with 1e-3.
    target : float, default 1
        φ; in the paper the threshold.
    mask : Tensor, [T, B], optional
        Which steps count, as in `mse_loss`.

    Returns
    -------
    Tensor
        A scalar.

    Raises
    ------
    SaltationError
        If the outputs are not those of steps, the labels not one per sample, or a number is out of
        range.

    Examples
    --------
    >>> net = st.spiking_vgg(3, 10, per_step=True)
    >>> loss = st.tet_loss(net(images), labels)
    >>> accuracy = (net(images).mean(0).argmax(1) == labels).float().mean()
    """
    _check_outputs(outputs)
    shapes = (outputs.shape[1:2], outputs.shape[:2])
    if tensor("labels", labels).shape not in shapes or labels.is_floating_point():
        raise SaltationError(
            f"labels must be integers [B] or [T, B] for outputs [T, B, classes] = "
            f"{list(outputs.shape)}, got {labels.dtype} {list(labels.shape)}"
        )
    if not 0 <= regulariser < 1:
        raise SaltationError(f"regulariser must be in [0, 1), got {regulariser!r}")
    if not math.isfinite(target):
        raise SaltationError(f"target must be finite, got {target!r}")
    each = labels.expand(outputs.shape[:2])
    known = _within(outputs, mask).flatten(0, 1)
    losses = cross_entropy(known, each.flatten(), reduction="none")
    loss = _mean(losses.view(outputs.shape[:2]), mask)
    if regulariser:
        near = mse_loss(outputs, torch.full_like(outputs, target), mask=mask)
        loss = (1 - regulariser) * loss + regulariser * near
    return loss
