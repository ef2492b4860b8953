"""Memory that is used again: large arrays that a kernel needs until its backward pass is over.

A fresh large array costs a page fault for every 4 KiB that is written, which can be more than the
work done on it. A `Loan` hands out arrays that earlier ones returned; they are returned when the
loan is no longer referenced, that is, when autograd has dropped what it saved.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Bytes of returned arrays that are kept; what is returned beyond them is freed.
_LIMIT = 2**29
_LARGE = 2**20  # numbers from which huge pages are asked for
_LINE = 64  # bytes of a line of the cache

_lock = threading.RLock()  # a loan may be collected while another one is being served
_free: dict[tuple[tuple[int, ...], torch.dtype], list[NDArray[Any]]] = {}
_bytes = 0


def fresh(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """As ``torch.empty``; large ones come in huge pages where the system gives them on request.

    numpy asks for them, torch does not; the first write to 100 MB then takes a third of the time.
    """
    if torch.are_deterministic_algorithms_enabled() or math.prod(shape) < _LARGE:
        return torch.empty(shape, dtype=dtype)
    size = math.prod(shape) * dtype.itemsize
    whole = np.empty(size + _LINE, np.uint8)
    first = -whole.ctypes.data % _LINE  # to the start of a line of the cache, as torch's are
    return torch.from_numpy(whole[first : first + size]).view(dtype).view(shape)


class Loan:
    """Arrays for as long as the loan lives; whoever uses them must hold it."""

    def __init__(self) -> None:
        self._lent: list[tuple[tuple[tuple[int, ...], torch.dtype], NDArray[Any]]] = []

    def array(self, *shape: int, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
        """An array that nobody else holds, with whatever was in it; aligned for vectors."""
        global _bytes
        key = (shape, dtype)
        found = None
        with _lock:
            if _free.get(key):
                found = _free[key].pop()
                _bytes -= found.nbytes
        if found is None:
            found = fresh(*shape, dtype=dtype).numpy()
        elif torch.are_deterministic_algorithms_enabled():
            # As torch.empty does then, so that what a kernel leaves unwritten shows.
            found.fill(float("nan") if found.dtype.kind == "f" else np.iinfo(found.dtype).max)
        self._lent.append((key, found))
        return found

    # Bound here, because the module's names are gone when the interpreter ends.
    def __del__(self, lock: Any = _lock, ending: Any = sys.is_finalizing) -> None:
        global _bytes
        if ending():
            return
        with lock:
            for key, array in self._lent:
                if _bytes + array.nbytes <= _LIMIT:
                    _free.setdefault(key, []).append(array)
                    _bytes += array.nbytes


class _Lent:
    """A lent array in numpy's form for what exposes one: who holds a view of it holds the loan."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._loan = Loan()
        self.__array_interface__ = self._loan.array(*shape).__array_interface__


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy of a float32 tensor in memory that is used again."""
    return torch.from_numpy(np.asarray(_Lent(tuple(tensor.shape)))).copy_(tensor)
