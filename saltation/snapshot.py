"""Everything that the course of a training depends on, as one dict of tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

Snapshot = dict[str, Any]


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
        """Keep that of an epoch; of the ``score`` the largest is the best."""


def take(parts: Mapping[str, Stateful]) -> Snapshot:
    """The states of ``parts`` by name, and of torch's generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    states = {name: part.state_dict() for name, part in parts.items()}
    return states | {"random": torch.get_rng_state(), "random_cuda": cuda}


def restore(snapshot: Snapshot, parts: Mapping[str, Stateful]) -> None:
    """Put ``parts`` and torch's generators into the states of ``snapshot``."""
    for name, part in parts.items():
        part.load_state_dict(snapshot[name])
    torch.set_rng_state(snapshot["random"])
    if snapshot["random_cuda"]:
        torch.cuda.set_rng_state_all(snapshot["random_cuda"])
