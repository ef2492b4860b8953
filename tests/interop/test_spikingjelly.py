"""Against SpikingJelly 2.0: the same spikes, potentials and gradients, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from tests.facts import TOLERANCE
from tests.interop.conftest import SpikingJelly, Weighted, assert_same, differentiate, weighted

F64 = torch.float64

SURROGATES = {
    "sigmoid": (st.surrogate.Sigmoid(4.0), lambda sj: sj.surrogate.Sigmoid(alpha=4.0)),
    "atan": (st.surrogate.ATan(2.0), lambda sj: sj.surrogate.ATan(alpha=2.0)),
}


def theirs(node: Any, currents: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and potentials after the jump of a node in either step mode."""
    if node.step_mode == "m":
        return node(currents), node.v_seq
    spikes, potentials = [], []
    for x in currents:
        spikes.append(node(x))
        potentials.append(node.v)
    return torch.stack(spikes), torch.stack(potentials)


def ours(layer: st.LIF | st.Izhikevich, currents: Tensor) -> tuple[Tensor, Tensor]:
    """Spikes and potentials after the jump of a layer."""
    trace = layer.record(currents)
    return trace.spikes, trace.states.v


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("v_reset", [0.0, -0.3, None])
@pytest.mark.parametrize("decay_input", [True, False])
def test_lif(
    spikingjelly: SpikingJelly,
    step_mode: str,
    surrogate: str,
    detach_reset: bool,
    v_reset: float | None,
    decay_input: bool,
) -> None:
    """LIFNode is `euler` at dt = 1; its v_reset is also the resting potential, None is soft."""
    tau = 2.5
    mine, peer = SURROGATES[surrogate]
    node = spikingjelly.neuron.LIFNode(
        tau=tau,
        decay_input=decay_input,
        v_reset=v_reset,
        surrogate_function=peer(spikingjelly),
        detach_reset=detach_reset,
        step_mode=step_mode,
        store_v_seq=step_mode == "m",
    )
    layer = st.LIF(
        tau,
        1.0,
        "euler",
        decay_input=decay_input,
        v_reset=v_reset or 0.0,
        v_rest=v_reset or 0.0,
        jump="soft" if v_reset is None else "hard",
        detach_reset=detach_reset,
        surrogate=mine,
    )
    data = weighted(gain=2.0, bias=1.0)
    data = data if decay_input else Weighted(data.x, data.weight / tau)
    parameters = Weighted(*(t.detach().requires_grad_() for t in data))
    assert_same(
        differentiate(parameters, *ours(layer, parameters.currents)),
        differentiate(parameters, *theirs(node, parameters.currents)),
        TOLERANCE[F64],
    )


IZHIKEVICH: dict[str, float] = {
    "tau": 2.0, "v_c": 0.8, "a0": 1.0, "v_rest": -0.1, "tau_w": 2.0, "a": 0.02, "b": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize(
    "more",
    [{}, {"v_reset": -0.2, "w_rest": 0.1, "tau_w": 3.0, "a": 0.3, "v_threshold": 1.2}],
    ids=["notebook", "other"],
)
def test_izhikevich(
    spikingjelly: SpikingJelly, step_mode: str, surrogate: str, more: dict[str, float]
) -> None:
    """IzhikevichNode is `symplectic_v` at dt = 1: w follows the new v."""
    parameters = {**IZHIKEVICH, "v_reset": 0.0, **more}
    mine, peer = SURROGATES[surrogate]
    node = spikingjelly.neuron.IzhikevichNode(
        **parameters,
        surrogate_function=peer(spikingjelly),
        step_mode=step_mode,
        store_v_seq=step_mode == "m",
    )
    layer = st.Izhikevich(**parameters, scheme="symplectic_v", surrogate=mine)
    data = weighted(gain=0.7, bias=0.7)
    assert_same(
        differentiate(data, *ours(layer, data.currents)),
        differentiate(data, *theirs(node, data.currents)),
        TOLERANCE[F64],
    )
    trace = layer.record(data.currents)
    torch.testing.assert_close(trace.state.w, node.w, rtol=0, atol=TOLERANCE[F64])


@pytest.mark.parametrize("scheme", ["euler", "symplectic"])
def test_izhikevich_is_no_other_scheme(spikingjelly: SpikingJelly, scheme: str) -> None:
    """The two neighbours differ from the node, so the agreement above says something."""
    data = weighted(gain=0.7, bias=0.7)
    parameters = {**IZHIKEVICH, "a": 0.3}
    node = spikingjelly.neuron.IzhikevichNode(**parameters, step_mode="m", store_v_seq=True)
    layer = st.Izhikevich(**parameters, scheme=scheme)
    difference = ours(layer, data.currents)[1] - theirs(node, data.currents)[1]
    assert difference.abs().max() > 0.01
