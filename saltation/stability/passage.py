"""What the exact solution of a neuron and its perturbations do up to its next spike."""

from __future__ import annotations

from typing import NamedTuple

from saltation.reference.passage import Vector


class Passage(NamedTuple):
    """The solution over a stretch with constant input that ends with its first spike, if any.

    Attributes
    ----------
    state
        ``[n]``, at the end and before the jump: v is at the threshold if there is a spike, else
        below it.
    frame
        ``[n, n]``, orthonormal: the perturbations at the end, column by column.
    logs
        ``[n]``: logarithm of the growth of each.
    spent
        Time the stretch takes.
    spiked
        Whether it ends with a spike.
    """

    state: Vector
    frame: Vector
    logs: Vector
    spent: float
    spiked: bool
