"""Everything that the course of a training depends on, as one dict of tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from saltation.errors import DataError

Snapshot = dict[str, Any]


class UnfitSnapshotError(DataError):
    """A snapshot that lacks a part of the training, or has one of another training."""


@runtime_checkable
class Stateful(Protocol):
    """A part of a training that changes as it goes: network, optimiser, schedule, loss term."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Keeper(Protocol):
    """Who keeps the snapshots of one training.

    Attributes
    ----------
    epoch
        The epoch after which to go on; 0 to begin.
    """

    epoch: int

    def load(self) -> Snapshot:
        """The snapshot after that epoch."""

    def save(self, epoch: int, snapshot: Snapshot, score: float) -> None:
        """Keep that of an epoch; of the ``score``, an accuracy on the validation split or for want
        of one on the test set, the largest is the best."""


def take(parts: Mapping[str, Stateful]) -> Snapshot:
    """The states of ``parts`` by name, and of torch's generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    states = {name: part.state_dict() for name, part in parts.items()}
    return states | {"random": torch.get_rng_state(), "random_cuda": cuda}


def restore(snapshot: Snapshot, parts: Mapping[str, Stateful]) -> None:
    """Put ``parts`` and torch's generators into the states of ``snapshot``.

    Raises
    ------
    UnfitSnapshotError
        If a part is not in it, or is not of this training. Some parts may have been changed then.
    """
    for name in (*parts, "random", "random_cuda"):
        if name not in snapshot:
            raise UnfitSnapshotError(f"it has no '{name}'")
    for name, part in parts.items():
        try:
            _check_optimizer(part, snapshot[name])
            part.load_state_dict(snapshot[name])
        except Exception as error:  # as many kinds as there are parts
            reason = (str(error).splitlines() or [""])[-1].strip() or type(error).__name__
            raise UnfitSnapshotError(f"its '{name}' is of another training: {reason}") from None
    try:
        torch.set_rng_state(snapshot["random"])
        if snapshot["random_cuda"]:
            torch.cuda.set_rng_state_all(snapshot["random_cuda"])
    except (TypeError, RuntimeError, AttributeError) as error:
        raise UnfitSnapshotError(f"its 'random' is no state of a generator: {error}") from None


def _check_optimizer(part: Any, state: Any) -> None:
    """Refuse what an optimiser would take, and stumble over in its next step or forget."""
    groups = getattr(part, "param_groups", None)
    if groups is None:
        return
    if len(groups) != len(state["param_groups"]):
        raise ValueError(f"{len(state['param_groups'])} groups of weights, not {len(groups)}")
    shapes: list[torch.Size] = []
    for ours, theirs in zip(groups, state["param_groups"], strict=True):
        if missing := ours.keys() - theirs.keys():
            raise ValueError(f"no {', '.join(sorted(missing))}")
        shapes += [weight.shape for weight in ours["params"]]
    for number, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != shapes[number]:
                given, right = list(value.shape), list(shapes[number])
                raise ValueError(f"{name} of shape {given} for a weight of shape {right}")
