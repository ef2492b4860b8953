"""The jump of the potential in one form for every kind, so that no loop has a branch.

    v = (1 - clear s) h + move s        hard: clear 1, move v_reset;  soft: 0, -v_threshold;
                                        none and soft_delayed: 0, 0

With s = 0 or 1 this equals `Neuron.jump_potential` to the bit, but for the sign of a zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from saltation.kernels.cpu.runtime.jit import f32
from saltation.neurons.base import Neuron


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


def spiked(h: Any, j: Jump) -> Any:
    """1 where the potential is at or above threshold, else 0, as a surrogate decides it."""
    u = h - j.threshold
    return (u >= j.zero).to(u.dtype)


def jumped(h: Any, s: Any, j: Jump) -> Any:
    """The potential after the jump."""
    return (j.one - j.clear * s) * h + j.move * s


def through_jump(g_s: Any, g: Any, h: Any, s: Any, slope: Any, j: Jump) -> Any:
    """The gradients ``g_s`` of the spike and ``g`` of the potential after the jump, pulled back to
    ``h``, in the order of the reference."""
    # Chosen, not multiplied with 0: a potential that has overflowed would make NaN of it.
    moved = j.move - chosen(j.clear, h, j)
    return (g_s + chosen(j.through, g * moved, j)) * slope + g * (j.one - j.clear * s)


def chosen(number: Any, value: Any, j: Jump) -> Any:
    """``value`` where ``number`` is not 0, else 0."""
    return (abs(number) > j.zero).choose(value, j.zero)
