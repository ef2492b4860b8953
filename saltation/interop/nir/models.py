"""NIR's neurons, with its resistance and input weight; without them they are LIF and CUBA-LIF."""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class ResistiveLIFNeuron(Neuron):
    """NIR's LIF: ``tau dv/dt = -(v - v_rest) + r x``, set to v_reset at a spike.

    Parameters
    ----------
    tau : float
        Membrane time constant, in the unit of ``dt``.
    r : float
        Resistance.
    v_rest : float
        Leak potential.
    """

    tau: float = 2.0
    r: float = 1.0
    v_rest: float = 0.0

    def velocity(self, x: Any, v: Any) -> Any:
        return ((self.r * x - (v - self.v_rest)) / self.tau,)


class IntegrateAndFireNeuron(Neuron):
    """NIR's IF: ``dv/dt = r x``, set to v_reset at a spike.

    Parameters
    ----------
    r : float
        Resistance over capacity.
    """

    r: float = 1.0

    def velocity(self, x: Any, v: Any) -> Any:
        return (self.r * x,)


class ResistiveCubaLIFNeuron(Neuron):
    """NIR's CUBA-LIF: ``tau_syn di/dt = -i + w_in x``, ``tau dv/dt = -(v - v_rest) + r i``.

    Parameters
    ----------
    tau, tau_syn : float
        Time constants of membrane and synapse, in the unit of ``dt``.
    r, w_in : float
        Resistance, and weight of the input.
    v_rest : float
        Leak potential.
    """

    tau: float = 2.0
    tau_syn: float = 1.0
    r: float = 1.0
    w_in: float = 1.0
    v_rest: float = 0.0

    def velocity(self, x: Any, v: Any, i: Any) -> Any:
        return (
            (self.r * i - (v - self.v_rest)) / self.tau,
            (self.w_in * x - i) / self.tau_syn,
        )
