"""Quadratic integrate-and-fire.

Sources: Latham, Richmond, Nelson & Nirenberg, "Intrinsic dynamics in neuronal networks. I. Theory",
J. Neurophysiol., 2000; Gerstner et al., "Neuronal Dynamics", 2014, chapter 5.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class QIFNeuron(Neuron):
    """Quadratic integrate-and-fire neuron.

    ``tau dv/dt = a0 (v - v_rest) (v - v_c) + x``; spike where ``v >= v_threshold``; then the jump
    (Latham et al., 2000). v starts at v_rest. Its rheobase is ``a0 (v_c - v_rest)^2 / 4``.

    Parameters
    ----------
    tau : float, default 2
        Time constant, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (Rosenbrock-Euler), ``euler``, ``rk2``, ``rk3``, ``rk4``, ...
    v_c, a0, v_rest : float, default 0.8, 1, 0
        Critical potential, above which the neuron spikes without input; steepness (per potential);
        resting potential.
    v_threshold, v_reset : float, default 1, 0
        Threshold and reset, in one unit with ``x / a0`` per unit of potential.
    jump : str, default "hard"
        ``hard`` (v = v_reset), ``soft`` (v = v - v_threshold), ``soft_delayed`` or ``none``.
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
    v_c: float = 0.8
    a0: float = 1.0
    v_rest: float = 0.0
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "qif"
    title = "QIF"

    def velocity(self, x: Any, v: Any) -> Any:
        return ((self.a0 * (v - self.v_rest) * (v - self.v_c) + x) / self.tau,)

    @property
    def fixed_point(self) -> Any:
        return (self.v_rest,)  # for every choice of parameters
