"""What the compiled loops can be called with. Asked on every call, so it imports neither numba
nor triton."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

F = TypeVar("F", bound=Callable[..., Any])


def apart(function: F) -> F:
    """``function``, which torch.compile calls as it is.

    As `torch.compiler.disable`, but that imports the compiler at once, which takes a second.
    """
    disabled = torch._disable_dynamo(function)  # type: ignore[attr-defined]

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if torch.compiler.is_compiling():
            return disabled(*arguments, **options)
        return function(*arguments, **options)

    return call  # type: ignore[return-value]


def lacks(dtype: torch.dtype, *tensors: Tensor, device: str = "cpu") -> str | None:
    """Why compiled loops for that kind of device cannot run on these tensors, or None."""
    for tensor in tensors:
        if tensor.device.type != device or tensor.dtype != dtype:
            return f"it takes {dtype} on {device}, not {tensor.dtype} on {tensor.device.type}"
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            return f"it takes plain tensors, not {type(tensor).__name__}"
        if tensor.numel() == 0:
            return "there is nothing to compute"
    # Private names without public equals; torch.autograd.Function itself asks them.
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "it has no forward-mode derivative and no torch.func transform"
    return None
