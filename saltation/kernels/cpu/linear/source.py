"""Spikes beside the weights that they are multiplied with, for compiled code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.runtime.finite import NotFinite
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.simd import LANES, copy_row, fetch
from saltation.kernels.events import Events

# Columns of a matrix that are worked on at a time: all steps of them stay in the first cache.
BLOCK = 128
PART = 64  # columns that are copied side by side
OFTEN = 3  # times that a sample's weights are taken, from which on they are copied
_AHEAD = 4  # sites ahead of the one that is worked on, whose rows are fetched into cache


class Source(NamedTuple):
    """Spikes and the weights they are multiplied with, for compiled code.

    ``weight`` is ``[F, O]``; ``bias`` is [O], or [0] where there is none.
    """

    offsets: NDArray[np.int64]
    sites: NDArray[np.int32]
    rows: NDArray[np.int64]
    places: NDArray[np.int32]
    bits: NDArray[np.uint64]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def padded(width: int) -> int:
    """The next multiple of a vector's length."""
    return -(-width // LANES) * LANES


def columns(matrix: Tensor) -> NDArray[np.float32]:
    """``matrix`` [O, F] as its columns ``[F, O]``, with zeros up to full vectors.

    Raises
    ------
    NotFinite
        If it holds NaN or an infinity.
    """
    outputs, inputs = matrix.shape
    turned, finite = transposed(matrix.detach().contiguous().numpy(), inputs, padded(outputs))
    if not finite:
        raise NotFinite("a weight is not finite")
    return turned


def sourced(events: Events, weight: Tensor, bias: Tensor | None) -> Source:
    """Spikes, and weight ``[O, F]`` and bias ``[O]`` or None with O up to full vectors; raises as
    `columns`."""
    turned = columns(weight)
    added = np.zeros(0 if bias is None else turned.shape[1], np.float32)
    if bias is not None:
        added[: len(bias)] = bias.detach().numpy()
    return without_weights(events, 0)._replace(weight=turned, bias=added)


def without_weights(events: Events, outputs: int) -> Source:
    """Spikes for loops that read no weight, only how many outputs there are: up to full vectors."""
    e, weight = events, np.empty((0, padded(outputs)), np.float32)
    no_bias = np.empty(0, np.float32)
    return Source(e.offsets, e.sites, e.rows, e.places, e.bits, weight, no_bias)


@compiled
def gather(lo: int, hi: int, first: int, width: int, source: Source, local: NDArray[Any]) -> None:
    """The weights of sites ``lo ... hi`` and neurons ``first ... first + width``, side by side."""
    for i in range(lo, hi):
        if i + _AHEAD < hi:
            fetch(source.weight, int(source.sites[i + _AHEAD]), first, width)
        copy_row(local, i - lo, 0, source.weight, int(source.sites[i]), first, width)
