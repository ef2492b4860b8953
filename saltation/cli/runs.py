"""The commands about studies: running one, going on with one, listing and comparing them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import JustifyMethod
from rich.table import Column as TableColumn
from rich.table import Table
from rich.text import Text

from saltation.cli import untrained
from saltation.cli.terminal import complain, console, say
from saltation.errors import ConfigError, SaltationError
from saltation.studies import Study
from saltation.studies.engine.config import StudyConfig
from saltation.studies.engine.files import check_folder
from saltation.studies.engine.folder import runs_in, study_of, summary
from saltation.studies.engine.outcome import in_digits, name_of, outcome_of
from saltation.studies.engine.records import contents
from saltation.studies.engine.store import FINISHED, RECORD, RecordLostError
from saltation.studies.engine.untrained import untrained_study_of
from saltation.studies.networks import label_of
from saltation.studies.notebook import FOLDER, PAGE, Part, run_parts
from saltation.studies.notebook.cells import grid_of, outside
from saltation.studies.notebook.page import in_a_line, results_in
from saltation.studies.recordings import draw_recordings
from saltation.studies.report import REPORT, Grid, write_report
from saltation.studies.report.compare import compare, write_comparison
from saltation.studies.report.drawing import also_pdf

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="Folder of a study.")]


def run_study(study: Study[Any]) -> None:
    """Run a study, print its tables and say where its results are."""
    try:
        results = study.run()
    except KeyboardInterrupt:
        print(
            f"stopped; what was recorded is in {study.folder}. To go on: "
            f"saltation resume {study.folder}",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    except RecordLostError as error:
        complain(str(error))
        raise SystemExit(1) from None
    if study.notes():
        say(study.notes())
    console.print(study.tables(results))
    for _, row in results[results["reason"] != ""].iterrows():
        trial = {str(name): value for name, value in row.items()}
        say(f"{study.label(trial)} ({row['id']}): {row['status']}, {row['reason']}")
    say(f"results: {study.folder}")
    say(f"report: {study.folder / REPORT}")
    if not (results["status"] == FINISHED).any():
        complain(f"no trial of the study in {study.folder} finished")
        raise SystemExit(1)


def run_preset(asked: list[tuple[Part, StudyConfig]]) -> None:
    """Run the parts of a preset, print their tables and say where their report is."""
    folder = asked[0][1].out_dir or FOLDER
    try:
        run_parts(asked, folder, say)
    except KeyboardInterrupt:
        print(
            f"stopped; what was recorded is in {folder}. To go on, give the same command again",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    except RecordLostError as error:
        complain(str(error))
        raise SystemExit(1) from None
    results = results_in(folder)
    for result in results:
        say(result.part.title)
        console.print(_shown(grid_of(result)))
        for line in result.missing:
            say(f"not finished: {line}")
    say(in_a_line(results))
    for line in (line for result in results for line in outside(result)):
        say(f"outside: {line}")
    say(f"report: {folder / PAGE}")
    if all(result.missing for result in results):
        complain(f"no part in {folder} finished")
        raise SystemExit(1)


@dataclass
class Report:
    """Write a study's report.html anew from what is in its folder: results, figures, failures."""

    run: RunFolder
    pdf: bool = False
    """Draw the figures anew from the record first, as PDF too."""
    recordings: bool = False
    """Draw what the last networks of some trials, of the first seed, do on a test sample first:
    spikes and potentials. It needs their checkpoints and the data set."""

    def __call__(self) -> None:
        other = untrained_study_of(self.run)
        if other is not None:
            untrained.report(other, self.run, self.pdf, self.recordings)
            return
        study = study_of(self.run, device="cpu")
        check_folder("the folder of the report", self.run)
        found = contents(study)
        if self.recordings:
            drawn, left = draw_recordings(
                study, study.data(torch.device("cpu")), self.run / "figures"
            )
            for line in (*(f"figure: {path}" for path in drawn), *left):
                say(line)
        if self.pdf:
            with also_pdf():
                study.report(found.asked)
            say(f"figures: {self.run / 'figures'}")
        say(f"report: {write_report(study, found)}")
        for line in found.lines(self.run / RECORD):
            say(line)


