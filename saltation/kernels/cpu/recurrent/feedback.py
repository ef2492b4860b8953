"""Neurons whose spikes feed back: a group of samples through all steps, forward and backward.

Forward, what a sample's last spikes add to its currents is the sum of the rows of ``V.T`` where
they are, in the order of the neurons; where many spiked it is a dense product in the same order,
and the same bits. Backward, the gradients of every step go through the dense product with V.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from saltation.kernels.cpu.events.trains import WORD, list_events
from saltation.kernels.cpu.linear.dense import GROUP, multiply
from saltation.kernels.cpu.neurons import izhikevich, lif
from saltation.kernels.cpu.runtime.jit import INLINE, compiled, kernel
from saltation.kernels.cpu.runtime.simd import LANES, add_rows, lowest, mask

# Spikes per neuron from which the dense product costs less than the sums of rows: measured on one
# core of an AMD EPYC with AVX-512, 0.4 for 64 to 512 neurons and 0.32 for 1024.
_MANY = 0.4


class Kept(NamedTuple):
    """What is stored of every step, ``[T * B, F]``, as far as backward will ask for it; what it
    will not has one row per sample, used again and again.

    ``total`` currents, where the model's derivative reads them; potentials ``h`` before the jump;
    and where the currents are kept the states ``before`` the step, ``[variables, T * B, F]``.
    """

    total: NDArray[np.float32]
    h: NDArray[np.float32]
    before: NDArray[np.float32]


def _advance(b: int, row: int, kept: Any, state: Any, spikes: Any, spare: Any, n: Any) -> None:
    """One step of sample ``b``, which is row ``row`` of all steps; for compiled code only.

    ``state`` [variables, B, F] and ``spikes`` [., F] go to the next; ``spare`` is [B, F].
    """
    raise NotImplementedError


@overload(_advance, strict=False, jit_options=INLINE)  # not strict: the annotations differ
def _advance_one(
    b: Any, row: Any, kept: Any, state: Any, spikes: Any, spare: Any, n: Any
) -> Callable[..., None]:
    def of_lif(b: int, row: int, kept: Any, state: Any, spikes: Any, spare: Any, n: Any) -> None:
        one, other = row % len(kept.total), row % len(kept.h)
        x, s, h = kept.total[one : one + 1], spikes[b : b + 1], kept.h[other : other + 1]
        lif.forward_loop(0, x.shape[1], x, state[0, b], s, h, n)

    def of_izhikevich(
        b: int, row: int, kept: Any, state: Any, spikes: Any, spare: Any, n: Any
    ) -> None:
        one, other = row % len(kept.total), row % len(kept.h)
        x, s, h = kept.total[one : one + 1], spikes[b : b + 1], kept.h[other : other + 1]
        v, w = state[0, b], state[1, b]
        if kept.before.size:
            kept.before[0, row] = v
            kept.before[1, row] = w
        izhikevich.forward_loop(0, x.shape[1], x, v, w, s, h, spare[b : b + 1], n)

    return of_lif if n.instance_class is lif.Step else of_izhikevich


def _return(b: int, row: int, g_s: Any, kept: Any, g: Any, g_x: Any, n: Any) -> None:
    """One step of sample ``b`` back, from ``g_s`` to ``g_x``, each [., F] in row ``b``; ``g`` holds
    the gradients of the state, and for LIF of the spike that acts late. For compiled code only."""
    raise NotImplementedError


@overload(_return, strict=False, jit_options=INLINE)
def _return_one(
    b: Any, row: Any, g_s: Any, kept: Any, g: Any, g_x: Any, n: Any
) -> Callable[..., None]:
    def of_lif(b: int, row: int, g_s: Any, kept: Any, g: Any, g_x: Any, n: Any) -> None:
        given, into, h = g_s[b : b + 1], g_x[b : b + 1], kept.h[row : row + 1]
        lif.backward_loop(0, h.shape[1], given, h, g[0, b], g[1, b], into, n)

    def of_izhikevich(b: int, row: int, g_s: Any, kept: Any, g: Any, g_x: Any, n: Any) -> None:
        given, into, h = g_s[b : b + 1], g_x[b : b + 1], kept.h[row : row + 1]
        x, first = kept.total[row : row + 1], (kept.before[0, row], kept.before[1, row])
        g_v, g_w = g[0, b], g[1, b]
        izhikevich.backward_loop(0, h.shape[1], x, first, h, h, given, g_v, g_w, into, n)

    return of_lif if n.instance_class is lif.Back else of_izhikevich


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
    spare: NDArray[Any],
    state: NDArray[Any],
    s: NDArray[Any],
    kept: Kept,
    here: NDArray[Any],
    found: NDArray[Any],
    bits: NDArray[Any],
    places: NDArray[Any],
    rows: NDArray[Any],
    dense: bool,
    n: Any,
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
                _advance(b, row, kept, state, spikes, spare, n)
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
    n: Any,
) -> None:
    """Groups ``start ... stop`` of samples, with V in panels.

    Gradients ``given`` [T * B, F] of the spikes lead to ``g_x`` [(T + 1) * B, F] of the currents,
    0 in the step after the last. ``pulled`` and ``now`` are ``[groups * GROUP, F]`` up to full
    vectors, with zeros; the first ends as the gradient of the spikes before the first step.
    ``g_s`` [B, F] is scratch.
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
                _return(b, row, g_s, kept, g, now, n)
                for i in range(width):
                    g_x[row, i] = now[b, i]
            if _any(now, low):
                multiply(pulled, low, now, panels)
            else:
                pulled[low : low + GROUP] = 0
