"""Perturbations of leaky neurons between spikes, in closed form: LIF, and LIF behind a current.

They are multiplied by ``[[exp(-a s), c K], [0, exp(-b s)]]``, with the rates a and b, the gain c
and the K of `saltation.reference.closed_form`.
"""

from __future__ import annotations

import math

import numpy as np

from saltation.reference.closed_form import Leaky, psi
from saltation.reference.passage import Vector
from saltation.stability.passage import Passage


class ClosedForm(Leaky):
    """The solution of a leaky neuron and its perturbations; see `applies`."""

    def passage(self, u: Vector, frame: Vector, x: float, time: float) -> Passage:
        """From state ``u`` below threshold and orthonormal perturbations, with input ``x``."""
        end, s, spiked = self.solve(u, x, time)
        return Passage(end, *self._carried(frame, s), s, spiked)

    def _carried(self, frame: Vector, s: float) -> tuple[Vector, Vector]:
        """Perturbations after ``s``, orthonormal again, and their growth.

        The slower decay is taken out, and the volume gives the second vector's growth: nothing
        underflows, however much is forgotten.
        """
        a, b = self.a, self.b
        if len(frame) == 1:
            return frame, np.array([-a * s])
        q_v, q_i = float(frame[0, 0]), float(frame[1, 0])
        if q_i == 0:  # along v, which its perturbations do not leave
            return frame, np.array([-a * s, -b * s])
        slow = min(a, b)
        v = q_v * math.exp(-(a - slow) * s) + q_i * self.c * psi(abs(b - a), s)
        i = q_i * math.exp(-(b - slow) * s)
        size = math.hypot(v, i)
        first = math.log(size) - slow * s
        turned = np.array([[v, -i], [i, v]]) / size
        return turned, np.array([first, -(a + b) * s - first])
