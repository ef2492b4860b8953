"""Resonate-and-fire: a damped oscillation that answers to input of its own frequency.

Source: Izhikevich, "Resonate-and-fire neurons", Neural Networks, 2001.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class ResonateAndFireNeuron(Neuron):
    """Resonate-and-fire neuron.

    ``dz/dt = (b + i omega) z + x`` with ``z = u + i v``: the input drives u, which is like a
    current, and v is the potential. Spike where ``v >= v_threshold``; then ``z = i v_reset``
    (Izhikevich, 2001, who resets to i). It starts at 0. It answers most to input of
    ``sqrt(omega^2 - b^2)`` radians per unit of time.

    Parameters
    ----------
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (exact for input that is constant over the step), ``euler`` (which lets the
        oscillation grow unless ``dt < -2 b / (b^2 + omega^2)``), ``symplectic``, ``rk4``, ...
    b : float, default -0.1
        Damping, below 0 for an oscillation that decays, per unit of time.
    omega : float, default 0.5
        Angular frequency, in radians per unit of time.
    v_threshold, v_reset : float, default 1, 0
        Threshold and reset of v. Constant x drives v towards ``x omega / (b^2 + omega^2)``.
    jump : str, default "hard"
        ``hard``, ``soft`` (v = v - v_threshold) or ``none``; u jumps to 0 in ``hard`` and ``soft``.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.
    """

    dt: float = 1.0
    scheme: str = "exponential"
    b: float = -0.1
    omega: float = 0.5
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "resonate_and_fire"
    title = "resonate-and-fire"

    def velocity(self, x: Any, v: Any, u: Any) -> Any:
        return self.omega * u + self.b * v, self.b * u - self.omega * v + x

    def own_jump(self, v: Any, u: Any) -> Any:
        return self.v_reset, 0.0
