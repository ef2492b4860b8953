"""Hodgkin and Huxley's squid axon, in milliseconds and millivolts.

Sources: Hodgkin & Huxley, "A quantitative description of membrane current and its application to
conduction and excitation in nerve", J. Physiol., 1952; its scheme by default: Rush & Larsen, "A
practical algorithm for solving dynamic membrane equations", IEEE Trans. Biomed. Eng., 1978.
"""

from __future__ import annotations

from typing import Any

import torch

from saltation.neurons.base import Neuron

# Rates beyond these potentials are as at them: none is reached with ordinary currents, and
# exponentials of them are finite.
_RANGE = 150.0
# How much higher the threshold is right after a spike, in mV: more than the action potential is.
_HIGHER = 150.0


class HodgkinHuxleyNeuron(Neuron):
    """Hodgkin and Huxley's neuron: the squid axon at 6.3 degrees Celsius, resting at -65 mV.

    ``c dv/dt = x - g_na m^3 h (v - e_na) - g_k n^4 (v - e_k) - g_l (v - e_l)``, and for each gate
    ``dm/dt = alpha_m(v) (1 - m) - beta_m(v) m`` (Hodgkin & Huxley, 1952, with potentials of today's
    sign). Spike where ``v >= v_threshold``, once for an action potential: for some time after it
    the threshold is higher, by 150 mV times r; ``tau_ref dr/dt = -r``, ``r = 1`` at a spike.
    Nothing is reset.

    Parameters
    ----------
    dt : float, default 0.05
        Length of a step in ms.
    scheme : str, default "exponential_split"
        ``exponential_split`` (Rush & Larsen, 1978), ``exponential`` (Rosenbrock-Euler), ``euler``,
        ``rk2``, ``rk4``, ...
    g_na, g_k, g_l : float, default 120, 36, 0.3
        Conductances, in mS/cm^2.
    e_na, e_k, e_l : float, default 50, -77, -54.387
        Reversal potentials, in mV.
    c : float, default 1
        Capacitance, in uF/cm^2. So currents x are in uA/cm^2.
    tau_ref : float, default 2
        Time constant of the threshold after a spike, in ms.
    v_threshold : float, default 0
        Where an action potential counts as a spike, in mV.
    v_reset : float, default -65
        Where v starts, with the gates' steady state there; no spike resets it.
    jump : str, default "hard"
        ``hard`` (r = 1) or ``none``, with which every step above the threshold is a spike.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.
    """

    dt: float = 0.05
    scheme: str = "exponential_split"
    g_na: float = 120.0
    g_k: float = 36.0
    g_l: float = 0.3
    e_na: float = 50.0
    e_k: float = -77.0
    e_l: float = -54.387
    c: float = 1.0
    tau_ref: float = 2.0
    v_threshold: float = 0.0
    v_reset: float = -65.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "hodgkin_huxley"
    title = "Hodgkin-Huxley"
    jumps = ("hard", "none")

    def velocity(self, x: Any, v: Any, m: Any, h: Any, n: Any, r: Any) -> Any:
        sodium = self.g_na * (m * m * m * h) * (v - self.e_na)
        potassium = self.g_k * (n * n * n * n) * (v - self.e_k)
        gates = (
            opening * (1.0 - gate) - closing * gate
            for gate, (opening, closing) in zip((m, h, n), _rates(v), strict=True)
        )
        dv = (x - sodium - potassium - self.g_l * (v - self.e_l)) / self.c
        return dv, *gates, -r / self.tau_ref

    def threshold(self, v: Any, m: Any, h: Any, n: Any, r: Any) -> Any:
        return self.v_threshold + _HIGHER * r

    def own_jump(self, v: Any, m: Any, h: Any, n: Any, r: Any) -> Any:
        return v, m, h, n, 1.0

    def initial(self) -> Any:
        v = torch.as_tensor(self.v_reset, dtype=torch.float64, device="cpu")
        gates = (opening / (opening + closing) for opening, closing in _rates(v))
        return self.v_reset, *(g if g.ndim or g.requires_grad else g.item() for g in gates), 0.0


def _rates(v: Any) -> Any:
    """Rates ``(alpha, beta)`` of m, h and n, per ms."""
    v = torch.clamp(v, -_RANGE, _RANGE)
    return (
        (_linoid((v + 40.0) / 10.0), 4.0 * torch.exp((v + 65.0) / -18.0)),
        (0.07 * torch.exp((v + 65.0) / -20.0), torch.sigmoid((v + 35.0) / 10.0)),
        (0.1 * _linoid((v + 55.0) / 10.0), 0.125 * torch.exp((v + 65.0) / -80.0)),
    )


def _linoid(x: Any) -> Any:
    """``x / (1 - exp(-x))``, 1 at 0, by its series where both vanish."""
    near = torch.abs(x) < 1e-3
    away = torch.where(near, 1.0, x)  # so that the branch not taken has a derivative too
    return torch.where(near, 1.0 + x * (0.5 + x / 12.0), away / -torch.expm1(-away))
