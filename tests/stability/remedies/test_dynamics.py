"""Remedies that change how neurons remember, in networks of three libraries."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import saltation as st
from saltation.interop import adapt
from saltation.interop.dynamics import is_hard, set_steps, steps_of, threshold_of
from saltation.stability.remedies import HardReset, TimeConstant
from tests.stability.remedies.networks import LIBRARIES, imported, linears, spikes

every_library = pytest.mark.parametrize("library", LIBRARIES)


@every_library
def test_time_constants_are_known_and_set(library: str) -> None:
    """In steps, as the decay of a step has it, and to what was asked for."""
    network = LIBRARIES[library](linears())[0]
    for port in adapt(network).ports:
        decay = 0.5 if "jelly" in library else 0.9
        assert steps_of(port) == pytest.approx(-1 / torch.tensor(decay).log().item(), rel=1e-5)
        assert threshold_of(port) == 1.0
        set_steps(port, 4.0)
        assert steps_of(port) == pytest.approx(4.0, rel=1e-5)


@every_library
def test_hard_resets(library: str) -> None:
    """Of soft ones, with the spikes of a network that was made with them; refused where they are
    hard; a copy made before keeps its own."""
    network = LIBRARIES[library](linears())[0]
    hard: list[Any] = [is_hard(port) for port in adapt(network).ports]
    if all(hard):
        with pytest.raises(st.SaltationError, match="no layer is known to have another reset"):
            HardReset().apply(network, spikes())
        return
    twin = copy.deepcopy(network)
    done = HardReset().apply(network, spikes())
    assert len(done.changed) == 3
    assert all(is_hard(port) for port in adapt(network).ports)
    assert not any(is_hard(port) for port in adapt(twin).ports)
    snn = imported("snntorch")
    made = snn.Leaky(beta=0.9, reset_mechanism="zero", init_hidden=False)
    changed: Any = adapt(network).ports[0].module
    current, start = 3 * torch.rand(4, 5), torch.full((4, 5), 1.2)
    theirs = made(current, start)[1]
    if changed.init_hidden:
        changed.mem = start
        changed(current)
        ours = changed.mem
    else:
        ours = changed(current, start)[1]
    torch.testing.assert_close(ours, theirs)


def test_soft_resets_of_saltation_and_spikingjelly() -> None:
    neuron = imported("spikingjelly.activation_based.neuron")
    for layer in (st.LIF(tau=3.0, jump="soft"), neuron.LIFNode(tau=3.0, v_reset=None)):
        network = nn.Sequential(nn.Linear(20, 5), layer)
        (port,) = adapt(network).ports
        assert is_hard(port) is False
        HardReset().apply(network, spikes())
        assert is_hard(adapt(network).ports[0])


def test_a_time_constant_of_the_order_of_the_steps_is_left() -> None:
    network = LIBRARIES["saltation"](linears())[0]
    with pytest.raises(st.SaltationError, match="no layer's time constant is known to be far"):
        TimeConstant().apply(network, spikes())


def test_parameters_stay_but_the_one() -> None:
    """A neuron with another decay, in either form that it may have been given."""
    for layer in (
        st.LIF(beta=0.001, v_threshold=0.7, jump="soft", detach_reset=True),
        st.LIF(tau=0.1, dt=1.0, v_threshold=0.7, jump="soft", decay_input=False),
    ):
        old = layer.neuron
        TimeConstant(share=0.5).apply(nn.Sequential(nn.Linear(20, 5), layer), spikes())
        assert steps_of(adapt(nn.Sequential(layer)).ports[0]) == pytest.approx(4.0)
        for name in ("dt", "v_threshold", "jump", "detach_reset", "decay_input"):
            assert getattr(layer.neuron, name) == getattr(old, name)
