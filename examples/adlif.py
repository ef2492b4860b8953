"""Networks of adaptive LIF neurons with the published settings, for the integrators study.

Baronig, Ferrand, Sabathiel & Legenstein, "Advancing spatio-temporal processing through adaptation
in spiking neural networks", Nature Communications, 2025. What stands in docs/adlif.md comes from::

    saltation study integrators --dataset bsd --network examples/adlif.py:bursts_q120 \\
        --neurons adlif --schemes exponential_split exponential_symplectic exponential --dt 1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import saltation as st

TAU, TAU_W, B = (5.0, 25.0), (60.0, 300.0), 2.0  # ranges in ms, and of b / q
HIDDEN = 64


def adaptive(features: int, q: float, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """Neurons whose four parameters are learned, each from a place drawn in its range.

    In the paper's form ``w' = beta w + (1 - beta) q (a u + b s)``: a up to 1, b up to 2. Here ``a``
    is the paper's q a, and ``b``, which w jumps by at a spike, its ``(1 - beta) q b``.
    """
    tau, tau_w, a, b = torch.rand(4, features)
    tau_w = TAU_W[0] + (TAU_W[1] - TAU_W[0]) * tau_w
    jump = -torch.expm1(-dt / tau_w) * q * B * b
    most = q * B * -torch.expm1(torch.tensor(-dt / TAU_W[0]))
    return neuron.layer(
        tau=st.learn(TAU[0] + (TAU[1] - TAU[0]) * tau, TAU),
        tau_w=st.learn(tau_w, TAU_W),
        a=st.learn(q * a, (0.0, q)),
        b=st.learn(jump, (0.0, float(most))),
        dt=dt,
        scheme=scheme,
        surrogate=st.surrogate.Sigmoid(5.0),
    )


def hidden(features: int, gain: float, q: float, *of_neuron: Any) -> st.Sequential:
    """One layer, with input weights so large that its neurons spike from the start: they see a 25th
    to a 5th of a current that lasts one step."""
    weights = st.SpikeLinear(features, HIDDEN)
    with torch.no_grad():
        weights.weight *= gain
    return st.Sequential(weights, adaptive(HIDDEN, q, *of_neuron))


def bursts(features: int, classes: int, q: float, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """The largest potentials over time of leaky integrators of 15 ms."""
    answer = st.SpikeLinear(HIDDEN, classes)
    with torch.no_grad():
        answer.weight *= 10
    first = hidden(features, 20.0, q, neuron, scheme, dt)
    return st.Sequential(*first, answer, st.LeakyIntegrator(15.0, dt), st.Readout("max"))


def masses(features: int, outputs: int, q: float, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """The potentials of leaky integrators of 5 ms at every step."""
    first = hidden(features, 40.0, q, neuron, scheme, dt)
    return st.Sequential(*first, st.SpikeLinear(HIDDEN, outputs), st.LeakyIntegrator(5.0, dt))


def bursts_q60(shape: Any, classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For classes, with the range of a that is stable with every scheme."""
    return bursts(shape[0], classes, 60.0, neuron, scheme, dt)


def bursts_q120(shape: Any, classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For classes, with twice the range."""
    return bursts(shape[0], classes, 120.0, neuron, scheme, dt)


def masses_q60(shape: Any, classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For displacements, with the range of a that is stable with every scheme."""
    return masses(shape[0], classes, 60.0, neuron, scheme, dt)


def masses_q120(shape: Any, classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For displacements, with twice the range."""
    return masses(shape[0], classes, 120.0, neuron, scheme, dt)
