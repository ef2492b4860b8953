"""Images that a network shows for T steps are the sequence of T steps, in everything estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import saltation as st
from saltation.models.mlp import image_mlp

SIDE = 8
NETWORKS: dict[str, Callable[..., Any]] = {
    "vgg": lambda **o: st.spiking_vgg(1, 4, SIDE, stages=2, base_channels=4, steps=5, **o),
    "sew": lambda **o: st.sew_resnet("basic", (1, 1), 1, 4, width=4, steps=3, **o),
    "spikformer": lambda **o: st.spikformer(1, 4, SIDE, width=16, depth=1, heads=2, steps=3, **o),
    "mlp": lambda **_: image_mlp((1, SIDE, SIDE), 4, 2, base_channels=12, steps=4),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", ["step", "all"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n == "spikformer" else ()) for n in NETWORKS],
)
def test_an_image_is_its_sequence(name: str, batch_norm: str, training: bool) -> None:
    """λ by every estimator, penalty and gradient, growth over depth, diagnosis."""
    torch.manual_seed(0)
    network = NETWORKS[name](batch_norm=batch_norm).double().train(training)
    # Statistics over all steps are not those of each: such a network takes all steps in one call.
    whole = batch_norm == "all" and training and name != "mlp"
    estimators = ("tangent", "telescoped") if whole else ("tangent", "telescoped", "finite")
    noise = torch.Generator().manual_seed(1)
    images = torch.rand(3, 1, SIDE, SIDE, generator=noise, dtype=torch.float64)
    steps = {"vgg": 5, "mlp": 4}.get(name, 3)
    weight = next(p for p in network.parameters() if p.ndim > 1)
    found: list[dict[str, Any]] = []
    for x in (images, st.direct(images, steps).contiguous()):
        values: dict[str, Any] = {}
        for estimator in estimators:
            result = st.lyapunov(network, x, estimator=estimator)
            assert result.horizon == steps
            values[estimator] = result.exponents.detach()
        term = st.LyapunovPenalty(target=-2.0)(network, x)
        values["penalty"] = term.detach()
        values["gradient"] = torch.autograd.grad(term, weight)[0]
        values["growth"] = st.depth_growth(network, x).norms.detach()
        seen = st.diagnose(network, x, torch.tensor([0, 1, 2]), trial=0)
        values["loss"] = torch.tensor(seen.loss)
        values["gradients"] = torch.tensor([layer.gradient for layer in seen.layers])
        values["rates"] = torch.tensor([layer.rate for layer in seen.layers])
        found.append(values)
    for key, value in found[0].items():
        size = float(value.abs().max())
        torch.testing.assert_close(found[1][key], value, rtol=0, atol=1e-9 * size + 1e-15)


def test_the_shape_of_an_image_is_checked() -> None:
    """By the network itself, in its own words."""
    network = NETWORKS["vgg"]()
    with pytest.raises(st.SaltationError, match="the network takes floating-point images"):
        st.lyapunov(network, torch.rand(3, 16, 16))
