"""Izhikevich's simple model in its published form, in milliseconds and millivolts.

Source: Izhikevich, "Simple model of spiking neurons", IEEE Trans. Neural Networks, 2003.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.neurons.base import Neuron


class Izhikevich2003Neuron(Neuron):
    """Izhikevich's neuron as published: ms, mV.

    ``dv/dt = 0.04 v^2 + 5 v + 140 - u + x``, ``du/dt = a (b v - u)``; spike where
    ``v >= v_threshold``; then ``v = v_reset`` (his c), ``u = u + d`` (Izhikevich, 2003). As in his
    program v starts at -65 and u at b v. `IzhikevichNeuron` is the same equation in other
    parameters, with threshold 1.

    Parameters
    ----------
    dt : float, default 0.5
        Length of a step in ms.
    scheme : str, default "exponential"
        ``exponential`` (Rosenbrock-Euler), ``euler``, ``symplectic`` (u first), ``symplectic_v``,
        ``rk2``, ``rk3``, ``rk4``, ...
    a, b : float, default 0.02, 0.2
        Rate of the recovery u, per ms, and its coupling to v.
    d : float, default 8
        Jump of u at a spike.
    v_threshold, v_reset : float, default 30, -65
        Peak of the spike, and the potential after it (c), in mV.
    jump : str, default "hard"
        ``hard`` or ``none``: to subtract the threshold means nothing in mV.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.

    Notes
    -----
    Regular spiking is (a, b, v_reset, d) = (0.02, 0.2, -65, 8), intrinsically bursting (0.02, 0.2,
    -55, 4), chattering (0.02, 0.2, -50, 2), fast spiking (0.1, 0.2, -65, 2).
    """

    dt: float = 0.5
    scheme: str = "exponential"
    a: float = 0.02
    b: float = 0.2
    d: float = 8.0
    v_threshold: float = 30.0
    v_reset: float = -65.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "izhikevich_2003"
    title = "Izhikevich (2003)"
    jumps = ("hard", "none")

    def velocity(self, x: Any, v: Any, u: Any) -> Any:
        return (0.04 * v + 5.0) * v + 140.0 - u + x, self.a * (self.b * v - u)

    def own_jump(self, v: Any, u: Any) -> Any:
        return self.v_reset, u + self.d

    def initial(self) -> Any:
        return -65.0, -65.0 * self.b

    @property
    def fixed_point(self) -> Any:
        # The lower root; the upper one is unstable.
        slope: Any = 5.0 - self.b
        within = slope * slope - 4 * 0.04 * 140.0
        least = float(within.detach().min()) if isinstance(within, Tensor) else within
        if least < 0:
            raise SaltationError(
                f"{self.title} has no resting state with these parameters: b must be below 0.267"
            )
        root = torch.sqrt(within) if isinstance(within, Tensor) else within**0.5
        v = -(slope + root) / 0.08
        return v, self.b * v
