"""Adaptive leaky integrate-and-fire: a linear oscillator with a threshold.

Sources: Bittar & Garner, "A surrogate gradient spiking baseline for speech command recognition",
Front. Neurosci., 2022; its discretisations: Baronig, Ferrand, Sabathiel & Legenstein, "Advancing
spatio-temporal processing through adaptation in spiking neural networks", Nature Communications,
2025.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class AdLIFNeuron(Neuron):
    """Adaptive leaky integrate-and-fire neuron.

    ``tau dv/dt = -v + x - w``, ``tau_w dw/dt = a v - w``; spike where ``v >= v_threshold``; then
    ``v = v_reset``, ``w = w + b`` (Bittar & Garner, 2022; Baronig et al., 2025). Both start at 0.

    It oscillates where ``4 a tau tau_w > (tau - tau_w)^2``. Baronig et al. call scheme
    ``exponential_symplectic`` symplectic Euler discretisation, ``exponential_split`` their
    Euler-forward, which diverges from ``a = (1 - alpha beta) / ((1 - alpha) (1 - beta))`` on, with
    alpha and beta the decays per step. Their a and b are scaled by q, and their spike enters as
    current: it adds ``(1 - beta) q b`` where this b is added at once.

    Parameters
    ----------
    tau, tau_w : float, default 2, 20
        Time constants of potential and adaptation, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (exact for input that is constant over the step), ``exponential_split``,
        ``exponential_symplectic``, ``euler``, ``symplectic``, ``rk4``, ``trapezoid``, ...
    a, b : float, default 1, 0.2
        Coupling of w to v below threshold, and the jump of w at a spike.
    v_threshold, v_reset : float, default 1, 0
        Threshold and reset, in one unit with x and w.
    jump : str, default "hard"
        ``hard``, ``soft`` or ``none`` for the potential; w jumps by b in ``hard`` and ``soft``.
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
    tau_w: float = 20.0
    a: float = 1.0
    b: float = 0.2
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "adlif"
    title = "adLIF"

    def velocity(self, x: Any, v: Any, w: Any) -> Any:
        return (x - v - w) / self.tau, (self.a * v - w) / self.tau_w

    def own_jump(self, v: Any, w: Any) -> Any:
        return self.v_reset, w + self.b
