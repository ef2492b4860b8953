"""Configs from files: what a run wrote is taken back, and mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saltation.errors import ConfigError
from saltation.studies import STUDIES, IntegratorsConfig
from saltation.studies.engine.config import as_json
from saltation.studies.engine.config_file import read_config


def read(folder: Path, text: str, name: str = "mine.yaml") -> IntegratorsConfig:
    (folder / name).write_text(text, encoding="utf-8")
    return read_config(folder / name, "integrators", IntegratorsConfig)


@pytest.mark.parametrize("study", STUDIES)
def test_the_config_of_a_run_is_taken_back(study: str, tmp_path: Path) -> None:
    config_type = STUDIES[study].config_type
    config = config_type.build(epochs=3, lr=0.25, seeds=[4, 5], out_dir=tmp_path)
    path = tmp_path / "config.json"
    path.write_text(as_json(study, config))
    found = read_config(path, study, config_type)
    assert STUDIES[study](found).trials() == STUDIES[study](config).trials()
    assert {t["seed"] for t in STUDIES[study](found).trials()} == {4, 5}
    assert found.out_dir is None


def test_yaml_as_people_write_it(tmp_path: Path) -> None:
    # YAML 1.1 takes 1e-3 for a text; a number it is all the same.
    config = read(tmp_path, "dt: [5e-1, 2]\nlr: 1e-3\nhidden:\n- 16\nprogress: no\nclip: null\n")
    assert config == IntegratorsConfig(dt=[0.5, 2.0], lr=0.001, hidden=[16], progress=False)
    assert read(tmp_path, "{}") == IntegratorsConfig()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "epcohs: 3", "a.yaml: unknown setting 'epcohs'; did you mean 'epochs'"),
        ("a.json", '{"schemes": ["eulr"]}', "a.json: unknown scheme 'eulr'; did you mean 'euler'"),
        ("a.yaml", "lr: -1", "a.yaml: lr: input should be greater than 0, got -1"),
        ("a.yaml", "study: flossing", "it is of the study 'flossing', not of 'integrators'"),
        ("a.yaml", "study: [1]", "it is of the study"),
        ("a.yaml", "dt: [1, 2", "a.yaml is broken: while parsing a flow sequence"),
        ("a.yaml", "dt: !!python/object/apply:os.getcwd []", "is broken: could not determine"),
        ("a.json", '{"dt": [1,', "a.json is broken: Expecting value: line 1"),
        ("a.json", "[" * 100_000, "a.json is broken"),
        ("a.yaml", "\x00", "a.yaml is broken"),
        ("a.yaml", "- 1", "must map names of settings to values, got list"),
        ("a.yaml", "", "must map names of settings to values, got NoneType"),
        ("a.yaml", "1: 2", "must map names of settings to values"),
        ("a.toml", "dt = 1", "a config is a file .yaml, .yml, .json, got"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    arguments: tuple[Any, ...] = ("integrators", IntegratorsConfig)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml", *arguments)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "folder.yaml", *arguments)
    (tmp_path / "latin.yaml").write_bytes(b"dataset: \xe9")
    with pytest.raises(ConfigError, match="is broken"):
        read_config(tmp_path / "latin.yaml", *arguments)
