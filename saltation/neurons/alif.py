"""Leaky integrate-and-fire with a moving threshold.

Source: Bellec, Salaj, Subramoney, Legenstein & Maass, "Long short-term memory and learning-to-learn
in networks of spiking neurons", NeurIPS 2018.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class ALIFNeuron(Neuron):
    """Leaky integrate-and-fire neuron whose threshold rises with every spike.

    ``tau dv/dt = -(v - v_rest) + x``, ``tau_a da/dt = -a``; spike where
    ``v >= v_threshold + beta a``; then ``v = v_reset``, ``a = a + 1`` (Bellec et al., 2018). v
    starts at v_rest, a at 0. Between spikes the threshold falls back to v_threshold with tau_a.

    Parameters
    ----------
    tau, tau_a : float, default 2, 20
        Time constants of potential and threshold, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler``, ``trapezoid``, ... The
        default is exact for input that is constant over the step, and stable for every dt.
    beta : float, default 0.2
        How much a spike raises the threshold. Bellec et al. let a decay to a mean of spikes and
        take 1.8: their a is ``1 - exp(-dt / tau_a)`` times this one.
    v_threshold, v_reset, v_rest : float, default 1, 0, 0
        Threshold at rest, reset and resting potential, in one unit with x.
    jump : str, default "hard"
        ``hard`` (v = v_reset), ``soft`` (the threshold as it is then is subtracted; Bellec et al.)
        or ``none``. a rises in ``hard`` and ``soft``.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.
    """

    tau: float = 2.0
    dt: float = 1.0
    scheme: str = "exponential"
    tau_a: float = 20.0
    beta: float = 0.2
    v_threshold: float = 1.0
    v_reset: float = 0.0
    v_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "alif"
    title = "ALIF"

    def velocity(self, x: Any, v: Any, a: Any) -> Any:
        return (x - (v - self.v_rest)) / self.tau, -a / self.tau_a

    def threshold(self, v: Any, a: Any) -> Any:
        return self.v_threshold + self.beta * a

    def own_jump(self, v: Any, a: Any) -> Any:
        return self.v_reset, a + 1.0
