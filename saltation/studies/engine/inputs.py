"""What a study found of the user's files that it was given, kept in its folder.

Reports, lists of runs and diagnoses of what was trained then need the folder alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from saltation.data import own
from saltation.errors import ConfigError
from saltation.studies import given
from saltation.studies.engine.config import StudyConfig
from saltation.studies.engine.files import write_whole

INPUTS = "inputs.json"


def keep(folder: Path, config: StudyConfig) -> None:
    """Write `INPUTS`, if the study was given files of the user's."""
    settings, found = config.recorded(), {}
    dataset, network = settings.get("dataset"), settings.get("network")
    if dataset is not None and own.is_path(dataset):
        found["data"] = own.facts_of(dataset)
    if network is not None:
        builder = given.Builder.of(network)
        found["network"] = {
            "source": network,
            "names": builder.names,
            "fingerprint": builder.fingerprint,
        }
    if found:
        write_whole(folder / INPUTS, json.dumps(found, indent=1))


def recall(folder: Path) -> None:
    """Let what `INPUTS` says stand for files that are not there any more.

    Raises
    ------
    ConfigError
        If the file is not what `keep` writes.
    """
    path = folder / INPUTS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if "data" in found:
            own.remember(found["data"])
        if "network" in found:
            given.remember(**found["network"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error!r}") from None
