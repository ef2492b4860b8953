"""Parametric leaky integrate-and-fire: LIF whose time constant is learned.

Source: Fang, Yu, Chen, Masquelier, Huang & Tian, "Incorporating learnable membrane time constant to
enhance learning of spiking neural networks", ICCV 2021.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class PLIFNeuron(Neuron):
    """Leaky integrate-and-fire neuron whose layer learns tau, one for all its neurons.

    ``tau dv/dt = -(v - v_rest) + x``; spike where ``v >= v_threshold``; then the jump (Fang et al.,
    2021). The layer keeps tau above 0; Fang et al. learn ``1 / tau`` as a logistic function, with
    Euler's scheme and dt = 1.

    Parameters
    ----------
    tau : float, default 2
        Where the membrane time constant starts, in the unit of time of ``dt``; for one per neuron
        give ``saltation.learn(torch.full((features,), 2.0))``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler``, ``trapezoid``, ... The
        default is exact for input that is constant over the step, and stable for every tau.
    decay_input : bool, default True
        Whether the input is divided by tau, so that a constant x drives v towards v_rest + x.
    v_threshold, v_reset, v_rest : float, default 1, 0, 0
        Potentials, in one unit with x (or with tau x without ``decay_input``).
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
    decay_input: bool = True
    v_threshold: float = 1.0
    v_reset: float = 0.0
    v_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "plif"
    title = "PLIF"
    learns = ("tau",)

    def velocity(self, x: Any, v: Any) -> Any:
        gain = 1.0 if self.decay_input else self.tau
        return ((gain * x - (v - self.v_rest)) / self.tau,)
