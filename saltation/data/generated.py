"""Data sets that are generated: sample i of a split is a function of (seed, split, i) alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from saltation import random
from saltation.data.dataset import Dataset, Split
from saltation.data.registry import Spec
from saltation.errors import SaltationError, count

# Epochs count from 1, so that no encoder draws the same numbers.
_EPOCH = 0


class Generated(ABC):
    """A task with as many samples as one asks for.

    Attributes
    ----------
    name, title
        As in the registry.
    sizes
        Training and test samples of the set in the registry.
    seed
        What samples are a function of, beside their split and number.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    sizes: ClassVar[tuple[int, int]]
    seed: int

    @abstractmethod
    def split(self, samples: int, *, stream: int = random.TRAIN) -> Split:
        """The first samples of a split, which ``stream`` names: `random.TRAIN` or `random.TEST`."""

    @abstractmethod
    def spec(self) -> Spec:
        """The set in the registry."""

    def dataset(self, train: int, test: int) -> Dataset:
        """So many training and test samples.

        Raises
        ------
        SaltationError
            If a number is below 1.
        """
        spec = self.spec()
        parts = (
            self.split(count("train", train)),
            self.split(count("test", test), stream=random.TEST),
        )
        return Dataset(
            spec.name, *parts, spec.classes, spec.dt, spec.duration, regression=spec.regression
        )

    def read(self, _: Path, limit_train: int | None, limit_test: int | None) -> tuple[Split, Split]:
        """As a `Spec` reads: the sizes of the registry, or fewer."""
        train, test = (
            size if limit is None else min(size, limit)
            for size, limit in zip(self.sizes, (limit_train, limit_test), strict=True)
        )
        return self.split(train), self.split(test, stream=random.TEST)

    def uniform(
        self, block: Tensor | int, site: Tensor | int, sample: Tensor, stream: int
    ) -> Tensor:
        """Numbers in (0, 1), float64 ``[4, ...]``: the four draws of a place in `random.words`."""
        drawn = random.words(block, site, sample, seed=self.seed, epoch=_EPOCH, stream=stream)
        return (torch.stack(drawn).double() + 0.5) / 2.0**32


def check_between(what: str, given: tuple[float, float], least: float) -> None:
    """Refuse what are no two ascending numbers from ``least`` on.

    Raises
    ------
    SaltationError
        With what was given.
    """
    if not least <= given[0] <= given[1] < float("inf"):
        raise SaltationError(f"{what} must be two ascending numbers from {least:g}, got {given}")
