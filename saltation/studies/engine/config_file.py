"""Settings of a study from a file: YAML or JSON, also the config that a run has written."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, TypeVar

import yaml

from saltation.errors import ConfigError, SaltationError, choose
from saltation.studies.engine.config import StudyConfig

Config = TypeVar("Config", bound=StudyConfig)
SUFFIXES = (".yaml", ".yml", ".json")
_LARGEST = 1 << 18  # bytes; that of a run has some thousand


def read_config(path: Path, study: str, config_type: type[Config]) -> Config:
    """The config of a study with the settings of a file, and defaults for those it does not name.

    Parameters
    ----------
    path
        A mapping from names of settings to values. A key ``study``, which the config of a run has,
        must be the study's name.
    study
        The study's name.
    config_type
        Of the study.

    Raises
    ------
    ConfigError
        If the file cannot be read, has a setting that the study does not know, or a value that is
        not allowed.
    """
    settings = _mapping(path)
    try:
        if "study" in settings:
            of_study = settings.pop("study")
            if of_study != study:
                raise ConfigError(f"it is of the study '{of_study}', not of '{study}'")
            # Where that run went is not where another is to go.
            settings.pop("out_dir", None)
        for name in settings:
            choose("setting", name, {**config_type.model_fields, **config_type.build().recorded()})
        return config_type.build(**settings)
    except SaltationError as error:
        raise ConfigError(f"{path}: {error}") from None


class _Loader(yaml.SafeLoader):
    """Plain YAML without aliases, with which a few lines may stand for billions."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name), which a config has no use for")
        return super().compose_node(parent, index)


def _mapping(path: Path) -> dict[str, Any]:
    """What stands in a file, by names."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"a config is a file {', '.join(SUFFIXES)}, got '{path}'")
    try:
        # A pipe would be waited for, perhaps for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"'{path}' cannot be read: not a regular file")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ConfigError(f"{path} is no config: it has more than {_LARGEST} bytes")
        text = content.decode("utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, _Loader)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is broken: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(
            f"{path} must map names of settings to values, got {type(found).__name__}"
        )
    return found
