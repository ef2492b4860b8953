"""Running the parts of the notebook, one after another in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from saltation.studies.engine.config import StudyConfig
from saltation.studies.engine.study import STUDIES
from saltation.studies.notebook.page import write_notebook
from saltation.studies.notebook.parts import Part

# The same for whoever asks, so that giving a command again goes on, and both end in one report.
FOLDER = Path("runs/notebook")


def run_parts(
    asked: Sequence[tuple[Part, StudyConfig]], folder: Path, say: Callable[[str], None]
) -> None:
    """Run parts, each a study in a folder of its own below ``folder``, and write their one report.

    Trials that are finished are not run again.

    Parameters
    ----------
    asked
        Parts, and their configs with the changes that the user asks for.
    folder
        Of the report.
    say
        Is told what happens, a line at a time.

    Raises
    ------
    SaltationError, KeyboardInterrupt
        As running a study does. The report is written all the same, of what is recorded.
    """
    begun = time.monotonic()
    try:
        for number, (part, config) in enumerate(asked, start=1):
            say(f"part {number} of {len(asked)}: {part.title} ({part.name})")
            STUDIES[part.study](config.model_copy(update={"out_dir": folder / part.name})).run()
    finally:
        write_notebook(folder)
    say(f"{time.monotonic() - begun:.0f} s for {len(asked)} parts")
