"""Every layer of the registry with each of its schemes and jumps, as one fixture."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from saltation.layers import LAYERS, SpikingLayer


class Case(NamedTuple):
    """A layer to build, and the currents ``low ... high`` under which it spikes now and then."""

    model: str
    parameters: dict[str, Any]
    low: float
    high: float

    def layer(self, **more: Any) -> SpikingLayer:
        """The layer in the reference loop, with further parameters."""
        return LAYERS[self.model](**{"backend": "reference", **self.parameters, **more})

    def currents(self, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Random currents ``[T, B, ...]``."""
        x = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        return self.low + (self.high - self.low) * x

    def __str__(self) -> str:
        return "-".join([self.model, *map(str, self.parameters.values())])


# Without a jump neurons stay above threshold, and the quadratic model runs away: less drive.
RANGES = {
    "lif": (-1.0, 4.5),
    "lif-none": (-1.0, 3.0),
    "izhikevich": (-1.0, 3.0),
    "izhikevich-none": (-1.0, 1.55),
}


def cases() -> list[Case]:
    """Layer x scheme x jump, and LIF in its beta form."""
    found = []
    for model, layer in LAYERS.items():
        neuron = layer.neuron_type
        for scheme, jump in itertools.product(neuron.schemes, neuron.jumps):
            span = RANGES.get(f"{model}-{jump}") or RANGES.get(model, (-1.0, 3.0))
            found.append(Case(model, {"scheme": scheme, "jump": jump, "dt": 0.5}, *span))
    for jump in LAYERS["lif"].neuron_type.jumps:
        found.append(Case("lif", {"jump": jump, "beta": 0.75, "v_rest": -0.25}, -0.75, 1.25))
    return found


@pytest.fixture(scope="session", params=cases(), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """One layer, scheme and jump."""
    return request.param  # type: ignore[no-any-return]
