"""Leaky integrate-and-fire.

The ODE is linear, so one step of any scheme is the same affine map

    h = v_rest + A (v - v_rest) + C x,      A = R(-dt / tau),

with R the scheme's stability function and C = 1 - A (decay_input) or tau (1 - A). Source: Gerstner,
Kistler, Naud & Paninski, "Neuronal Dynamics", 2014, chapter 1.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError, number, shown
from saltation.neurons import made
from saltation.neurons.base import Neuron
from saltation.neurons.linear import AffineStep, struck


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
        ``euler``, ``exponential``, ``rk2``, ``rk4``, ``implicit_euler``, ``trapezoid``, ... The
        default is exact for input that is constant over the step, and stable for every dt.
    beta : float, optional
        In place of ``tau``, ``dt`` and ``scheme``: the decay per step, in [0, 1], with A = beta
        and C = 1 (snnTorch's Leaky); with ``input="impulse"`` C = beta: the jump comes first.
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
    ranges = {"beta": "unit"}  # noqa: RUF012  # as its type in the base says

    def __post_init__(self) -> None:
        given = {k: getattr(self, k) for k in ("tau", "dt", "scheme")}
        if self.beta is not None:
            object.__setattr__(self, "beta", _decay(self.beta))
        clash = [f"{k}={shown(v)}" for k, v in given.items() if v is not None]
        if self.beta is not None and clash:
            raise SaltationError(
                f"LIF takes either beta or tau, dt and scheme, got beta={shown(self.beta)} and "
                f"{', '.join(clash)}"
            )
        for k, default in (("tau", 2.0), ("dt", 1.0), ("scheme", "exponential")):
            if given[k] is None:
                object.__setattr__(self, k, default)
        super().__post_init__()
        if self.beta is not None:
            # The time constant, in steps, whose exact decay per step is beta.
            object.__setattr__(self, "tau", _in_steps(self.beta))

    def velocity(self, x: Any, v: Any) -> Any:
        gain = self.tau if self.beta is None and not self.decay_input else 1.0
        return ((gain * x - (v - self.v_rest)) / self.tau,)

    @cached_property
    def fixed_point(self) -> tuple[Any, ...]:
        return (self.v_rest,)  # also of an integrator that does not leak

    @cached_property
    def affine_step(self) -> AffineStep | None:
        if self.beta is None:
            return super().affine_step
        step = AffineStep(((self.beta,),), (1.0,), (self.v_rest,), (0.0,))
        return step if self.input == "held" else struck(step, self.impulse_gains)

    @cached_property
    def impulse_gains(self) -> tuple[Any, ...]:
        return super().impulse_gains if self.beta is None else (1.0,)

    def with_values(self, values: dict[str, Any]) -> Any:
        if "beta" in values:
            values = {**values, "tau": _in_steps(values["beta"])}
        return super().with_values(values)

    @property
    def time_constants(self) -> dict[str, float]:
        return super().time_constants if self.beta is None else {}

    @property
    def limit_formula(self) -> str:
        return f"{self.dt_limit / self.tau:.4g} tau"

    @cached_property
    def is_stable(self) -> bool:
        if self.beta is None:
            return super().is_stable
        return bool((torch.as_tensor(self.beta, device="cpu") <= 1).all())


def _decay(beta: Any) -> Any:
    """``beta``, checked: a number, or a tensor of one per neuron or that is learned."""
    if made.is_varied(beta):
        known = made.varied("LIF beta", beta).detach()
        wrong = known[(known < 0) | (known > 1)]
        if wrong.numel():
            raise SaltationError(f"LIF beta must be in [0, 1], got a tensor with {wrong[0]:g}")
        return beta
    value = number("LIF beta", beta, "a number in [0, 1]")
    if not 0 <= value <= 1:
        raise SaltationError(f"LIF beta must be in [0, 1], got {value}")
    return value


def _in_steps(beta: Any) -> Any:
    if isinstance(beta, Tensor):
        return -1 / beta.log()
    decay = -math.log(beta) if beta else math.inf
    return 1 / decay if decay else math.inf
