"""Functions that a network calls on one step ``[B, ...]``, on sequences ``[T, B, ...]``."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from saltation.errors import SaltationError

# Every number by itself: sequences need nothing else. Methods by their names.
_ELEMENTWISE: set[Any] = {
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd,
    operator.isub, operator.imul, torch.add, torch.sub, torch.mul, torch.div, torch.abs,
    torch.relu, torch.sigmoid, torch.tanh, torch.clamp, functional.relu, functional.leaky_relu,
    functional.gelu, functional.sigmoid, functional.tanh,
    "add", "sub", "mul", "div", "abs", "relu", "sigmoid", "tanh", "clamp", "neg", "contiguous",
    "clone", "detach", "float",
}  # fmt: skip
# Samples alike: steps are samples to them.
_FOLDED: set[Any] = {
    functional.max_pool1d, functional.max_pool2d, functional.avg_pool1d, functional.avg_pool2d,
    torch.max_pool1d, torch.max_pool2d, functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d, functional.interpolate,
}  # fmt: skip


@dataclass(frozen=True)
class Folded:
    """A function of ``[N, ...]`` on sequences, their steps as further samples."""

    function: Callable[..., Tensor]

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        made: Any = self.function(x.flatten(0, 1), *args, **kwargs)
        unfolded: Tensor = made.unflatten(0, x.shape[:2])
        return unfolded


@dataclass(frozen=True)
class Method:
    """A method of a tensor, as a function."""

    name: str

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, self.name)(*args, **kwargs)


@dataclass(frozen=True)
class Reshaped:
    """Another shape ``sizes`` of every sample: ``[T, B, ...]`` to ``[T, B, *sizes]``."""

    sizes: tuple[int, ...]

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(2) if self.sizes == (-1,) else x.reshape(*x.shape[:2], *self.sizes)


def flattened(x: Tensor, first: int, last: int) -> Tensor:
    """``torch.flatten`` of every step, whose dimensions are one further on in a sequence."""
    return x.flatten(first + 1, last if last < 0 else last + 1)


def joined(parts: Any, dim: int) -> Tensor:
    """Sequences side by side; what is the same at every step is shown at every step."""
    steps = max(len(part) for part in parts)
    return torch.cat([part.expand(steps, *part.shape[1:]) for part in parts], dim)


def first_steps(x: Tensor, steps: int) -> Tensor:
    """So many steps of a sequence, as a loop of that length takes them."""
    if len(x) < steps:
        raise SaltationError(f"the network takes {steps} steps, its input has {len(x)}")
    return x[:steps]


def stacked_samples(x: Tensor) -> Tensor:
    """``[T, B, ...]`` as ``[B, T, ...]``."""
    return x.transpose(0, 1)


def shown_for(x: Tensor, steps: int) -> Tensor:
    """What is the same at every step, ``[1, B, ...]``, as a sequence."""
    return x.expand(steps, *x.shape[1:])


def first_of(x: Tensor) -> Tensor:
    """Of what is the same at every step, one."""
    return x[0]


def alone(x: Tensor) -> Tensor:
    """One step as a sequence of one."""
    return x[None]


def total(x: Tensor) -> Tensor:
    """The sum over all steps."""
    return x.sum(0)


def on_sequences(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], is_size: Callable[[Any], bool]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The call on sequences that is ``target(*args, **kwargs)`` on every step.

    Parameters
    ----------
    target
        Function, or name of a method.
    args, kwargs
        Of the call.
    is_size
        Whether an argument is a number of samples.

    Raises
    ------
    SaltationError
        If it is not known what it would be.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    given = {k: v for k, v in kwargs.items() if k != "inplace"}
    if target in _ELEMENTWISE and not any(map(is_size, args)):
        return (Method(target) if isinstance(target, str) else target), args, given
    if target in _FOLDED and not any(map(is_size, args)):
        return Folded(target), args, given
    if name == "flatten":
        first = args[1] if len(args) > 1 else kwargs.get("start_dim", 0)
        last = args[2] if len(args) > 2 else kwargs.get("end_dim", -1)
        if isinstance(first, int) and first >= 1:
            return flattened, (args[0], first, last), {}
    if name in ("cat", "concat") and len(args) + len(kwargs) <= 2:
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        if isinstance(dim, int) and dim != 0:
            return joined, (args[0], dim + 1 if dim > 0 else dim), {}
    if name in ("view", "reshape") and not kwargs:
        shape = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
        if len(shape) > 1 and all(isinstance(size, int) for size in shape[1:]):
            # The first size is that of the samples, or what is left for them.
            return Reshaped(tuple(shape[1:])), (args[0],), {}
    raise SaltationError(
        f"'{name}' on one step of the network cannot be converted: of functions on steps, "
        "arithmetic, activations, pooling, cat, flatten and view that keep samples apart can"
    )
