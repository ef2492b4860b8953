"""Against snnTorch 1.0: the same spikes, potentials and gradients.

snnTorch's alpha and beta are float32 buffers, so they are numbers that float32 holds; potentials
then run in float64. Its surrogates return float32 spikes, so what passes back through them is
float32 too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import saltation as st
from tests.facts import TOLERANCE
from tests.interop.conftest import assert_same, differentiate, weighted

SURROGATES = {
    "fast_sigmoid": (
        st.surrogate.FastSigmoid(25.0),
        lambda snn: snn.surrogate.fast_sigmoid(slope=25),
    ),
    "atan": (st.surrogate.ATan(2.0), lambda snn: snn.surrogate.atan(alpha=2.0)),
}


class Reset(NamedTuple):
    """How snnTorch names one of our jumps, and how it must be driven to agree."""

    jump: str
    detached: bool
    options: dict[str, Any]
    before_jump: bool = False  # snnTorch returns the potential before the reset
    bias: float = 0.2


RESETS = {
    "subtract": Reset("soft_delayed", True, {"reset_mechanism": "subtract"}),
    "zero": Reset("hard", True, {"reset_mechanism": "zero"}, before_jump=True),
    "none": Reset("none", True, {"reset_mechanism": "none"}, bias=-0.1),
    # Without the delay snnTorch's reset carries gradients.
    "zero at once": Reset("hard", False, {"reset_mechanism": "zero", "reset_delay": False}),
    "subtract at once": Reset("soft", False, {"reset_mechanism": "subtract", "reset_delay": False}),
}


def simulate(snn: Any, reset: Reset, spike: Any, threshold: float, x: Tensor) -> tuple[Tensor, ...]:
    """Spikes and returned potentials of Leaky, step by step."""
    leaky = snn.Leaky(beta=0.875, threshold=threshold, spike_grad=spike, **reset.options)
    memory = torch.zeros_like(x[0])
    steps = []
    for x_t in x:
        spikes, memory = leaky(x_t, memory)
        steps.append((spikes, memory))
    return tuple(map(torch.stack, zip(*steps, strict=True)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("threshold", [1.0, 0.75])
@pytest.mark.parametrize("mechanism", RESETS)
def test_leaky_is_beta(
    snntorch: Any, mechanism: str, threshold: float, surrogate: str, dtype: torch.dtype
) -> None:
    """Leaky is LIF(beta=...); `subtract`, its default, is our delayed soft jump."""
    mine, peer = SURROGATES[surrogate]
    reset = RESETS[mechanism]
    data = weighted(gain=0.25, bias=reset.bias, dtype=dtype)
    trace = st.LIF(
        beta=0.875,
        v_threshold=threshold,
        jump=reset.jump,
        detach_reset=reset.detached,
        surrogate=mine,
        backend="reference",
    ).record(data.currents)
    assert trace.h is not None
    if mechanism == "subtract at once":
        # Beyond twice the threshold snnTorch subtracts once more, in the next step.
        assert trace.h.max() < 2 * threshold
    spikes, potentials = simulate(snntorch, reset, peer(snntorch), threshold, data.currents)
    assert_same(
        differentiate(data, trace.spikes, trace.h if reset.before_jump else trace.states.v),
        differentiate(data, spikes, potentials),
        TOLERANCE[dtype],
        gradients=TOLERANCE[torch.float32],
    )


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("threshold", [1.0, 0.75])
@pytest.mark.parametrize("mechanism", ["none", "zero at once", "subtract at once"])
def test_synaptic_is_implicit_euler(
    snntorch: Any, mechanism: str, threshold: float, surrogate: str
) -> None:
    """Synaptic is CubaLIF(scheme="implicit_euler") in other units of current.

    Implicit Euler gives i' = alpha i + (1 - alpha) x and v' = beta v + (1 - beta) i' with
    alpha = 1 / (1 + dt / tau_syn), beta = 1 / (1 + dt / tau). Synaptic leaves out both factors, so
    its input is (1 - alpha) (1 - beta) x and its current (1 - beta) i. In no other scheme does v
    see exactly the new current. Its delayed resets are not ours: one subtracts a step later, and
    the other also discards the input of that step.
    """
    alpha, beta = 0.5, 0.875
    mine, peer = SURROGATES[surrogate]
    reset = RESETS[mechanism]
    synaptic = snntorch.Synaptic(
        alpha=alpha, beta=beta, threshold=threshold, spike_grad=peer(snntorch), **reset.options
    )
    layer = st.CubaLIF(
        tau=beta / (1 - beta),
        tau_syn=alpha / (1 - alpha),
        scheme="implicit_euler",
        v_threshold=threshold,
        jump=reset.jump,
        detach_reset=reset.detached,
        surrogate=mine,
    )
    data = weighted(gain=1.5, bias=0.5)
    trace = layer.record(data.currents)
    assert trace.h is not None
    if mechanism == "subtract at once":
        assert trace.h.max() < 2 * threshold
    current = memory = torch.zeros_like(data.currents[0])
    steps = []
    for x in data.currents:
        spikes, current, memory = synaptic((1 - alpha) * (1 - beta) * x, current, memory)
        steps.append((spikes, memory, current))
    spikes, potentials, currents = map(torch.stack, zip(*steps, strict=True))
    torch.testing.assert_close(
        trace.states.i * (1 - beta), currents, rtol=0, atol=TOLERANCE[torch.float64]
    )
    assert_same(
        differentiate(data, trace.spikes, trace.states.v),
        differentiate(data, spikes, potentials),
        TOLERANCE[torch.float64],
        gradients=TOLERANCE[torch.float32],
    )
