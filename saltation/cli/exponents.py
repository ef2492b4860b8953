"""The command about λ: exponents of the networks of a study, or of one of the user's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.table import Table

from saltation.cli.terminal import console, say
from saltation.data import DATASETS
from saltation.errors import ConfigError
from saltation.studies.engine.bounds import within
from saltation.studies.engine.config import names
from saltation.studies.engine.files import check_folder
from saltation.studies.engine.folder import run_and_checkpoint, study_of
from saltation.studies.engine.outcome import in_digits
from saltation.studies.engine.records import contents
from saltation.studies.exponents import diagnose_checkpoint, exponents_of, exponents_of_network
from saltation.studies.networks import checkpoint_of, recorded_trial


@dataclass
class Exponents:
    """Lyapunov exponents of the networks that a study trained; the diagnosis of one of them."""

    source: Annotated[
        tyro.conf.Positional[Path | None],
        tyro.conf.arg(
            help="Folder of a study: a table of the last networks of all its trials. Or one "
            "checkpoint, RUN/checkpoints/TRIAL/epoch-00010.pt: its diagnosis, with figures."
        ),
    ] = None
    network: str | None = None
    """FILE.py:FUNCTION in place of a study: a function of shape, classes and steps, or some of
    them, that returns a network for the data set. Its exponents as it is returned."""
    trial: str | None = None
    """Id of one trial, or its beginning: the diagnosis of its last network, with figures."""
    dataset: Annotated[
        str | None,
        tyro.conf.arg(help=f"Whose test samples to show. Default: the study's. {names(DATASETS)}."),
    ] = None
    data_dir: Path | None = None
    """Folder of the data set, before $SALTATION_DATA. Default: the study's."""
    samples: int = 32
    """Test samples to show."""
    steps: int | None = None
    """With --network: steps that an image is shown for. Default 10."""
    k: int = 1
    """Number of exponents, from the largest."""
    seed: int = 0
    """Of the first perturbations."""
    out_dir: Path | None = None
    """Folder of the figures. Default: RUN/figures."""

    def __call__(self) -> None:
        within("samples", self.samples, 1, 1_000_000)
        within("k", self.k, 1, 1000)
        within("seed", self.seed, 0, 2**63 - 1)
        if self.network is not None:
            if self.source is not None:
                raise ConfigError("give either the folder of a study or --network, got both")
            self._of_network(self.network)
            return
        if self.source is None:
            raise ConfigError("give the folder of a study, or --network FILE.py:FUNCTION")
        if self.steps is not None:
            raise ConfigError("steps are of --network; a study has its own")
        folder, checkpoint = run_and_checkpoint(self.source)
        given = {"dataset": self.dataset, "data_dir": self.data_dir}
        device = torch.device("cpu")  # wherever it ran
        changes = {name: value for name, value in given.items() if value is not None}
        study = study_of(folder, device=str(device), **changes)
        if self.trial is not None:
            if checkpoint is not None:
                raise ConfigError("give either a checkpoint or --trial, got both")
            record = recorded_trial(study, contents(study), self.trial)
            checkpoint = checkpoint_of(study, record)
        if checkpoint is None:
            table = exponents_of(study, self.samples, self.k, self.seed, device)
            shown = Table(
                "id", "trial", "epoch", "test", *(f"λ{i + 1}" for i in range(self.k)), "λ two"
            )
            for row in table.to_dict("records"):
                shown.add_row(
                    row["id"],
                    row["trial"],
                    str(row["epoch"]),
                    _score(row),
                    *map(_with_error, row["tangent"], row["± tangent"]),
                    _with_error(row["finite"], row["± finite"]),
                )
            console.print(shown)
            say(
                "Exponents per step, mean ± standard error of samples: with the surrogate's "
                "derivative, and (two) between two trajectories"
            )
            for line in table.attrs["left_out"]:
                say(line)
            return
        out_dir = self.out_dir or folder / "figures"
        check_folder("out_dir", out_dir)
        found, figures = diagnose_checkpoint(
            study, checkpoint, out_dir, self.samples, self.k, self.seed, device
        )
        say(str(found))
        for path in figures:
            say(f"figure: {path}")

    def _of_network(self, source: str) -> None:
        """The exponents of a network of the user's on a data set."""
        for name in ("trial", "out_dir"):
            if getattr(self, name) is not None:
                raise ConfigError(f"{name} is of a study; with --network give none")
        within("steps", 10 if self.steps is None else self.steps, 2, 1_000_000)
        found = exponents_of_network(
            source,
            self.dataset or "digits",
            self.data_dir,
            steps=self.steps,
            samples=self.samples,
            k=self.k,
            seed=self.seed,
        )
        say(str(found))


def _score(row: Mapping[Any, Any]) -> str:
    """The test accuracy of a network, or where it has none its error."""
    is_error = math.isnan(row["test_accuracy"])
    return in_digits(row["test_loss" if is_error else "test_accuracy"], is_error)


def _with_error(value: float, error: float) -> str:
    return f"{value:+.3f} ± {error:.3f}"
