"""Memory that is used again: large arrays that a kernel needs until its backward pass is over.

A fresh large array costs a page fault for every 4 KiB that is written, which can be more than the
work done on it. A `Loan` hands out arrays that earlier ones returned; they are returned when the
loan is no longer referenced, that is, when autograd has dropped what it saved. Arrays of about as
many bytes are used for each other, whatever their shapes; small ones are fresh.
"""

from __future__ import annotations

import functools
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
_SMALL = 2**12  # bytes up to which a fresh array costs less than one that is used again

_lock = threading.RLock()  # a loan may be collected while another one is being served
_free: dict[int, list[NDArray[np.uint8]]] = {}  # by their length
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


def _length(size: int) -> int:
    """Bytes of an array that has room for ``size``: some lines, at most an eighth more."""
    step = max(_LINE, 1 << max(0, size.bit_length() - 4))
    return max(1, -(-size // step)) * step


@functools.lru_cache(maxsize=1024)
def _layout(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[int, int, Any]:
    """Bytes of an array, those of one that has room for it, and numpy's type of its numbers."""
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    size = math.prod(shape) * kind.itemsize
    return size, _length(size), kind


class Loan:
    """Arrays for as long as the loan lives; whoever uses them must hold it."""

    def __init__(self) -> None:
        self._lent: list[NDArray[np.uint8]] = []

    def array(self, *shape: int, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
        """An array that nobody else holds, with whatever was in it; large ones begin with a
        line of the cache."""
        global _bytes
        size, length, kind = _layout(shape, dtype)
        if size < _SMALL:
            found: NDArray[Any] = np.empty(shape, kind)
        else:
            whole = None
            with _lock:
                if _free.get(length):
                    whole = _free[length].pop()
                    _bytes -= length
            if whole is None:
                whole = fresh(length, dtype=torch.uint8).numpy()
            self._lent.append(whole)
            found = np.ndarray(shape, kind, whole)
        if torch.are_deterministic_algorithms_enabled():
            # As torch.empty does then, so that what a kernel leaves unwritten shows.
            found.fill(float("nan") if found.dtype.kind == "f" else np.iinfo(found.dtype).max)
        return found

    # Bound here, because the module's names are gone when the interpreter ends.
    def __del__(self, lock: Any = _lock, ending: Any = sys.is_finalizing) -> None:
        global _bytes
        if ending():
            return
        with lock:
            for array in self._lent:
                if _bytes + array.nbytes <= _LIMIT:
                    _free.setdefault(array.nbytes, []).append(array)
                    _bytes += array.nbytes


class _Lent:
    """A lent array in numpy's form for what exposes one: who holds a view of it holds the loan."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._loan = Loan()
        self._array = self._loan.array(*shape)
        self.__array_interface__ = self._array.__array_interface__


def lent(*shape: int) -> Tensor:
    """As ``torch.empty``, in memory that is used again once the tensor is gone."""
    return torch.from_numpy(np.asarray(_Lent(shape)))


def lent_pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two as `lent`, the second behind the first. Each has a storage of its own: torch copies a
    tangent whose storage is longer than it."""
    one, two = np.asarray(_Lent((2, *shape)))
    return torch.from_numpy(one), torch.from_numpy(two)


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy of a float32 tensor in memory that is used again."""
    return lent(*tensor.shape).copy_(tensor)
