"""What the constructors have in common: how they read their options."""

from __future__ import annotations

from typing import Any

from saltation.errors import SaltationError

MOST_STAGES = 4  # of networks that are made to a depth


def check_counts(**counts: Any) -> None:
    """Refuse, by name, what is not a positive integer.

    Raises
    ------
    SaltationError
        Naming the first of them.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SaltationError(f"{name} must be a positive integer, got {count!r}")


def completed(
    neuron: str, parameters: dict[str, Any], defaults: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """``parameters`` of the neuron layers, completed by a network's ``defaults`` for the model.

    A model that has none there keeps those of its layer.
    """
    own = dict(defaults.get(neuron, {}))
    if any(parameters.get(name) is not None for name in ("tau", "dt", "scheme")):
        # They say what beta says.
        own.pop("beta", None)
    if parameters.get("beta") is not None:
        own = {name: value for name, value in own.items() if name not in ("tau", "scheme")}
    return {**own, **parameters}
