"""Neurons whose spikes feed back: a group of samples through all steps, forward and backward.

Forward, what a sample's last spikes add to its currents is the sum of the rows of ``V.T`` where
they are, in the order of the neurons; where many spiked it is a dense product in the same order,
and the same bits. Backward, the gradients of every step go through the dense product with V.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saltation.kernels.cpu.events.trains import WORD, list_events
from saltation.kernels.cpu.linear.dense import GROUP, multiply
from saltation.kernels.cpu.runtime.jit import compiled, kernel
from saltation.kernels.cpu.runtime.native import call, floats_at
from saltation.kernels.cpu.runtime.simd import LANES, add_rows, lowest, mask

# Spikes per neuron from which the dense product costs less than the sums of rows: measured on one
# core of an AMD EPYC with AVX-512, 0.4 for 64 to 512 neurons and 0.32 for 1024.
_MANY = 0.4


class Kept(NamedTuple):
    """What is stored of every step for backward: ``total`` currents ``[T * B, F]``, where it reads
    them, else a row per sample that is used again and again; and states ``h`` before the jump, as
    far as it reads them, ``[kept, T * B, F]``."""

    total: NDArray[np.float32]
    h: NDArray[np.float32]


@compiled
def _any(rows: NDArray[Any], low: int) -> bool:
    """Whether a number of the group's rows from ``low`` on is not 0."""
    for row in range(low, low + GROUP):
        for column in range(0, rows.shape[1], LANES):
            if mask(rows, row, column):
                return True
    return False


@kernel
def forward_loop(
    start: int,
    stop: int,
    x: NDArray[Any],
    turned: NDArray[Any],
    panels: NDArray[Any],
    bias: NDArray[Any],
    spikes: NDArray[Any],
    currents: NDArray[Any],
    state: NDArray[Any],
    s: NDArray[Any],
    kept: Kept,
    here: NDArray[Any],
    found: NDArray[Any],
    bits: NDArray[Any],
    places: NDArray[Any],
    rows: NDArray[Any],
    dense: bool,
    loop: int,
    numbers: NDArray[Any],
    own: NDArray[Any],
) -> None:
    """Groups ``start ... stop`` of samples, with ``V.T`` in rows and in panels.

    Currents ``x`` [T * B, F] lead to spikes ``s`` [T * B, F] and ``state`` [variables, B, F].
    ``spikes`` and ``currents`` are ``[groups * GROUP, F]`` up to full vectors, the first with the
    spikes before the first step; ``here`` [B, F] and ``found`` [B], with zeros, are scratch. Events
    are listed if there is room for their ``bits``. With ``dense`` every product is, so that weights
    that are not finite show where no spike is.
    """
    batch, width = here.shape
    for group in range(start, stop):
        low = GROUP * group
        high = min(low + GROUP, batch)
        for t in range(len(x) // batch):
            many = found[low:high].sum() > _MANY * (high - low) * width if t else _any(spikes, low)
            many |= dense
            if many:
                multiply(currents, low, spikes, panels)
            for b in range(low, high):
                row = t * batch + b
                added, given = currents[b], x[row]
                if not many:
                    added[:] = 0
                    add_rows(currents, b, 0, turned, 0, here[b], 0, found[b], len(added))
                into = kept.total[row % len(kept.total)]
                for i in range(width):
                    into[i] = given[i] + (added[i] + bias[i])
                call(
                    loop,
                    (
                        *(floats_at(numbers, 0), floats_at(own, b * width), batch * width),
                        *(floats_at(kept.total, row % len(kept.total) * width), 0),
                        *(floats_at(state, b * width), batch * width),
                        *(floats_at(spikes, b * spikes.shape[1]), 0),
                        *(floats_at(kept.h, row * width), 0, kept.h.shape[1] * width, 1, width),
                    ),
                )
                count = 0
                for first in range(0, width, LANES):
                    those = mask(spikes, b, first)
                    while those:
                        site = first + lowest(those)
                        those &= those - np.uint64(1)
                        here[b, count] = site
                        count += 1
                        if bits.size:
                            bits[t // WORD, width * b + site] |= np.uint64(1) << np.uint64(t % WORD)
                found[b] = count
                for i in range(width):
                    s[row, i] = spikes[b, i]
        if bits.size:
            for b in range(low, high):
                list_events(width * b, width * (b + 1), bits, rows[b], places)


@kernel
def backward_loop(
    start: int,
    stop: int,
    given: NDArray[Any],
    kept: Kept,
    panels: NDArray[Any],
    pulled: NDArray[Any],
    now: NDArray[Any],
    g_s: NDArray[Any],
    g: NDArray[Any],
    g_x: NDArray[Any],
    first: NDArray[Any],
    loop: int,
    numbers: NDArray[Any],
    own: NDArray[Any],
    learned: NDArray[Any],
) -> None:
    """Groups ``start ... stop`` of samples, with V in panels.

    Gradients ``given`` [T * B, F] of the spikes lead to ``g_x`` [(T + 1) * B, F] of the currents,
    0 in the step after the last. ``pulled`` and ``now`` are ``[groups * GROUP, F]`` up to full
    vectors, with zeros; the first ends as the gradient of the spikes before the first step.
    ``g`` holds the gradients of the state, and where spikes act late that of the spike; ``first``
    [V, B, F] is the state before the first step. ``own`` is as in `forward_loop`, and the gradients
    of what is learned of it are added to ``learned`` [learned, B, F]. ``g_s`` [B, F] is scratch.
    """
    batch, width = g_s.shape
    for group in range(start, stop):
        low = GROUP * group
        high = min(low + GROUP, batch)
        g_x[len(given) + low : len(given) + high] = 0
        for back in range(1, len(given) // batch + 1):
            t = len(given) // batch - back
            for b in range(low, high):
                row = t * batch + b
                into, one, other = g_s[b], given[row], pulled[b]
                for i in range(width):
                    into[i] = one[i] + other[i]
                here, step = b * width, batch * width
                call(
                    loop,
                    (
                        *(floats_at(numbers, 0), floats_at(own, here), step),
                        *(floats_at(kept.total, here), step),
                        *(floats_at(first, here), step),
                        *(floats_at(kept.h, here), step, kept.h.shape[1] * width),
                        *(floats_at(g_s, here), 0, floats_at(g, here), step),
                        *(floats_at(now, b * now.shape[1]), 0, floats_at(learned, here), step),
                        *(t, t + 1, width),
                    ),
                )
                for i in range(width):
                    g_x[row, i] = now[b, i]
            if _any(now, low):
                multiply(pulled, low, now, panels)
            else:
                pulled[low : low + GROUP] = 0
