"""Adaptive exponential integrate-and-fire.

Sources: Brette & Gerstner, "Adaptive exponential integrate-and-fire model as an effective
description of neuronal activity", J. Neurophysiol., 2005; its firing patterns: Naud, Marcille,
Clopath & Gerstner, "Firing patterns in the adaptive exponential integrate-and-fire model", Biol.
Cybern., 2008.
"""

from __future__ import annotations

from typing import Any

import torch

from saltation.neurons.base import Neuron
from saltation.neurons.eif import check_upstroke, upstroke


class AdExNeuron(Neuron):
    """Adaptive exponential integrate-and-fire neuron.

    ``tau dv/dt = -(v - v_rest) + delta exp((v - v_rheo) / delta) - w + x``,
    ``tau_w dw/dt = a (v - v_rest) - w``; spike where ``v >= v_threshold``; then ``v = v_reset``,
    ``w = w + b`` (Brette & Gerstner, 2005). Both start at rest.

    Published parameters are those of a membrane of conductance g_L and capacitance C. Divided by
    g_L they are the ones here: ``tau = C / g_L``; a, b, w and the current x are a / g_L, b / g_L,
    w / g_L and I / g_L (nS / nS, and pA / nS = mV).

    Parameters
    ----------
    tau, tau_w : float, default 2, 20
        Time constants of potential and adaptation, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (Rosenbrock-Euler), ``euler``, ``symplectic`` (w first), ``symplectic_v``,
        ``rk2``, ``rk3``, ``rk4``, ... In all of them w is updated before the spike is tested.
    delta : float, default 0.2
        Sharpness of the upstroke, above 0: a potential.
    a, b : float, default 0.1, 0.2
        Coupling of w to v below threshold, and the jump of w at a spike: a potential.
    v_rheo, v_rest : float, default 0.8, 0
        Where the upstroke takes over, and where the leak draws to.
    v_threshold, v_reset : float, default 1, 0
        Threshold, at most 60 delta above v_rheo, and reset. All potentials are in one unit with x.
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
    delta: float = 0.2
    a: float = 0.1
    b: float = 0.2
    v_rheo: float = 0.8
    v_rest: float = 0.0
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "adex"
    title = "AdEx"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_upstroke(self)

    def velocity(self, x: Any, v: Any, w: Any) -> Any:
        dv = (upstroke(self, v) - (v - self.v_rest) - w + x) / self.tau
        # Stages of a step lie far above the threshold, where w does not follow.
        below = torch.clamp(v, max=self.v_threshold)
        return dv, (self.a * (below - self.v_rest) - w) / self.tau_w

    def own_jump(self, v: Any, w: Any) -> Any:
        return self.v_reset, w + self.b
