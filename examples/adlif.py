"""Networks of adaptive LIF neurons with the published settings, for the integrators study.

Baronig, Ferrand, Sabathiel & Legenstein, "Advancing spatio-temporal processing through adaptation
in spiking neural networks", Nature Communications, 2025. What stands in docs/adlif.md comes from::

    saltation study integrators --dataset bsd --network examples/adlif.py:bursts_q120 \\
        --neurons adlif --schemes exponential_split exponential_symplectic exponential --dt 1
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import saltation as st

TAU, TAU_W, B = (5.0, 25.0), (60.0, 300.0), 2.0  # ranges in ms, and of b / q
HIDDEN = 64


def adaptive(
    features: int, q: float, neuron: Any, scheme: str, dt: float, unit: float = 1.0
) -> nn.Module:
    """Neurons whose four parameters are learned, each from a place drawn in its range.

    In the paper's form ``w' = beta w + (1 - beta) q (a u + b s)``: a up to 1, b up to 2. Here ``a``
    is the paper's q a, and ``b``, which w jumps by at a spike, its ``(1 - beta) q b``. Time
    constants are in ``unit`` of ms.
    """
    (low, high), (low_w, high_w) = ((unit * end for end in ends) for ends in (TAU, TAU_W))
    tau, tau_w, a, b = torch.rand(4, features)
    tau_w = low_w + (high_w - low_w) * tau_w
    jump = -torch.expm1(-dt / tau_w) * q * B * b
    most = q * B * -torch.expm1(torch.tensor(-dt / low_w))
    return neuron.layer(
        tau=st.learn(low + (high - low) * tau, (low, high)),
        tau_w=st.learn(tau_w, (low_w, high_w)),
        a=st.learn(q * a, (0.0, q)),
        b=st.learn(jump, (0.0, float(most))),
        dt=dt,
        scheme=scheme,
        surrogate=st.surrogate.Sigmoid(5.0),
        detach_reset=True,
    )


def hidden(features: int, gain: float, q: float, *of_neuron: Any) -> st.Sequential:
    """One layer, with input weights so large that its neurons spike from the start: they see a 25th
    to a 5th of a current that lasts one step."""
    weights = st.SpikeLinear(features, HIDDEN)
    with torch.no_grad():
        weights.weight *= gain
        weights.bias.zero_()
    return st.Sequential(weights, adaptive(HIDDEN, q, *of_neuron))


def bursts(features: int, classes: int, q: float, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """The largest potentials over time of leaky integrators of 15 ms."""
    answer = st.SpikeLinear(HIDDEN, classes)
    with torch.no_grad():
        answer.weight *= 3
    first = hidden(features, 20.0, q, neuron, scheme, dt)
    return st.Sequential(*first, answer, st.LeakyIntegrator(15.0, dt), st.Readout("max"))


def masses(features: int, outputs: int, q: float, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """The potentials of leaky integrators of 5 ms at every step."""
    first = hidden(features, 20.0, q, neuron, scheme, dt)
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


class Pooled(nn.Module):
    """Five neighbouring units of 700 taken together."""

    def forward(self, spikes: Tensor) -> Tensor:
        """``[T, B, 700]`` to counts ``[T, B, 140]``."""
        return torch.as_tensor(spikes).unflatten(2, (-1, 5)).sum(-1)


class Answer(nn.Module):
    """Behind the first ten steps: the sum of every step's softmax, or the mean of its potentials.

    Parameters
    ----------
    softmax
        Which of the two; of the sum, which are probabilities but for a factor, the logarithm.
    """

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax

    def forward(self, outputs: Tensor) -> Tensor:
        """``[T, B, classes]`` to logits ``[B, classes]``."""
        later = outputs[min(10, len(outputs) - 1) :]
        return later.log_softmax(-1).logsumexp(0) if self.softmax else later.mean(0)


def speech(features: int, classes: int, softmax: bool, *of_neuron: Any) -> nn.Module:
    """Two recurrent layers at q 120, and leaky integrators of 15 steps.

    The paper's time constants are in steps, here of 4 ms.
    """
    neuron, scheme, dt = of_neuron
    layers: list[nn.Module] = [Pooled()]
    for inputs in (140, features):
        neurons = adaptive(features, 120.0, neuron, scheme, dt, unit=dt)
        layers += [st.SpikeLinear(inputs, features), st.Recurrent(neurons, features)]  # type: ignore[arg-type]
        layers += [nn.Dropout(0.15)]
    last = [st.SpikeLinear(features, classes), st.LeakyIntegrator(15.0 * dt, dt)]
    return st.Sequential(*layers, *last, Answer(softmax))


def shd(classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For the Heidelberg digits: 360 neurons a layer; 300 epochs of batches of 256 at 0.01."""
    return speech(360, classes, True, neuron, scheme, dt)


def ssc(classes: int, neuron: Any, scheme: str, dt: float) -> nn.Module:
    """For the speech commands: 720 neurons a layer; 40 epochs of batches of 256 at 0.006."""
    return speech(720, classes, False, neuron, scheme, dt)
