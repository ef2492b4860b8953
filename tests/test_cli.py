"""The command line as its user types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from saltation.cli import main
from saltation.neurons import NEURONS
from saltation.schemes import SCHEMES
from saltation.studies import STUDIES


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a refused command prints."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("study integrators --dt 0.5 -1", "dt: input should be greater than 0, got -1.0"),
        ("study integrators --schemes eulr", "did you mean 'euler'"),
        ("study integrators --dtt 0.5", "did you mean --dt?"),
        ("study integrators --steps many", "--steps takes INT, got 'many'"),
        ("study integrators --steps 3 --bio_time 4", "either steps or bio_time"),
        ("study integrators --dataset mnist --data-dir /nowhere", "saltation data fetch mnist"),
        ("study flossing --modes befor", "did you mean 'before'"),
        ("study flossing --k 9 --hidden 8", "k must be at most the 8 neurons of the layer, got 9"),
        ("study flossing --dataset digits", "--dataset"),
        ("study rstdp --reward pm2", "unknown reward 'pm2'; did you mean 'pm1'"),
        ("study rstdp --lr 0", "lr: input should be greater than 0, got 0.0"),
        ("study rstdp --optimizer adam", "--optimizer"),
        ("study integrator", "integrator"),
        ("studdy", "studdy"),
        ("stability --neuron lift", "did you mean 'lif'"),
        ("stability --dt 0", "LIF dt must be a finite number above 0"),
        ("stability --set a0=x", "NAME=VALUE"),
        ("data fetch mnsit", "did you mean 'mnist'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *words.split())


@pytest.mark.parametrize(
    "words",
    [
        "",
        *(
            "study",
            "study integrators",
            "study flossing",
            "study rstdp",
            "stability",
            "data",
            "data list",
            "data fetch",
        ),
        *("info", "selftest"),
    ],
)
def test_help_everywhere(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words.split(), "--help"])
    assert stop.value.code == 0
    assert "usage: saltation" in capsys.readouterr().out


@pytest.mark.parametrize("study", STUDIES)
def test_help_of_a_study_has_every_flag(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", study, "--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for name, field in STUDIES[study].config_type.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.description
        assert re.sub(r"\s+", " ", field.description).split(".")[0] in shown


def test_help_of_a_study_has_its_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "integrators", "--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "(default: 0.001)" in shown
    assert "(default: 0.05 0.5 2.0 5.0)" in shown


def test_a_study_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        "study integrators --dataset digits --limit_train 128 --limit-test 64 --neurons lif "
        "--schemes euler symplectic --dt 0.5 5 --steps 5 --hidden 8 --epochs 1 --batch-size 64 "
        f"--no-progress --out_dir {tmp_path}".split()
    )
    out = capsys.readouterr().out
    assert "left out: LIF has no symplectic" in out
    assert re.search(r"euler\s+│\s+[\d.]+\s+│\s+[\d.]+ !", out)
    assert "outside the scheme's stability limit" in out
    assert (tmp_path / "results.csv").exists()


def test_the_rstdp_study_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        "study rstdp --limit-train 64 --limit-test 32 --schemes euler exponential --dt 0.5 0.05 "
        "--steps 10 --seeds 0 1 --reward onehot --epochs 1 --batch-size 16 "
        "--test-batch-size 16 --train-batches 2 --teach 0.5 --teach-decay 0.9 --lr 0.1 --hidden 8 "
        f"--no-progress --out-dir {tmp_path}".split()
    )
    out = capsys.readouterr().out
    assert re.search(r"onehot\s+│\s+exponential\s+│\s+10\s+│\s+[\d.]+ ± [\d.]+\s+│", out)
    assert "test accuracy in %, mean ± standard deviation of 2 seeds" in out
    assert (tmp_path / "results.csv").exists()


def test_stability(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(f"stability --neuron lif --tau 2 --dt 5 --out-dir {tmp_path}".split())
    out = capsys.readouterr().out
    assert re.search(r"euler\s+│\s+1\s+│\s+4\s+│\s+UNSTABLE", out)
    assert re.search(r"exponential\s+│\s+exact\s+│\s+none\s+│\s+stable", out)
    assert (tmp_path / "stability-lif.svg").exists()


def test_info_names_what_the_registries_hold(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info"])
    out = capsys.readouterr().out
    for name in [*NEURONS, *SCHEMES, *STUDIES, "reference"]:
        assert name in out


def test_data_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["data", "list", "--data-dir", str(tmp_path)])
    out = capsys.readouterr().out
    assert re.search(r"digits\s+│[^│]+│\s+yes", out)
    assert "fashion_mnist" in out


def test_diagnose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, saltation as st\n"
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Linear(4, 8), st.LIF(), nn.Linear(8, 3))\n"
        "    net[0].weight.data.zero_()\n"
        "    net[0].bias.data.zero_()\n"
        "    return net, torch.rand(5, 6, 4), torch.arange(6) % 3\n"
        "def wrong():\n"
        "    return 3\n"
    )
    main(["diagnose", f"{file}:build"])
    assert "activity dies at '1' (layer 1 of 1)" in capsys.readouterr().out
    assert "must return (network, x, y), got int" in refused(capsys, "diagnose", f"{file}:wrong")
    assert "no function 'none'" in refused(capsys, "diagnose", f"{file}:none")
    assert "there is no file" in refused(capsys, "diagnose", f"{tmp_path / 'x.py'}:build")
    assert "FILE.py:FUNCTION" in refused(capsys, "diagnose", "build")
