"""What a study found of the user's files that it was given, kept in its folder.

Reports, lists of runs and diagnoses of what was trained then need the folder alone.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from saltation import usercode
from saltation.data import own
from saltation.errors import ConfigError
from saltation.neurons.named import fingerprint_of, get_neuron, remember
from saltation.neurons.remembered import Remembered, facts_of
from saltation.studies import given
from saltation.studies.engine.config import StudyConfig
from saltation.studies.engine.files import write_whole

INPUTS = "inputs.json"


def keep(folder: Path, config: StudyConfig) -> None:
    """Write `INPUTS`, if the study was given files of the user's.

    Raises
    ------
    SaltationError
        If the file of a neuron is gone.
    ConfigError
        If it is not the one that the study began with: trials that are there would be of another
        model.
    """
    settings = config.recorded()
    found: dict[str, Any] = {}
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
    own_neurons = [n for n in settings.get("neurons", ()) if ".py:" in n]
    if own_neurons and settings.keys() >= {"schemes", "dt", "tau"}:
        found["neurons"] = [_neuron(source, settings) for source in own_neurons]
        _compare(folder, found["neurons"])
    if found:
        write_whole(folder / INPUTS, json.dumps(found, indent=1))


def _neuron(source: str, settings: dict[str, Any]) -> dict[str, Any]:
    model: Any = get_neuron(source)
    if isinstance(model, Remembered):
        model.gone()
    schemes, tau = settings["schemes"], settings["tau"]
    fingerprint = fingerprint_of(source) or ""
    return facts_of(model, source, fingerprint, schemes, settings["dt"], tau=tau)


def _compare(folder: Path, neurons: list[dict[str, Any]]) -> None:
    """Refuse files that are not as they were."""
    before = {one["source"]: one["fingerprint"] for one in _read(folder).get("neurons", ())}
    for one in neurons:
        if before.get(one["source"], one["fingerprint"]) != one["fingerprint"]:
            raise ConfigError(
                f"neuron '{one['source']}' is not what the study in {folder} began with: its file "
                "has changed since; give another out_dir, or the file as it was"
            )


def _read(folder: Path) -> dict[str, Any]:
    """What is in `INPUTS`; nothing if it is not there."""
    path = folder / INPUTS
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found | {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error!r}") from None


def recall(folder: Path) -> None:
    """Let what `INPUTS` says stand for files that are not there any more.

    Raises
    ------
    ConfigError
        If the file is not what `keep` writes.

    Warns
    -----
    UserWarning
        If a neuron's file is there and says something else.
    """
    found = _read(folder)
    try:
        if "data" in found:
            own.remember(found["data"])
        if "network" in found:
            given.remember(**found["network"])
        for one in found.get("neurons", ()):
            remember(model := Remembered.of(one))
            path = Path(model.source.rsplit(":", 1)[0])
            if path.is_file() and usercode.fingerprint(path.read_bytes()) != model.fingerprint:
                warnings.warn(
                    f"neuron '{model.source}': the file has changed since the study in {folder}; "
                    "what is said here of its stability and errors is of the file as it is now",
                    stacklevel=4,
                )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{folder / INPUTS} cannot be read: {error!r}") from None
