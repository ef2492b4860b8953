"""Forward-mode derivatives that can be differentiated again.

torch derives the tangents of some fused functions from values it saved as constants, so that the
gradient of a tangent is silently wrong (batch and layer normalisation) or an error (softmax).
Within `differentiable` these functions are made of simple ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    shape = [1, -1] + [1] * (x.ndim - 2)
    if training or running_mean is None or running_var is None:
        over = [0, *range(2, x.ndim)]
        mean = x.mean(over, keepdim=True)
        variance = ((x - mean) ** 2).mean(over, keepdim=True)
    else:
        mean, variance = running_mean.view(shape), running_var.view(shape)
    scale = (variance + eps).rsqrt()
    y = (x - mean) * (scale if weight is None else scale * weight.view(shape))
    return y if bias is None else y + bias.view(shape)


def _layer_norm(
    x: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    over = list(range(-len(normalized_shape), 0))
    mean = x.mean(over, keepdim=True)
    y = (x - mean) * (((x - mean) ** 2).mean(over, keepdim=True) + eps).rsqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _softmax(x: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    e = (x - x.amax(dim, keepdim=True).detach()).exp()
    return e / e.sum(dim, keepdim=True)


def _log_softmax(x: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    shifted = x - x.amax(dim, keepdim=True).detach()
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


_SIMPLE: dict[Any, Callable[..., Tensor]] = {
    functional.batch_norm: _batch_norm,
    functional.layer_norm: _layer_norm,
    functional.softmax: _softmax,
    torch.softmax: _softmax,
    Tensor.softmax: _softmax,
    functional.log_softmax: _log_softmax,
    torch.log_softmax: _log_softmax,
    Tensor.log_softmax: _log_softmax,
}


class _Simple(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _SIMPLE.get(function, function)(*args, **(kwargs or {}))


@contextmanager
def differentiable() -> Iterator[None]:
    """Within the block tangents are carried along, and gradients of them are right."""
    with forward_ad.dual_level(), _Simple():
        yield


def dual(value: Tensor, tangent: Tensor) -> Tensor:
    """``value`` with a tangent."""
    made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return made


def parts(value: Tensor) -> tuple[Tensor, Tensor]:
    """The plain tensor and its tangent, zero where nothing has reached it."""
    plain, tangent = forward_ad.unpack_dual(value)  # type: ignore[no-untyped-call]
    return plain, torch.zeros_like(plain) if tangent is None else tangent
