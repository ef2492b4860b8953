"""Text of Triton functions, run: what all loops on a GPU share."""

from __future__ import annotations

import functools
import linecache
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# Neurons of an instance: one per thread of four warps.
_BLOCK = 128


def executed(source: str, key: str) -> dict[str, Any]:
    """What that text of a module defines."""
    name = f"<saltation loop {key}>"
    # Triton reads the text of a function where Python's own tools look for it.
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    made: dict[str, Any] = {"__name__": f"saltation.kernels.gpu.loop_{key}"}
    exec(compile(source, name, "exec"), made)
    return made


@functools.lru_cache(maxsize=1024)
def numbers_on(values: bytes, device: torch.device) -> Tensor:
    """A program's numbers on the device, where they stay."""
    return torch.tensor(memoryview(values).cast("f").tolist() or [0.0], device=device)


def launched(kernel: Any, size: int, *arguments: Any, **options: Any) -> None:
    """Run a kernel on as many instances as ``size`` neurons take, where its tensors are."""
    device = next(a.device for a in arguments if isinstance(a, Tensor))
    is_cpu = device.type == "cpu"
    # One more instance takes the interpreter longer than more neurons do.
    block = min(1024, 1 << (size - 1).bit_length()) if is_cpu else _BLOCK
    on: AbstractContextManager[Any] = nullcontext() if is_cpu else torch.cuda.device(device)
    with on:
        # Contracted, products and sums would round otherwise than torch's.
        kernel[(-(-size // block),)](*arguments, BLOCK=block, enable_fp_fusion=False, **options)
