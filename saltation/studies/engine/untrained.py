"""Studies that train nothing: a table of cells, each known for good once it is computed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from rich.console import RenderableType

from saltation.errors import ConfigError, register
from saltation.studies.engine.config import CONFIG

UNTRAINED: dict[str, type[UntrainedStudy]] = {}


class UntrainedStudy(ABC):
    """A study without networks, trials and checkpoints. The base of all such studies."""

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        register("study", UNTRAINED, cls.name, cls)

    @classmethod
    @abstractmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """The study of these settings, as its `CONFIG` has them.

        Raises
        ------
        SaltationError
            If they are none.
        """

    @abstractmethod
    def complete(self, folder: Path, say: Callable[[str], None]) -> None:
        """Compute the cells that ``folder`` lacks, and write its figures and its report."""

    @abstractmethod
    def draw(self, folder: Path) -> None:
        """Draw the figures of what is in ``folder`` anew."""

    @abstractmethod
    def report(self, folder: Path) -> Path:
        """Write the report of what is in ``folder`` anew; its path."""

    @abstractmethod
    def tables(self, folder: Path) -> RenderableType:
        """What is in ``folder``, for the terminal."""

    @abstractmethod
    def cells(self, folder: Path) -> tuple[int, int]:
        """How many of its cells ``folder`` has, and how many there are to be."""


def untrained_study_of(folder: Path) -> UntrainedStudy | None:
    """The study in ``folder`` if it is one of these; None if it is another or none.

    Raises
    ------
    ConfigError
        If it is one, and its settings cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():  # a pipe would be waited for
        return None
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        name = settings.pop("study")
        study = UNTRAINED.get(name)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None  # `folder.study_of` says what is wrong
    if study is None:
        return None
    try:
        return study.of(settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the study in {folder} cannot be read: {error}") from None
