"""Leaky integrate-and-fire behind a synaptic current (current-based, CUBA).

The ODE is linear, so one step of any scheme is one affine map of potential, synaptic current and
input. Sources: Brette et al., "Simulation of networks of spiking neurons", J. Comput. Neurosci.,
2007, benchmark 2 (CUBA); with the matrix exponential: Rotter & Diesmann, "Exact digital simulation
of time-invariant linear systems with applications to neuronal modeling", Biol. Cybern., 1999.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from saltation.neurons.base import Neuron


class CubaLIFNeuron(Neuron):
    """Leaky integrate-and-fire neuron with a synaptic current, integrated by any linear scheme.

    ``tau_syn di/dt = -i + x``, ``tau dv/dt = -(v - v_rest) + i``; spike where
    ``v >= v_threshold``; then the jump of v alone (Brette et al., 2007, benchmark CUBA). v starts
    at v_rest, i at 0. A constant x drives i towards x and v towards v_rest + x.

    Parameters
    ----------
    tau : float, default 2
        Membrane time constant, in the unit of time of ``dt``.
    tau_syn : float, default 1
        Time constant of the synaptic current, in the same unit; may equal tau. The default is half
        of tau, the ratio of the inhibitory synapses in the CUBA benchmark (10 and 20 ms).
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler``, ``trapezoid``, ... The
        default is exact for input that is constant over the step, and stable for every dt. With
        ``euler`` the input of a step reaches v in the next one.
    v_threshold, v_reset, v_rest : float, default 1, 0, 0
        Potentials, in one unit with i and x.
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
    tau_syn: float = 1.0
    dt: float = 1.0
    scheme: str = "exponential"
    v_threshold: float = 1.0
    v_reset: float = 0.0
    v_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "cuba_lif"
    title = "CUBA-LIF"

    def velocity(self, x: Any, v: Any, i: Any) -> Any:
        return (i - (v - self.v_rest)) / self.tau, (x - i) / self.tau_syn

    @classmethod
    def why_not(cls, scheme: str) -> str | None:
        if scheme in ("symplectic", "symplectic_v"):
            return (
                "it is made for two variables that drive each other, and the potential does not "
                "drive the current"
            )
        return super().why_not(scheme)

    @property
    def limit_formula(self) -> str:
        name = "tau" if self.tau < self.tau_syn else "tau_syn"
        return f"{self.dt_limit / getattr(self, name):.4g} {name}"

    def mode_name(self, rates: NDArray[Any], factors: NDArray[Any]) -> str:
        # The potential does not act on the current, so each has a mode; the faster one grows first.
        if self.tau < self.tau_syn:
            return f"the potential's mode (rate {-1 / self.tau:.4g})"
        return f"the synaptic current's mode (rate {-1 / self.tau_syn:.4g})"
