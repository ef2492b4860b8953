"""Losses of the outputs of every step, ``[T, B, classes]``."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import cross_entropy

from saltation.errors import SaltationError


def tet_loss(
    outputs: Tensor, labels: Tensor, *, regulariser: float = 0.0, target: float = 1.0
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
    labels : Tensor, [B]
        Classes.
    regulariser : float, default 0
        λ, in [0, 1): how much outputs are held near the target. The authors' code begins with 1e-3.
    target : float, default 1
        φ; in the paper the threshold.

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
    if not isinstance(outputs, Tensor) or outputs.ndim != 3 or not len(outputs):
        given = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise SaltationError(
            f"outputs must be those of every step, [T, B, classes] with at least one, got {given}"
        )
    if labels.ndim != 1 or len(labels) != outputs.shape[1] or labels.is_floating_point():
        raise SaltationError(
            f"labels must be integers [B] for outputs [T, B, classes] = {list(outputs.shape)}, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    if not 0 <= regulariser < 1:
        raise SaltationError(f"regulariser must be in [0, 1), got {regulariser!r}")
    if not math.isfinite(target):
        raise SaltationError(f"target must be finite, got {target!r}")
    steps = len(outputs)
    # Samples of all steps weigh alike, so that the mean over steps is that over [T B].
    loss = cross_entropy(outputs.flatten(0, 1), labels.repeat(steps))
    if regulariser:
        loss = (1 - regulariser) * loss + regulariser * (outputs - target).square().mean()
    return loss
