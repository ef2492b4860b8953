"""Leaky integrate-and-fire.

ODE         tau dv/dt = -(v - v_rest) + x            (decay_input=True)
            dv/dt = -(v - v_rest) / tau + x          (decay_input=False)
condition   v >= v_threshold
jump        hard: v = v_reset;  soft: v = v - v_threshold;  none

The ODE is linear, so one step of any scheme is the same affine map

    h = v_rest + A (v - v_rest) + C x,      A = R(-dt / tau),

with R the scheme's stability function and C = 1 - A (decay_input) or tau (1 - A). Source: Gerstner,
Kistler, Naud & Paninski, "Neuronal Dynamics", 2014, chapter 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import SaltationError, number, positive, shown
from saltation.neurons.base import JUMPS, Neuron, Spike
from saltation.schemes import SCHEMES, get_scheme


class LIFState(NamedTuple):
    """State of `LIFNeuron`: potential ``v``, ``[B, ...]``."""

    v: Tensor


@dataclass(frozen=True)
class LIFNeuron(Neuron):
    """Leaky integrate-and-fire neuron, integrated by any linear scheme.

    ``tau dv/dt = -(v - v_rest) + x``; spike where ``v >= v_threshold``; then the jump. One step of
    every scheme is ``h = v_rest + A (v - v_rest) + C x`` (Gerstner et al., 2014).

    Parameters
    ----------
    tau : float, default 2
        Membrane time constant, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler`` or ``trapezoid``. The
        default is exact for input that is constant over the step, and stable for every dt.
    beta : float, optional
        In place of ``tau``, ``dt`` and ``scheme``: the decay per step, in [0, 1], with A = beta
        and C = 1 (snnTorch's Leaky).
    decay_input : bool, default True
        Whether the input is divided by tau, so that a constant x drives v towards v_rest + x.
    v_threshold, v_reset, v_rest : float, default 1, 0, 0
        Potentials, in one unit with x (or with tau x without ``decay_input``).
    jump : str, default "hard"
        ``hard`` (v = v_reset), ``soft`` (v = v - v_threshold), ``soft_delayed`` (the threshold is
        subtracted in the next step from the decayed potential; snnTorch's default) or ``none``.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump (snnTorch: always detached).

    Raises
    ------
    SaltationError
        If a parameter is out of range, a scheme or jump unknown, or beta given with tau, dt or
        scheme.
    """

    tau: float = None  # type: ignore[assignment]
    dt: float = None  # type: ignore[assignment]
    scheme: str = None  # type: ignore[assignment]
    beta: float | None = None
    decay_input: bool = True
    v_threshold: float = 1.0
    v_reset: float = 0.0
    v_rest: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "lif"
    title = "LIF"
    State = LIFState
    schemes = ("euler", "exponential", "rk2", "rk4", "implicit_euler", "trapezoid")
    jumps = JUMPS
    linear = True

    def __post_init__(self) -> None:
        given = {k: getattr(self, k) for k in ("tau", "dt", "scheme")}
        if self.beta is not None:
            beta = number("LIF beta", self.beta, "a number in [0, 1]")
            clash = [f"{k}={shown(v)}" for k, v in given.items() if v is not None]
            if clash:
                raise SaltationError(
                    f"LIF takes either beta or tau, dt and scheme, got beta={beta} and "
                    f"{', '.join(clash)}"
                )
            if not 0 <= beta <= 1:
                raise SaltationError(f"LIF beta must be in [0, 1], got {beta}")
            object.__setattr__(self, "beta", beta)
        for k, default in (("tau", 2.0), ("dt", 1.0), ("scheme", "exponential")):
            if given[k] is None:
                object.__setattr__(self, k, default)
        positive("LIF tau", self.tau)
        positive("LIF dt", self.dt)
        super().__post_init__()
        if self.beta is not None:
            # The time constant, in steps, whose exact decay per step is beta.
            decay = -math.log(self.beta) if self.beta else math.inf
            object.__setattr__(self, "tau", 1 / decay if decay else math.inf)

    @classmethod
    def why_not(cls, scheme: str) -> str:
        return "it updates two variables in turn, and the potential is the only one"

    @cached_property
    def coefficients(self) -> tuple[float, float]:
        """``(A, C)`` of one step ``h = v_rest + A (v - v_rest) + C x``."""
        if self.beta is not None:
            return self.beta, 1.0
        z = self.dt / self.tau
        a = float(get_scheme(self.scheme).stability(-z))
        # expm1 keeps the digits of 1 - exp(-z) that the difference would lose for small steps.
        c = -math.expm1(-z) if SCHEMES[self.scheme].exact_if_linear else 1 - a
        return a, c if self.decay_input else self.tau * c

    @property
    def time_constants(self) -> dict[str, float]:
        return super().time_constants if self.beta is None else {}

    @property
    def jacobian(self) -> NDArray[Any]:
        return np.array([[-1 / self.tau]])

    def velocity(self, x: Any, state: LIFState) -> LIFState:
        gain = self.tau if self.beta is None and not self.decay_input else 1.0
        return LIFState((gain * x - (state.v - self.v_rest)) / self.tau)

    @property
    def limit_formula(self) -> str:
        return f"{self.dt_limit / self.tau:.4g} tau"

    @cached_property
    def is_stable(self) -> bool:
        return self.beta is not None or super().is_stable

    def rest(self, like: Tensor) -> LIFState:
        return LIFState(torch.full_like(like, self.v_rest))

    def integrate(self, x: Tensor, state: LIFState, spike: Spike) -> LIFState:
        a, c = self.coefficients
        if self.v_rest:
            h = a * (state.v - self.v_rest) + c * x + self.v_rest
        else:
            h = a * state.v + c * x
        if self.jump == "soft_delayed":
            s = spike(state.v - self.v_threshold)
            h = h - (s.detach() if self.detach_reset else s) * self.v_threshold
        return LIFState(h)

    def apply_jump(self, h: LIFState, s: Tensor) -> LIFState:
        return LIFState(self.jump_potential(h.v, s))
