"""Forward-mode derivatives that can be differentiated again, and cost no more than they must.

torch derives the tangents of some fused functions from values it saved as constants, so that the
gradient of a tangent is silently wrong (batch and layer normalisation) or an error (softmax).
Within `differentiable` these functions are made of simple ones. And where only one operand has a
tangent, torch makes up the other's out of zeros, at tens of times the cost of the operation: for
the usual operations the rule for one tangent stands here.
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

from saltation.operands import Operand


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
    """By its own rule: y = γ c / σ with c = x - mean, dy = γ (dc - c mean(c dc) / σ²) / σ."""
    shape = [1, -1] + [1] * (x.ndim - 2)
    p, t = _split(x)
    gain, offset = (None if w is None else w.view(shape) for w in (weight, bias))
    over = [0, *range(2, x.ndim)]
    own = training or running_mean is None or running_var is None
    if training or running_mean is None or running_var is None:
        centred = p - p.mean(over, keepdim=True)
        variance = centred.square().mean(over, keepdim=True)
    else:
        centred, variance = p - running_mean.view(shape), running_var.view(shape)
    scale = (variance + eps).rsqrt()
    factor = scale if gain is None else scale * gain
    y: Tensor = centred * factor if offset is None else centred * factor + offset
    if t is None:
        return y
    if own:
        t = t - t.mean(over, keepdim=True)
        t = t - centred * ((centred * t).mean(over, keepdim=True) * scale.square())
    return dual(y, t * factor)


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
    **dict.fromkeys((functional.softmax, torch.softmax, Tensor.softmax), _softmax),
    **dict.fromkeys((functional.log_softmax, torch.log_softmax, Tensor.log_softmax), _log_softmax),
}


def _split(x: Any) -> tuple[Any, Tensor | None]:
    return forward_ad.unpack_dual(x) if isinstance(x, Tensor) else (x, None)  # type: ignore[no-untyped-call]


def _one_tangent(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for the case that one of two operands has a tangent; None in the other cases."""

    def apply(_: Any, a: Any, b: Any) -> Tensor | None:
        (p, t), (q, s) = _split(a), _split(b)
        return None if (t is None) == (s is None) else dual(*rule(p, t, q, s))

    return apply


def _add(p: Any, t: Any, q: Any, s: Any) -> tuple[Tensor, Tensor]:
    value = p + q
    return value, (s if t is None else t).expand_as(value)


def _sub(p: Any, t: Any, q: Any, s: Any) -> tuple[Tensor, Tensor]:
    value = p - q
    return value, (-s if t is None else t).expand_as(value)


def _mul(p: Any, t: Any, q: Any, s: Any) -> tuple[Tensor, Tensor]:
    return p * q, p * s if t is None else t * q


def _div(p: Any, t: Any, q: Any, s: Any) -> tuple[Tensor, Tensor]:
    value = p / q
    return value, -value * s / q if t is None else t / q


def _matmul(p: Any, t: Any, q: Any, s: Any) -> tuple[Tensor, Tensor]:
    return p @ q, p @ s if t is None else t @ q


def _weighted(function: Any, x: Tensor, weight: Tensor, bias: Any = None, *rest: Any) -> Any:
    """Linear in x: a dense layer or a convolution whose weights have no tangent."""
    p, t = _split(x)
    if t is None or _split(weight)[1] is not None or _split(bias)[1] is not None:
        return None
    return dual(function(p, weight, bias, *rest), function(t, weight, None, *rest))


def _where(_: Any, condition: Tensor, *choices: Any) -> Tensor | None:
    if len(choices) != 2:
        return None
    (p, t), (q, s) = map(_split, choices)
    if (t is None) == (s is None):
        return None
    return dual(
        torch.where(condition, p, q),
        torch.where(condition, 0 if t is None else t, 0 if s is None else s),
    )


def _swapped(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda function, a, b: rule(function, b, a)


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _one_tangent(_add)),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.__sub__), _one_tangent(_sub)),
    **dict.fromkeys((torch.rsub, Tensor.__rsub__), _swapped(_one_tangent(_sub))),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), _one_tangent(_mul)),
    **dict.fromkeys((torch.div, Tensor.div, Tensor.__truediv__), _one_tangent(_div)),
    Tensor.__rtruediv__: _swapped(_one_tangent(_div)),
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _one_tangent(_matmul)),
    **dict.fromkeys((functional.linear, torch.conv1d, torch.conv2d, torch.conv3d), _weighted),
    torch.where: _where,
}


class _Simple(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        rule = None if kwargs else _RULES.get(function)
        # What stands in for a tensor has rules of its own.
        if rule is not None and not any(isinstance(part, Operand) for part in args):
            found = rule(function, *args)
            if found is not None:
                return found
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
