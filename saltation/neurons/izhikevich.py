"""Izhikevich's quadratic integrate-and-fire with adaptation, in SpikingJelly's parameters.

Source: Izhikevich, "Simple model of spiking neurons", IEEE Trans. Neural Networks, 2003; the
normal form used here: Gerstner et al., "Neuronal Dynamics", 2014, chapter 6.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class IzhikevichNeuron(Neuron):
    """Izhikevich neuron: quadratic potential with adaptation.

    ``tau dv/dt = a0 (v - v_rest) (v - v_c) - w + x``, ``tau_w dw/dt = a (v - v_rest) - w``; spike
    where ``v >= v_threshold``; then ``v = v_reset``, ``w = w + b`` (Izhikevich, 2003, in
    SpikingJelly's parameters). v starts at v_reset, w at w_rest.

    Parameters
    ----------
    tau, tau_w : float, default 2
        Time constants of potential and adaptation, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential`` (Rosenbrock-Euler), ``symplectic`` (w first), ``symplectic_v``
        (v first; SpikingJelly's), ``rk2``, ``rk4``, ... In all of them w is updated before the
        spike is tested.
    v_c, a0, v_rest : float, default 0.8, 1, -0.1
        Critical potential, steepness and resting potential of the quadratic.
    a, b : float, default 0.02, 0.2
        Coupling of w to v below threshold, and the jump of w at a spike.
    v_threshold, v_reset, w_rest : float, default 1, 0, 0
        Threshold, reset and initial potential, initial adaptation.
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
    v_c: float = 0.8
    a0: float = 1.0
    v_rest: float = -0.1
    tau_w: float = 2.0
    a: float = 0.02
    b: float = 0.2
    v_threshold: float = 1.0
    v_reset: float = 0.0
    w_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "izhikevich"
    title = "Izhikevich"

    def velocity(self, x: Any, v: Any, w: Any) -> Any:
        # Reciprocals of numbers: products cost less than divisions.
        dv = (self.a0 * (v - self.v_rest) * (v - self.v_c) - w + x) * (1 / self.tau)
        return dv, (self.a * (v - self.v_rest) - w) * (1 / self.tau_w)

    def own_jump(self, v: Any, w: Any) -> Any:
        return self.v_reset, w + self.b

    def initial(self) -> Any:
        return self.v_reset, self.w_rest

    @property
    def fixed_point(self) -> Any:
        return self.v_rest, 0.0  # for every choice of parameters
