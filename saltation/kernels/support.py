"""What the compiled loops can be called with. Asked on every call, so it imports neither numba
nor triton."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

F = TypeVar("F", bound=Callable[..., Any])

_DERIVATIVES = "it has no forward-mode derivative and no torch.func transform"


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


def unfit(dtype: torch.dtype, *tensors: Tensor, device: str = "cpu") -> str | None:
    """Why compiled loops for that kind of device cannot run on these tensors, or None; of tensors
    with tangents, on both."""
    for tensor in tensors:
        if tensor.device.type != device or tensor.dtype != dtype:
            return f"it takes {dtype} on {device}, not {tensor.dtype} on {tensor.device.type}"
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            return f"it takes plain tensors, not {type(tensor).__name__}"
        if tensor.numel() == 0:
            return "there is nothing to compute"
    # A private name without a public equal; torch.autograd.Function itself asks it.
    return _DERIVATIVES if torch._C._are_functorch_transforms_active() else None


def lacks(dtype: torch.dtype, *tensors: Tensor, device: str = "cpu") -> str | None:
    """Why compiled loops for that kind of device cannot run on these tensors, or None."""
    reason = unfit(dtype, *tensors, device=device)
    return reason or (_DERIVATIVES if has_tangents() else None)


def has_tangents() -> bool:
    """Whether tensors may have tangents here: whether forward mode is on."""
    return forward_ad._current_level >= 0


def with_tangent(x: Tensor, *constants: Tensor) -> tuple[Tensor, Tensor] | None:
    """``x`` and its tangent. None where it has none or ``constants`` have, and where these are not
    tensors for a kernel on a CPU."""
    if unfit(torch.float32, x, *constants):
        return None
    with torch._C.DisableTorchFunction():
        value, tangent = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
        others = (forward_ad.unpack_dual(part)[1] for part in constants)  # type: ignore[no-untyped-call]
        none = tangent is None or any(other is not None for other in others)
        return None if none else (value, tangent)


class _Joined:
    """Two contiguous tensors, one behind the other, in numpy's form for what exposes an array."""

    def __init__(self, one: Tensor, two: Tensor) -> None:
        self._held = one, two
        shape = 2, *one.shape
        self.__array_interface__ = one.numpy().__array_interface__ | {"shape": shape}


def joined(one: Tensor, two: Tensor) -> Tensor:
    """Both, without a graph, as ``[2, ...]``: where they lie if that is one behind the other on a
    CPU, as kernels make values and tangents; else a copy."""
    one, two = one.detach(), two.detach()
    end = one.data_ptr() + one.numel() * one.element_size()
    follows = one.device.type == "cpu" and two.data_ptr() == end
    if follows and one.is_contiguous() and two.is_contiguous():
        return torch.from_numpy(np.asarray(_Joined(one, two)))
    return torch.stack([one, two])
