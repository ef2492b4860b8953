"""Every layer of the registry with its schemes and jumps, as fixtures."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from saltation.layers import LAYERS, SpikingLayer
from saltation.surrogate import Sigmoid


class Case(NamedTuple):
    """A layer to build, and the currents ``low ... high`` under which it spikes now and then."""

    model: str
    parameters: dict[str, Any]
    low: float
    high: float

    def layer(self, **more: Any) -> SpikingLayer:
        """The layer in the reference loop, with further parameters."""
        # A surrogate as wide as potentials are.
        own: dict[str, Any] = {"surrogate": Sigmoid(0.1)} if self.model in MILLIVOLTS else {}
        return LAYERS[self.model](**{"backend": "reference", **own, **self.parameters, **more})

    def currents(self, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Random currents ``[T, B, ...]``."""
        x = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
        return self.low + (self.high - self.low) * x

    def __str__(self) -> str:
        return "-".join([self.model, *map(str, self.parameters.values())])


MILLIVOLTS = ("izhikevich_2003", "hodgkin_huxley")

# Without a jump neurons stay above threshold, and the quadratic model runs away: less drive.
RANGES = {
    "lif": (-1.0, 4.5),
    "lif-none": (-1.0, 3.0),
    "plif": (-1.0, 4.5),
    "plif-none": (-1.0, 3.0),
    "alif": (-1.0, 4.5),
    "alif-none": (-1.0, 3.0),
    "adlif": (-1.0, 5.0),
    "izhikevich": (-1.0, 3.0),
    "izhikevich-none": (-1.0, 1.55),
    "adlif-none": (-1.0, 3.2),
    "qif-none": (-1.0, 1.5),
    "qif-soft_delayed": (-1.0, 1.8),
    "adex": (-1.0, 4.0),
    "adex-none": (-1.0, 2.0),
    "resonate_and_fire-none": (-1.0, 1.6),
    "balanced_resonate_and_fire-none": (-1.5, 1.5),
    "izhikevich_2003": (0.0, 60.0),
    "izhikevich_2003-none": (55.0, 110.0),
    "hodgkin_huxley": (100.0, 400.0),
    "hodgkin_huxley-none": (50.0, 250.0),
}
STEPS = {"hodgkin_huxley": 0.05, "izhikevich_2003-none": 0.06}


def _case(model: str, scheme: str, jump: str) -> Case:
    span = RANGES.get(f"{model}-{jump}") or RANGES.get(model, (-1.0, 3.0))
    dt = STEPS.get(f"{model}-{jump}") or STEPS.get(model, 0.5)
    return Case(model, {"scheme": scheme, "jump": jump, "dt": dt}, *span)


def every() -> list[Case]:
    """Layer x scheme x jump."""
    neurons = {model: layer.neuron_type for model, layer in LAYERS.items()}
    crossed = (
        (m, *pair) for m, n in neurons.items() for pair in itertools.product(n.schemes, n.jumps)
    )
    return [_case(*one) for one in crossed]


def jumps() -> list[Case]:
    """Every layer with each jump in its default scheme, and LIF in its beta form."""
    found = [case for case in every() if case.parameters["scheme"] == _scheme(case)]
    for jump in LAYERS["lif"].neuron_type.jumps:
        found.append(Case("lif", {"jump": jump, "beta": 0.75, "v_rest": -0.25}, -0.75, 1.25))
    return found


def schemes() -> list[Case]:
    """Every layer in each scheme with its own jump."""
    return [case for case in every() if case.parameters["jump"] == "hard"]


def schemes_and_jumps() -> list[Case]:
    """Both of these, each case once."""
    return [*schemes(), *(case for case in jumps() if case not in schemes())]


def cases() -> list[Case]:
    """Of the main models every scheme and every jump."""
    return [case for case in schemes_and_jumps() if case.model in MAIN]


def _is_usual(case: Case) -> bool:
    return case.parameters["scheme"] == _scheme(case) and case.parameters["jump"] != "none"


def _scheme(case: Case) -> str:
    return str(LAYERS[case.model].neuron_type.scheme or "exponential")


# In all schemes and jumps in the usual run; the others, which share everything with them but their
# equations, in their default scheme and where they jump.
MAIN = ("lif", "cuba_lif", "izhikevich")


def _marked(few: Iterable[Case]) -> list[Any]:
    """These, and the whole cross where everything is asked for."""
    few = [c for c in few if c.model in MAIN or _is_usual(c)]
    return [*few, *(pytest.param(c, marks=pytest.mark.slow) for c in every() if c not in few)]


@pytest.fixture(scope="session", params=_marked(jumps()), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """One layer and jump."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session", params=_marked(schemes_and_jumps()), ids=str)
def any_scheme(request: pytest.FixtureRequest) -> Case:
    """One layer, and scheme or jump."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(
    scope="session", params=[c for c in jumps() if c.parameters["jump"] == "hard"], ids=str
)
def model(request: pytest.FixtureRequest) -> Case:
    """One layer."""
    return request.param  # type: ignore[no-any-return]
