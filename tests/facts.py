"""Known answers and tolerances, in one place; every value comes from outside the package."""

from __future__ import annotations

import math

import mpmath
import torch

# Rounding allowed in one chain of a few hundred operations on numbers of order one.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}

# Order of convergence of each scheme on a smooth system, as the literature has it.
ORDERS = {
    "euler": 1,
    "exponential": 2,
    "symplectic": 1,
    "symplectic_v": 1,
    "rk2": 2,
    "heun": 2,
    "rk3": 3,
    "ssprk3": 3,
    "rk4": 4,
    "exponential_split": 1,
    "exponential_symplectic": 1,
    "implicit_euler": 1,
    "trapezoid": 2,
}

# Random123 1.14, kat_vectors: counter, key and output of philox4x32-10.
PHILOX = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def lif_relaxation(time: float, tau: float, start: float, end: float) -> float:
    """Potential of a silent LIF neuron that relaxes from ``start`` to ``end``."""
    return end + (start - end) * math.exp(-time / tau)


def lif_interval(tau: float, reset: float, end: float, threshold: float) -> float:
    """Time a LIF neuron driven towards ``end`` takes from ``reset`` to ``threshold``."""
    return tau * math.log((end - reset) / (end - threshold))


def cuba_relaxation(
    time: float, tau: float, tau_syn: float, start: tuple[float, float], x: float
) -> tuple[float, float]:
    """(v - v_rest, i) of a silent CUBA-LIF neuron at ``time``, from ``start`` under constant ``x``.

    In 50 digits, because the solution divides by tau - tau_syn.
    """
    with mpmath.workdps(50):
        t, tau, tau_syn = mpmath.mpf(time), mpmath.mpf(tau), mpmath.mpf(tau_syn)
        u, w = mpmath.mpf(start[0]) - x, mpmath.mpf(start[1]) - x
        decay, of_i = mpmath.exp(-t / tau), mpmath.exp(-t / tau_syn)
        if tau == tau_syn:
            change = w * t / tau * decay
        else:
            change = w * tau_syn / (tau_syn - tau) * (of_i - decay)
        return float(x + u * decay + change), float(x + w * of_i)


def within_standard_errors(successes: float, trials: int, p: float, errors: float = 4.0) -> bool:
    """Whether a binomial count lies within so many standard errors of its mean."""
    return abs(successes - trials * p) <= errors * math.sqrt(trials * p * (1 - p)) + 1e-9


# Models in millivolts, which normalised currents of order 1 do not make spike.
IN_MV = ("hodgkin_huxley", "izhikevich_2003")
