"""Where the tiles of maps lie: of 4x4 results, for which 6x6 numbers are needed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from saltation.kernels.cpu.conv.tiles import NUMBERS, RESULTS
from saltation.kernels.cpu.runtime.jit import compiled
from saltation.kernels.cpu.runtime.native import floats_at
from saltation.kernels.cpu.runtime.simd import LANES

GAP = LANES  # numbers between the products' points, which would share sets of the cache without


@compiled
def tiles_of(images: int, height: int, width: int) -> int:
    """How many there are."""
    return images * -(-height // RESULTS) * -(-width // RESULTS)


@compiled
def _first(number: int, height: int, width: int) -> tuple[int, int, int]:
    """Image, line and pixel at which the results of a tile begin."""
    down, across = -(-height // RESULTS), -(-width // RESULTS)
    image, place = number // (down * across), number % (down * across)
    return image, place // across * RESULTS, place % across * RESULTS


@compiled
def list_numbers(
    number: int, maps: NDArray[Any], channel: int, outside: int, places: NDArray[Any]
) -> None:
    """``places`` become the addresses of what a tile of results needs: in ``maps`` [N, H, W, C],
    from a channel on, and ``outside``, an address of zeros, where there is nothing."""
    _, height, width, channels = maps.shape
    image, top, left = _first(number, height, width)
    for i in range(NUMBERS):
        for j in range(NUMBERS):
            y, x = top + i - 1, left + j - 1
            place = outside
            if 0 <= y < height and 0 <= x < width:
                place = floats_at(maps, ((image * height + y) * width + x) * channels + channel)
            places[NUMBERS * i + j] = place


@compiled
def list_results(
    number: int, maps: NDArray[Any], channel: int, outside: int, places: NDArray[Any]
) -> None:
    """As `list_numbers`, of the results themselves."""
    _, height, width, channels = maps.shape
    image, top, left = _first(number, height, width)
    for i in range(RESULTS):
        for j in range(RESULTS):
            y, x = top + i, left + j
            place = outside
            if y < height and x < width:
                place = floats_at(maps, ((image * height + y) * width + x) * channels + channel)
            places[RESULTS * i + j] = place
