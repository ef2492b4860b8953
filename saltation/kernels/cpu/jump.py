"""The jump of the potential in one form for every kind, so that no loop has a branch.

    v = (1 - clear s) h + move s        hard: clear 1, move v_reset;  soft: 0, -v_threshold;
                                        none and soft_delayed: 0, 0

With s = 0 or 1 this equals `Neuron.jump_potential` to the bit, but for the sign of a zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saltation.kernels.cpu.jit import compiled, f32, spread
from saltation.neurons.base import Neuron
from saltation.surrogate import Surrogate


class Jump(NamedTuple):
    """Spike condition and jump in float32; ``through`` is 0 where the reset is detached."""

    threshold: float
    clear: float
    move: float
    through: float
    zero: float = 0.0
    one: float = 1.0


def jump_of(neuron: Neuron) -> Jump:
    """The jump of ``neuron``."""
    clear, move = {"hard": (1.0, neuron.v_reset), "soft": (0.0, -neuron.v_threshold)}.get(
        neuron.jump, (0.0, 0.0)
    )
    jump: Jump = f32(Jump(neuron.v_threshold, clear, move, float(not neuron.detach_reset)))
    return jump


@compiled
def spiked(h: float, j: Jump) -> float:
    """1 where the potential is at or above threshold, else 0, as a surrogate decides it."""
    return np.float32(h - j.threshold >= j.zero)  # type: ignore[return-value]


@compiled
def jumped(h: float, s: float, j: Jump) -> float:
    """The potential after the jump."""
    return (j.one - j.clear * s) * h + j.move * s


@compiled
def through_jump(g: float, h: float, s: float, slope: float, j: Jump) -> float:
    """The gradient ``g`` of the potential after the jump, pulled back to ``h``."""
    return g * (j.one - j.clear * s + j.through * slope * (j.move - j.clear * h))


# Elements: torch runs so few in the calling thread, and they stay in its cache.
_PIECE = 2**15


def slopes(surrogate: Surrogate, h: Tensor, threshold: float) -> Tensor:
    """The surrogate's derivative at every potential of ``h`` ``[T, N]``.

    In pieces with the same ends for any number of threads: torch computes the last few elements
    of a tensor by other instructions, which round differently.
    """
    result = torch.empty_like(h)
    pieces = -(-h.numel() // _PIECE)
    spread(_slopes, pieces, surrogate, h.view(-1), result.view(-1), threshold, least=1)
    return result


def _slopes(
    start: int, stop: int, surrogate: Surrogate, h: Tensor, result: Tensor, threshold: float
) -> None:
    for number in range(start, stop):
        piece = slice(number * _PIECE, (number + 1) * _PIECE)
        result[piece] = surrogate.derivative(h[piece] - threshold)
