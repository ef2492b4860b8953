"""Within autocast neurons keep their states in float32, whatever the products before them give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import saltation as st


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("form", ["neurons", "recurrent"])
def test_states_are_of_single_precision(form: str, dtype: torch.dtype) -> None:
    """The spikes are those of the same currents in float32; in half precision they are others."""
    layer: nn.Module = st.LIF(dt=0.05)
    if form == "recurrent":
        layer = st.Recurrent(st.LIF(dt=0.05), 30)
        nn.init.zeros_(layer.weight)  # its product is half in autocast, which is not the question
    x = (3 * torch.rand(200, 4, 30, generator=torch.Generator().manual_seed(0))).to(dtype)
    with torch.autocast("cpu", dtype):
        spikes = layer(x)
    assert spikes.dtype == torch.float32
    assert spikes.sum() > 0
    assert torch.equal(spikes, layer(x.float()))
    if form == "neurons":
        halves = layer(x)
        assert halves.dtype == dtype
        assert not torch.equal(spikes, halves.float())


def test_a_network_learns_in_autocast() -> None:
    """Gradients reach the weights, which stay float32."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 30), st.LIF(dt=0.5), nn.Linear(30, 3))
    with torch.autocast("cpu", torch.bfloat16):
        out = net(3 * torch.rand(20, 4, 8))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    for parameter in net.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0
