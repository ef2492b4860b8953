"""How weights are changed: the settings of every training, with what options say of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from saltation.errors import SaltationError, choose, count, positive

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": lambda parameters, lr, weight_decay: torch.optim.SGD(
        parameters, lr=lr, weight_decay=weight_decay, momentum=0.9
    ),
}
SCHEDULES = ("none", "cosine")


def _setting(text: str, default: Any = MISSING, names: Iterable[str] = ()) -> Any:
    """A field with the text that an option of it has; ``{names}`` in it stands for ``names``."""
    return field(default=default, metadata={"help": text, "names": tuple(names)})


@dataclass(frozen=True)
class Optimisation:
    """How weights are changed.

    Parameters
    ----------
    epochs : int
        Passes over the training set.
    lr : float, default 1e-3
        Learning rate, at the start where a schedule changes it.
    optimizer : str, default "adam"
        ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
    schedule : str, default "none"
        ``none``, or ``cosine`` annealing to zero over the epochs.
    weight_decay : float, default 0
        L2 penalty (``adam``, ``sgd``) or decoupled decay (``adamw``).
    clip : float, default None
        Largest norm of the gradient; larger ones are scaled down to it.
    accumulate : int, default 1
        Batches whose mean gradient one change of the weights follows: as a batch that many times as
        large, in the memory of one. What is left at the end of an epoch is a change too.

    Raises
    ------
    SaltationError
        If one of them cannot be.
    """

    epochs: int = _setting("Passes over the training set.")
    lr: float = _setting("Learning rate.", 1e-3)
    optimizer: str = _setting("{names} (with momentum 0.9).", "adam", OPTIMIZERS)
    schedule: str = _setting("Of the learning rate: {names}.", "none", SCHEDULES)
    weight_decay: float = _setting("Decay of the weights.", 0.0)
    clip: float | None = _setting("Largest norm of the gradient.", None)
    accumulate: int = _setting(
        "Batches whose mean gradient one change of the weights follows: as a batch that many times "
        "as large, in the memory of one.",
        1,
    )

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("schedule", self.schedule, SCHEDULES)
        positive("lr", self.lr)
        if self.epochs < 1:
            raise SaltationError(f"epochs must be at least 1, got {self.epochs}")
        count("accumulate", self.accumulate)
        if not 0 <= self.weight_decay < math.inf:
            raise SaltationError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.clip is not None:
            positive("clip", self.clip)

    @property
    def limit(self) -> float:
        """Largest norm of the gradient, infinite where none is set."""
        return math.inf if self.clip is None else self.clip

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """Of a network's parameters."""
        return OPTIMIZERS[self.optimizer](
            network.parameters(), lr=self.lr, weight_decay=self.weight_decay
        )

    def schedule_of(self, optimizer: torch.optim.Optimizer) -> LRScheduler | None:
        """Of its learning rate over the epochs, if it changes."""
        return CosineAnnealingLR(optimizer, self.epochs) if self.schedule == "cosine" else None

    @classmethod
    def settings(cls) -> Mapping[str, Mapping[str, Any]]:
        """Of every setting by its name: ``default`` (dataclasses.MISSING where there is none),
        ``help``, and the ``names`` that ``{names}`` in it stands for."""
        fields = cls.__dataclass_fields__
        return {name: {"default": one.default, **one.metadata} for name, one in fields.items()}
