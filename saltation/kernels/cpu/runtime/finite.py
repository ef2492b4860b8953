"""Whether numbers are finite.

Sums that skip what is not there never meet a NaN or an infinity beside it, which in a dense product
spreads to a whole row: 0 times either is NaN. So every kernel that skips looks for them first, and
what has any is computed densely, where they show as in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.threads import spread

INFINITY = 0x7F800000  # its bits; those of NaN are above them
_ROW = 2**16  # numbers that a thread looks at together


class NotFinite(ArithmeticError):
    """A kernel that skips zeros was given, or came to, a number that is not finite."""


@compiled
def none_in(bits: NDArray[Any]) -> bool:
    """Whether of float32 numbers, whose ``bits`` (int32) these are, all are finite."""
    most = np.int32(0)  # of the magnitudes, whose bits are in their order
    for i in range(len(bits)):
        most = max(most, np.int32(bits[i] & np.int32(0x7FFFFFFF)))
    return bool(most < np.int32(INFINITY))


@kernel
def _look(start: int, stop: int, bits: NDArray[Any], length: int, found: NDArray[Any]) -> None:
    """``found`` is 1 for the parts ``start ... stop`` of ``bits``, each of ``length``, in which all
    numbers are finite."""
    for part in range(start, stop):
        found[part] = none_in(bits[part * length : (part + 1) * length])


def finite(tensor: Tensor) -> bool:
    """Whether all numbers of a float32 tensor are finite."""
    tensor = tensor.detach()
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)  # as it lies in memory
    bits = tensor.contiguous().view(torch.int32).flatten().numpy()
    found = np.empty(-(-len(bits) // _ROW), np.uint8)
    spread(_look, len(found), bits, _ROW, found, least=4)
    return bool(found.all())
