"""The loss of a diagnosis: the user's, or cross-entropy of the first output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from saltation.errors import SaltationError

Loss = Callable[[Any, Tensor], Tensor]


def logits_of(output: Any) -> Tensor:
    """``[B, classes]`` from what a network returns: the first part, its mean over time.

    Raises
    ------
    SaltationError
        If there is no such tensor in it.
    """
    while isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim not in (2, 3):
        form = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise SaltationError(
            "the output must be [B, classes] or [T, B, classes], or a tuple whose first part is; "
            f"give a loss for any other, got {form}"
        )
    return output.mean(0) if output.ndim == 3 else output


def default_loss(output: Any, y: Tensor) -> Tensor:
    """Cross-entropy of `logits_of` the output.

    Raises
    ------
    SaltationError
        If the labels are not ``[B]`` of int64 from 0 to classes - 1, or probabilities.
    """
    logits = logits_of(output)
    samples, classes = logits.shape
    if not isinstance(y, Tensor):
        raise SaltationError(f"labels must be a tensor of int64, got {type(y).__name__}")
    if y.is_floating_point() and y.shape == logits.shape:
        return cross_entropy(logits, y)  # probabilities of classes
    if y.dtype != torch.int64:
        raise SaltationError(f"labels must be int64, as of y.long(), got {y.dtype}")
    if y.shape != (samples,):
        hint = "; of one-hot rows y.argmax(1)" if y.shape == logits.shape else ""
        if y.ndim == 1:
            hint = "; in sequences [T, B, ...] time comes first"
        raise SaltationError(
            f"labels must be [{samples}], one for each sample of the output "
            f"{list(logits.shape)}, got {list(y.shape)}{hint}"
        )
    if samples and not 0 <= int(y.min()) <= int(y.max()) < classes:
        first = "; they count from 0" if int(y.max()) == classes else ""
        raise SaltationError(
            f"labels must be from 0 to {classes - 1}, for the output has {classes} classes, got "
            f"{int(y.min())} to {int(y.max())}{first}"
        )
    return cross_entropy(logits, y)


def applied(loss: Loss | None, output: Any, y: Tensor) -> Tensor:
    """The value of the loss, which is the default one where none is given.

    Raises
    ------
    SaltationError
        If it is not a scalar tensor.
    """
    value = (loss or default_loss)(output, y)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        form = (
            f"{value.dtype} {list(value.shape)}"
            if isinstance(value, Tensor)
            else type(value).__name__
        )
        raise SaltationError(f"the loss must be a tensor of one floating-point number, got {form}")
    return value.reshape(())