@dataclass
class Compare:
    """Set studies side by side: what came out of them, and the settings in which they differ."""

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(help="Folders of studies.")
    ]
    out: Path | None = None
    """Page to write too, such as compare.html."""

    def __call__(self) -> None:
        if self.out is not None:
            check_folder("the folder of --out", self.out if self.out.is_dir() else self.out.parent)
        found = compare(self.runs)
        console.print(_shown(found.outcomes))
        say("best and mean ± sd: test accuracy in % of finished trials; of targets, test error")
        if found.settings.rows:
            say("settings that differ:")
            console.print(_shown(found.settings))
        if found.differences.rows:
            say("equal trials, difference in points with its 95 % interval over seeds:")
            console.print(_shown(found.differences))
        for line in (*found.left, *found.damaged):
            say(line)
        if self.out is not None:
            say(f"page: {write_comparison(self.out, found)}")


def _shown(grid: Grid) -> Table:
    """A grid for the terminal, its texts as they are."""
    table = Table()
    for column in grid.columns:
        justify: JustifyMethod = "right" if column.number else "left"
        head = Text(column.head)
        table.add_column(head, justify=justify, overflow="fold", no_wrap=column.number)
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


@dataclass
class Resume:
    """Go on with a study that was stopped: finished trials are kept, others go on from their last
    epoch, to the results they would have had."""

    run: RunFolder
    workers: int = 1
    """Processes that run trials at the same time."""
    ray: str | None = None
    """Address of a Ray cluster, or local, to run them there."""
    tensorboard: bool = False
    """Whether to write scalars and spike rates for TensorBoard."""
    progress: bool = True
    """Whether to show progress."""

    def __call__(self) -> None:
        other = untrained_study_of(self.run)
        if other is not None:
            if self.workers != 1 or self.ray is not None or self.tensorboard:
                raise ConfigError(
                    f"the {other.name} study trains nothing: leave out --workers, --ray and "
                    "--tensorboard"
                )
            untrained.run(other, self.run)
            return
        how = {"workers": self.workers, "ray": self.ray, "tensorboard": self.tensorboard}
        run_study(study_of(self.run, **how, progress=self.progress))


@dataclass
class Runs:
    """The studies in a folder: how far each is, and its best test accuracy; of one study, its
    trials and their ids."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Folder of studies, or of one."""

    def __call__(self) -> None:
        if not self.folder.is_dir():
            raise ConfigError(f"there is no folder {self.folder}")
        table = Table(
            TableColumn("folder", overflow="fold"), "study", "trials", "state", "best last"
        )
        lines, readable = [], False
        for path in runs_in(self.folder):
            try:
                row = summary(path)
            except Exception as error:  # one of them must not hide the others
                table.add_row(Text(str(path)), "?", "", "cannot be read", "")
                what = "" if isinstance(error, SaltationError) else f"{type(error).__name__}: "
                lines.append(f"{path} cannot be read: {what}{error}")
                continue
            best = "" if math.isnan(row["best"]) else in_digits(row["best"], row["is_error"])
            table.add_row(
                Text(row["folder"]), row["study"], str(row["trials"]), row["states"], best
            )
            lines += row["damaged"]
            readable = readable or (path == self.folder and bool(row["states"] != "not begun"))
        console.print(table)
        say(
            "best last: the best of the trials' last test accuracies, each of one network; without "
            "% the least of their last test errors"
        )
        for line in lines:
            say(line)
        if readable:
            other = untrained_study_of(self.folder)
            console.print(_trials(self.folder) if other is None else other.tables(self.folder))


def _trials(folder: Path) -> Table:
    """The recorded trials of a study."""
    study = study_of(folder, device="cpu")
    found = contents(study)
    table = Table("id", "trial", "state", "epochs", f"last {name_of(found.asked)}")
    for record in (*found.asked, *found.others):
        table.add_row(
            *(record["id"], Text(label_of(study, record)), record["status"]),
            *(str(len(record["epochs"])), str(outcome_of(record) or "")),
        )
    return table
