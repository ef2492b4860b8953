"""Trials that several processes train together, started by us and by torchrun."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from saltation.errors import ConfigError
from saltation.studies import FlossingStudy, IntegratorsStudy
from tests.studies.test_resume import FLOSSING, INTEGRATORS, recorded

# 33 test samples: of the last batch one process has a sample and the other none.
SETTINGS: dict[str, Any] = INTEGRATORS | {
    "limit_test": 33,
    "clip": 0.5,
    "hidden": [32],
    "lr": 0.001,  # at larger ones weights that are rounded otherwise come to flip spikes
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return IntegratorsStudy(out_dir=tmp_path_factory.mktemp("alone"), **SETTINGS).run()


def command(folder: Path, *extra: str) -> list[str]:
    """The study's command line."""
    words = ["study", "integrators", "--devices", "2", "--strategy", "ddp", "--no-progress"]
    for name, value in (SETTINGS | {"out_dir": folder}).items():
        if name != "progress":
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    script = folder.parent / "script.py"
    script.write_text("from saltation.cli import main\nif __name__ == '__main__':\n    main()\n")
    return [*extra, str(script), *words]


@pytest.mark.parametrize("launcher", ["ours", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_two_processes_are_one_with_the_same_batch(
    launcher: str, alone: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    by_torch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    words = command(folder, sys.executable, *(by_torch if launcher == "torchrun" else []))
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        words, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    both = pd.read_csv(folder / "results.csv")
    assert both["status"].tolist() == ["finished"] * 2
    for name in ("train_loss", "test_loss", "gradient_norm"):
        pd.testing.assert_series_equal(both[name], alone[name], rtol=1e-5)
    for name in ("test_accuracy", "mean_spike_rate", "dead_fraction"):
        pd.testing.assert_series_equal(both[name], alone[name], rtol=1e-9)
    assert len(recorded(folder)[0]["epochs"]) == SETTINGS["epochs"]
    assert len(list(folder.glob("checkpoints/*/best.pt"))) == 2


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size must be a multiple of devices=3, got 16"):
        IntegratorsStudy(**SETTINGS, devices=3)
    with pytest.raises(ConfigError, match="give neither"):
        IntegratorsStudy(**SETTINGS, devices=2, workers=2)
    with pytest.raises(ConfigError, match="did you mean 'ddp'"):
        IntegratorsStudy(**SETTINGS, strategy="dpp")
    with pytest.raises(ConfigError, match="flossing study trains every trial in one process"):
        FlossingStudy(**FLOSSING, devices=2, out_dir=tmp_path).run()
