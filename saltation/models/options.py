"""What the constructors have in common: how they read their options."""

from __future__ import annotations

from typing import Any

from saltation.errors import count
from saltation.neurons import Neuron, get_neuron

MOST_STAGES = 4  # of networks that are made to a depth


def counts_of_options(**counts: Any) -> list[int]:
    """The options as integers, in their order, if all are positive ones.

    Raises
    ------
    SaltationError
        Naming the first that is not.
    """
    return [count(name, given) for name, given in counts.items()]


def completed(
    neuron: str | type[Neuron], parameters: dict[str, Any], defaults: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """``parameters`` of the neuron layers, completed by a network's ``defaults`` for the model.

    A model that has none there keeps those of its layer.
    """
    own = dict(defaults.get(get_neuron(neuron).name, {}))
    if any(parameters.get(name) is not None for name in ("tau", "dt", "scheme")):
        # They say what beta says.
        own.pop("beta", None)
    if parameters.get("beta") is not None:
        own = {name: value for name, value in own.items() if name not in ("tau", "scheme")}
    return {**own, **parameters}
