"""What a study may ask for: numbers within bounds, and no more than the machine has."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from saltation.errors import ConfigError
from saltation.studies import STUDIES, DepthStudy, FlossingStudy, IntegratorsStudy, RSTDPStudy
from saltation.studies.engine import room
from saltation.studies.engine.config import StudyConfig, resolve_device
from saltation.studies.engine.config_file import read_config

GIB = 2**30


@pytest.mark.parametrize("name", STUDIES)
def test_defaults_fit_into_little(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "memory_of", lambda device: 2 * GIB)
    STUDIES[name].config_type.build().require_memory(torch.device("cpu"))


LARGE = {"batch_size": 128}


@pytest.mark.parametrize(
    ("study", "settings", "needs"),
    [
        # 50 steps of 128 samples and 10**6 neurons of 4 bytes, and their weights with gradients.
        (IntegratorsStudy, {"hidden": [10**6], "steps": 50, **LARGE}, "24.4 GiB"),
        (IntegratorsStudy, {"hidden": [1000], "steps": 10**6, "limit_train": 8}, "29.8 GiB"),
        (
            IntegratorsStudy,
            {"bio_time": 1e5, "dt": [0.1], "hidden": [4000], **LARGE},
            "1,907.4 GiB",
        ),
        (DepthStudy, {"dataset": "digits", "T": 10**6}, "1,953.1 GiB"),
        (DepthStudy, {"side": 1024, "dataset": "mnist"}, "66.6 GiB"),
        (FlossingStudy, {"hidden": 10**6, "modes": ["none"]}, "7,461.1 GiB"),
        (FlossingStudy, {"delays": [10**6], "batch_size": 2560}, "610.4 GiB"),
        (RSTDPStudy, {"dataset": "cifar10", "hidden": 10**6}, "11.7 GiB"),
        (IntegratorsStudy, {"workers": 1000}, "workers=1000, each a process,"),
        (IntegratorsStudy, {"devices": 128, **LARGE}, "devices=128, each a process,"),
    ],
)
def test_more_than_the_machine_has_is_refused_before_anything(
    study: Any,
    settings: dict[str, Any],
    needs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "memory_of", lambda device: 8 * GIB)
    with pytest.raises(ConfigError) as refusal:
        study(out_dir=tmp_path / "out", **settings).run()
    assert needs in str(refusal.value)
    assert "more than the 8.0 GiB that this machine has" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_machine_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    there = room.memory_of(torch.device("cpu"))
    assert GIB // 2 < there <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(room, "memory_of", lambda device: 0)
    room.require_memory(1e30, torch.device("cpu"), "nobody knows")


def test_steps_from_a_time_are_bounded() -> None:
    message = r"bio_time / dt must be at most 1000000 steps, got 2000000 with dt=0.5"
    with pytest.raises(ConfigError, match=message):
        IntegratorsStudy(bio_time=1e6, dt=[5.0, 0.5])


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "cpu:0",
        "cpu:5",
        "cuda:99",
        "cuda:" + "9" * 30,
        "nonsense",
        "",
        "CPU",
        "mkldnn",
        "xla",
    ],
)
def test_devices_that_are_none(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used \(allowed: auto, cpu") as refusal:
        StudyConfig.build(device=name)
    assert f"'{name}'" in str(refusal.value)


def test_devices_that_are_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert resolve_device("auto") == torch.device("cpu")
        with pytest.raises(ConfigError, match="this machine has no GPU"):
            resolve_device("cuda")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("nonsense", "Invalid address"),
        ("", "Invalid address"),
        ("127.0.0.1:99999999999", ""),
    ],
)
def test_no_cluster_leaves_no_folder(
    address: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs saltation[ray]")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ConfigError, match="there is no Ray cluster at") as refusal:
            IntegratorsStudy(ray=address, progress=False).run()
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("out_dir", "a\0b", "a path holds no null character"),
        ("out_dir", "x/" + "a" * 256, "each name in it 255"),
        ("data_dir", "ab/" * 2000, "at most 4000 bytes"),
        ("dt", [1e-13], "dt: input should be at least 1e-12, got 1e-13"),
        ("seeds", [2**63], "seeds: input should be less than 9223372036854775808"),
        ("seeds", list(range(1001)), "seeds: list should have at most 1000 items"),
        ("epochs", "9" * 5000, "epochs: "),
    ],
)
def test_settings_that_cannot_be(setting: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        IntegratorsStudy(**{setting: value})
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_names_of_data_sets_in_any_case() -> None:
    assert IntegratorsStudy(dataset="MNIST").config.dataset == "mnist"
    assert DepthStudy(dataset="CIFAR-10").config.dataset == "cifar10"
    with pytest.raises(ConfigError, match="unknown data set 'MNST'; did you mean 'mnist'"):
        IntegratorsStudy(dataset="MNST")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1]\nseeds: *a\n", "an alias"),
        ("a: &a {b: 1}\nseeds: {<<: *a}\n", "an alias"),
        ("seeds: [[[[[[[[[[1]]]]]]]]]]\n", "seeds: input should be a valid integer, got [[[[[[["),
        ("# " + "x" * 300_000, "it has more than 262144 bytes"),
        ("lr: " + "9" * 400 + "\n", "lr: "),
    ],
)
def test_files_that_stand_for_too_much(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        read_config(file, "integrators", IntegratorsStudy.config_type)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_a_pipe_is_no_config(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="cannot be read: not a regular file"):
        read_config(tmp_path / "a.yaml", "integrators", IntegratorsStudy.config_type)
