"""Counter-based random numbers: every draw is a pure function of where it is used.

The generator is Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011). Its key is the seed; its counter names the place of the draw:

    (draw block, site, sample, epoch and stream)

so a sample's numbers are the same in any batch, order, batch size, process, thread and backend.
One call gives four 32-bit words, which are four consecutive draws of one site.

The rounds are written in bare integer arithmetic on signed 64-bit words, so one definition
serves Python integers, numpy, torch tensors on any device, and numba.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

import torch
from torch import Tensor

from saltation.errors import SaltationError, shown, tensor, whole

MASK = 0xFFFFFFFF
_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85

# Streams keep draws for different purposes apart; four bits beside the epoch.
TRAIN, TEST, ORDER, CROP, FLIP = range(5)
_STREAM_BITS = 4
STREAMS = 1 << _STREAM_BITS
MAX_EPOCH = 1 << (32 - _STREAM_BITS)


def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10: four 32-bit words from a 128-bit counter and a 64-bit key.

    All arguments and results are 32-bit words held in 64-bit integers (scalars, arrays or
    tensors that broadcast). Checked against the known answers of Random123.
    """
    for _ in range(10):
        product_0 = c0 * _MULTIPLIER_0
        product_1 = c2 * _MULTIPLIER_1
        # The shift of a signed word drags its sign along; the mask removes it.
        c0, c1, c2, c3 = (
            ((product_1 >> 32) & MASK) ^ c1 ^ k0,
            product_1 & MASK,
            ((product_0 >> 32) & MASK) ^ c3 ^ k1,
            product_0 & MASK,
        )
        k0 = (k0 + _WEYL_0) & MASK
        k1 = (k1 + _WEYL_1) & MASK
    return c0, c1, c2, c3


def key(seed: SupportsIndex) -> tuple[int, int]:
    """The two key words of a seed in [0, 2**64)."""
    value = whole(seed)
    if value is None or not 0 <= value < 1 << 64:
        raise SaltationError(f"seed must be an integer in [0, 2**64), got {shown(seed)}")
    return value & MASK, value >> 32


def epoch_word(epoch: SupportsIndex, stream: SupportsIndex) -> int:
    """The counter word that holds the epoch (28 bits) and the stream (4 bits)."""
    value, place = whole(epoch), whole(stream)
    if value is None or not 0 <= value < MAX_EPOCH:
        raise SaltationError(f"epoch must be an integer in [0, {MAX_EPOCH}), got {shown(epoch)}")
    # One that is too large would spill into the epoch and give another epoch's numbers.
    if place is None or not 0 <= place < STREAMS:
        raise SaltationError(f"stream must be an integer in [0, {STREAMS}), got {shown(stream)}")
    return (value << _STREAM_BITS) | place


def words(
    block: Tensor | int,
    site: Tensor | int,
    sample: Tensor,
    *,
    seed: SupportsIndex,
    epoch: SupportsIndex,
    stream: SupportsIndex,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws ``4 * block`` to ``4 * block + 3`` of each (site, sample).

    Parameters
    ----------
    block, site, sample
        int64 tensors that broadcast, with values in [0, 2**32). A site is the flat index of a
        pixel or neuron within a sample.

    Returns
    -------
    Four int64 tensors of the broadcast shape with values in [0, 2**32).
    """
    k0, k1 = key(seed)
    zero = torch.zeros((), dtype=torch.int64, device=sample.device)
    return philox(
        zero + block, zero + site, zero + sample, zero + epoch_word(epoch, stream), k0, k1
    )


def uint32(
    seed: SupportsIndex,
    epoch: SupportsIndex,
    stream: SupportsIndex,
    sample: Tensor,
    draw: SupportsIndex = 0,
) -> Tensor:
    """Draw number ``draw`` of each sample: int64 in [0, 2**32), of the shape of ``sample``."""
    place = whole(draw)
    if place is None or not 0 <= place < 4 << 32:
        raise SaltationError(f"draw must be an integer in [0, 2**34), got {shown(draw)}")
    check_words("sample indices", sample)
    return words(place // 4, 0, sample, seed=seed, epoch=epoch, stream=stream)[place % 4]


def permutation(n: SupportsIndex, seed: SupportsIndex, epoch: SupportsIndex) -> Tensor:
    """A random order of ``n`` samples, int64 ``[n]``: a function of (seed, epoch) alone."""
    size = whole(n)
    if size is None or not 0 <= size < 1 << 32:
        raise SaltationError(f"n must be an integer in [0, 2**32), got {shown(n)}")
    high, low, _, _ = words(0, 0, torch.arange(size), seed=seed, epoch=epoch, stream=ORDER)
    # 63 bits per sample, so that ties, which the sort breaks by index, hardly occur.
    return torch.argsort(((high >> 1) << 32) | low, stable=True)


def check_words(what: str, values: Tensor) -> None:
    """Refuse a tensor that does not hold integers in [0, 2**32), the words of a counter.

    Raises
    ------
    SaltationError
        With the range of what it holds.
    """
    tensor(what, values)
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise SaltationError(f"{what} must be integers, got {values.dtype}")
    if not values.numel():
        return
    low, high = (int(end) for end in values.aminmax())
    if low < 0 or high > MASK:
        raise SaltationError(f"{what} must be in [0, 2**32), got {low} to {high}")
