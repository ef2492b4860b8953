"""Exponential integrate-and-fire.

Source: Fourcaud-Trocmé, Hansel, van Vreeswijk & Brunel, "How spike generation mechanisms determine
the neuronal response to fluctuating inputs", J. Neurosci., 2003.
"""

from __future__ import annotations

from typing import Any

import torch

from saltation.errors import SaltationError
from saltation.neurons.base import Neuron

# exp(60) is 1e26: float32 holds it times what schemes make of it.
_STEEPEST = 60.0


class EIFNeuron(Neuron):
    """Exponential integrate-and-fire neuron.

    ``tau dv/dt = -(v - v_rest) + delta exp((v - v_rheo) / delta) + x``; spike where
    ``v >= v_threshold``; then the jump (Fourcaud-Trocmé et al., 2003). v starts at rest, which is
    above v_rest by what the exponential adds. Its rheobase is ``v_rheo - v_rest - delta``.

    Parameters
    ----------
    tau : float, default 2
        Membrane time constant, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (Rosenbrock-Euler), ``euler``, ``rk2``, ``rk3``, ``rk4``, ...
    delta : float, default 0.2
        Sharpness of the upstroke, above 0: a potential.
    v_rheo, v_rest : float, default 0.8, 0
        Where the upstroke takes over (the largest potential that constant input can hold), and
        where the leak draws to.
    v_threshold, v_reset : float, default 1, 0
        Threshold, at most 60 delta above v_rheo, and reset. All potentials are in one unit with x.
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
    delta: float = 0.2
    v_rheo: float = 0.8
    v_rest: float = 0.0
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "eif"
    title = "EIF"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_upstroke(self)

    def velocity(self, x: Any, v: Any) -> Any:
        return ((upstroke(self, v) - (v - self.v_rest) + x) / self.tau,)


def upstroke(neuron: Any, v: Any) -> Any:
    """``delta exp((v - v_rheo) / delta)``."""
    # No faster than at the threshold, where the spike is: stages of a step, and potentials that do
    # not jump, lie above it, and exponentials of exponentials overflow.
    below = torch.clamp(v, max=neuron.v_threshold)
    return neuron.delta * torch.exp((below - neuron.v_rheo) / neuron.delta)


def check_upstroke(neuron: Any) -> None:
    """Whether the exponential is one, and finite up to the threshold."""
    parts = (torch.as_tensor(p) for p in (neuron.delta, neuron.v_threshold, neuron.v_rheo))
    delta, threshold, rheo = (part.detach().double() for part in parts)
    if not bool((delta > 0).all()):
        raise SaltationError(f"{neuron.title} delta must be above 0, got {delta.min().item():g}")
    most = float(((threshold - rheo) / delta).max())
    if most > _STEEPEST:
        raise SaltationError(
            f"{neuron.title} v_threshold must be at most {_STEEPEST:g} delta above v_rheo, where "
            f"the upstroke is exp({_STEEPEST:g}) delta, got {most:.4g} delta"
        )
