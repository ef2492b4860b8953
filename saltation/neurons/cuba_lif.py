"""Leaky integrate-and-fire behind a synaptic current (current-based, CUBA).

ODE         tau_syn di/dt = -i + x
            tau     dv/dt = -(v - v_rest) + i
condition   v >= v_threshold
jump        hard: v = v_reset;  soft: v = v - v_threshold;  none;  i does not jump

The ODE is linear, so one step of any scheme is the same affine map

    h = rest + M (state - rest) + N x,      M = R(dt J),  N = J^-1 (M - 1) b,

with R the scheme's stability function, J the Jacobian and b = (0, 1 / tau_syn) what the input
drives. Sources: Brette et al., "Simulation of networks of spiking neurons", J. Comput. Neurosci.,
2007, benchmark 2 (CUBA); with the matrix exponential: Rotter & Diesmann, "Exact digital simulation
of time-invariant linear systems with applications to neuronal modeling", Biol. Cybern., 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import positive
from saltation.neurons.base import Neuron, Spike


class CubaLIFState(NamedTuple):
    """State of `CubaLIFNeuron`: potential ``v`` and synaptic current ``i``, each ``[B, ...]``."""

    v: Tensor
    i: Tensor


class Coefficients(NamedTuple):
    """The affine map of one step; ``m_iv`` is 0, for the potential does not drive the current."""

    m_vv: float
    m_vi: float
    m_ii: float
    n_v: float
    n_i: float


@dataclass(frozen=True)
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
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler`` or ``trapezoid``. The
        default is exact for input that is constant over the step, and stable for every dt. With
        ``euler`` the input of a step reaches v in the next one.
    v_threshold, v_reset, v_rest : float, default 1, 0, 0
        Potentials, in one unit with i and x.
    jump : str, default "hard"
        ``hard`` (v = v_reset), ``soft`` (v = v - v_threshold) or ``none``.
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
    State = CubaLIFState
    schemes = ("euler", "exponential", "rk2", "rk4", "implicit_euler", "trapezoid")
    jumps = ("hard", "soft", "none")
    linear = True

    def __post_init__(self) -> None:
        for k in ("tau", "tau_syn", "dt"):
            positive(f"CUBA-LIF {k}", getattr(self, k))
        super().__post_init__()
        # Now rather than in the first step, where torch.compile would have to follow scipy.
        _ = self.coefficients

    @classmethod
    def why_not(cls, scheme: str) -> str:
        return (
            "it is made for two variables that drive each other, and the potential does not drive "
            "the current"
        )

    @cached_property
    def coefficients(self) -> Coefficients:
        """M and N of one step, in float64."""
        # With x as a third variable that does not change, R of the larger Jacobian holds M and N
        # side by side: there is no difference M - 1 that would lose N's digits for small steps.
        # In the order i, v, x it is not triangular: scipy's exponential of triangular matrices
        # loses half of the digits where tau and tau_syn are close but not equal.
        rate, rate_syn = 1 / self.tau, 1 / self.tau_syn
        driven = np.array([[-rate_syn, 0.0, rate_syn], [rate, -rate, 0.0], [0.0, 0.0, 0.0]])
        (m_ii, _, n_i), (m_vi, m_vv, n_v), _ = self.stability_scheme.amplification(
            driven, self.dt
        ).tolist()
        return Coefficients(m_vv, m_vi, m_ii, n_v, n_i)

    @property
    def jacobian(self) -> NDArray[Any]:
        return np.array([[-1 / self.tau, 1 / self.tau], [0.0, -1 / self.tau_syn]])

    def velocity(self, x: Any, state: CubaLIFState) -> CubaLIFState:
        v, i = state
        return CubaLIFState((i - (v - self.v_rest)) / self.tau, (x - i) / self.tau_syn)

    @property
    def limit_formula(self) -> str:
        name = "tau" if self.tau < self.tau_syn else "tau_syn"
        return f"{self.dt_limit / getattr(self, name):.4g} {name}"

    def mode_name(self, factors: NDArray[Any]) -> str:
        # The potential does not act on the current, so each has a mode; the faster one grows first.
        if self.tau < self.tau_syn:
            return f"the potential's mode (rate {-1 / self.tau:.4g})"
        return f"the synaptic current's mode (rate {-1 / self.tau_syn:.4g})"

    def rest(self, like: Tensor) -> CubaLIFState:
        return CubaLIFState(torch.full_like(like, self.v_rest), torch.zeros_like(like))

    def integrate(self, x: Tensor, state: CubaLIFState, spike: Spike) -> CubaLIFState:
        c = self.coefficients
        v, i = state
        if self.v_rest:
            h = c.m_vv * (v - self.v_rest) + c.m_vi * i + c.n_v * x + self.v_rest
        else:
            h = c.m_vv * v + c.m_vi * i + c.n_v * x
        return CubaLIFState(h, c.m_ii * i + c.n_i * x)

    def apply_jump(self, h: CubaLIFState, s: Tensor) -> CubaLIFState:
        return CubaLIFState(self.jump_potential(h.v, s), h.i)
