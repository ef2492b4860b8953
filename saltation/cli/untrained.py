"""Studies that train nothing, as commands: run, gone on with, reported anew."""

from __future__ import annotations

import sys
from pathlib import Path

from saltation.cli.terminal import console, say
from saltation.errors import ConfigError
from saltation.studies.engine.files import check_folder
from saltation.studies.engine.untrained import UntrainedStudy
from saltation.studies.report.drawing import also_pdf


def run(study: UntrainedStudy, folder: Path) -> None:
    """Compute what the folder lacks, print the tables and say where the results are."""
    try:
        study.complete(folder, say)
    except KeyboardInterrupt:
        print(
            f"stopped; what was computed is in {folder}. To go on: saltation resume {folder}",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    console.print(study.tables(folder))
    say(f"results: {folder}")
    say(f"report: {study.report(folder)}")


def report(study: UntrainedStudy, folder: Path, pdf: bool, recordings: bool) -> None:
    """Write the report anew, with ``pdf`` after the figures."""
    if recordings:
        raise ConfigError(f"the {study.name} study has no networks: leave out --recordings")
    check_folder("the folder of the report", folder)
    if pdf:
        with also_pdf():
            study.draw(folder)
        say(f"figures: {folder / 'figures'}")
    say(f"report: {study.report(folder)}")
