"""What holds for every estimate: the modes of torch it is made in, and one line if it fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stepping import Stepped

Function = TypeVar("Function", bound=Callable[..., Any])

_DEVICES = ("cpu", "cuda")


@contextmanager
def ordinary() -> Iterator[None]:
    """Within the block derivatives exist and numbers have the dtype they are given in.

    In inference mode torch drops tangents without a word: it is left, and what is computed has no
    gradient, as within ``torch.no_grad()``. Autocast rounds to 8 bits in between: it is off.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        for device in _autocast():
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def estimate(function: Function) -> Function:
    """``function(network, x, ...)`` made in `ordinary` modes.

    What torch says where the network cannot take ``x`` becomes a `SaltationError` of one line.
    """

    @wraps(function)
    def call(network: nn.Module | Stepped, x: Tensor, *args: Any, **options: Any) -> Any:
        cast_to = _weights_dtype(network) if _autocast() else None
        with ordinary():
            try:
                return function(network, _ordinary(x, cast_to), *args, **options)
            except (RuntimeError, IndexError) as error:
                if isinstance(error, torch.OutOfMemoryError) or not _in_a_module(error):
                    raise
                raise SaltationError(
                    f"the network cannot be taken through an input of "
                    f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}: "
                    f"{str(error).partition(chr(10))[0]}"
                ) from error

    return cast(Function, call)


def _ordinary(x: Any, dtype: torch.dtype | None) -> Any:
    """``x`` as an input outside inference mode, and of ``dtype`` if one is given."""
    if not isinstance(x, Tensor):
        return x  # whoever takes it says so
    given = x.clone() if x.is_inference() else x
    return given.to(dtype) if dtype is not None and x.is_floating_point() else given


def _in_a_module(error: BaseException) -> bool:
    """Whether it was raised while a module of torch was called."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code is nn.Module._call_impl.__code__ for frame, _ in frames)


def _autocast() -> list[str]:
    """Devices on which autocast is on."""
    return [device for device in _DEVICES if torch.is_autocast_enabled(device)]


def _weights_dtype(network: nn.Module | Stepped) -> torch.dtype | None:
    module = network.network if isinstance(network, Stepped) else network
    kinds = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(kinds, None)
