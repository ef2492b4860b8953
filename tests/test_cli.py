"""The command line as its user types it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from saltation.cli import main, parsing
from saltation.cli.terminal import console
from saltation.models import ARCHITECTURES
from saltation.neurons import NEURONS
from saltation.schemes import SCHEMES
from saltation.studies import STUDIES, IntegratorsConfig, Study
from saltation.studies.engine.config import as_json
from saltation.studies.engine.recording import Alone
from saltation.studies.integrators import study as integrators


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
        ("study flossing --config", "--config takes a file, got none"),
        ("study flossing --config --k 3", "--config takes a file, got none"),
        ("study flossing --config=a.yaml --config b.yaml", "--config takes one file, got 2"),
        ("study flossing --config nowhere.yaml --k 3", "'nowhere.yaml' cannot be read"),
        ("report nowhere", "there is no study in nowhere"),
        ("compare nowhere elsewhere", "there is no study in nowhere"),
        ("study depth --depths 4 6", "depth 6 does not fit images of 32 x 32 pixels"),
        ("study depth --depths 6", "nearest that fit: 4 and 8"),
        ("study depth --reg-type squard", "did you mean 'squared'"),
        ("study depth --arch vggg", "did you mean 'vgg'"),
        ("study depth --T 0", "T: input should be greater than or equal to 1, got 0"),
        ("study depth --seed 1 --seeds 2 3", "either seed or seeds"),
        ("study depth --dataset mnist --data-dir /nowhere", "saltation data fetch mnist"),
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
            "study depth",
            "study integrators",
            "study flossing",
            "study rstdp",
            "stability",
            "data",
            "data list",
            "data fetch",
        ),
        *("report", "compare", "info", "selftest"),
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
    assert "(default: 0.005)" in shown
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


def test_a_config_file_with_flags_on_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Study[Any]] = []
    monkeypatch.setattr(parsing, "run_study", ran.append)
    file = tmp_path / "mine.yaml"
    file.write_text("dt: [0.5, 2]\nepochs: 3\nbio_time: 10\nprogress: no\n")
    main(["study", "integrators", "--dt", "4", "--config", str(file), "--seeds", "1", "2"])
    main(["study", "integrators", f"--config={file}"])
    flags, plain = (study.config for study in ran)
    assert (flags.dt, flags.epochs, flags.bio_time, flags.seeds) == ([4.0], 3, 10.0, [1, 2])
    assert plain == IntegratorsConfig(dt=[0.5, 2.0], epochs=3, bio_time=10.0, progress=False)
    given = ("study", "integrators", "--config", str(file))
    assert "either steps or bio_time" in refused(capsys, *given, "--steps", "5")
    assert "dt: input should be greater than 0" in refused(capsys, *given, "--dt", "-1")
    file.write_text("dtt: 1\n")
    assert "unknown setting 'dtt'; did you mean 'dt'" in refused(capsys, *given)
    with pytest.raises(SystemExit):
        main([*given[:2], "--help"])
    assert "--config FILE" in capsys.readouterr().out


@pytest.mark.parametrize("name", STUDIES)
def test_flags_go_before_the_config_of_a_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Study[Any]] = []
    monkeypatch.setattr(parsing, "run_study", ran.append)
    file = tmp_path / "config.json"
    config_type = STUDIES[name].config_type
    file.write_text(as_json(name, config_type.build(seeds=[3], epochs=7, out_dir=tmp_path)))
    main(["study", name, "--config", str(file), "--seeds", "1", "2"])
    assert {trial["seed"] for trial in ran[0].trials()} == {1, 2}
    assert ran[0].config.epochs == 7
    assert ran[0].folder != tmp_path


def test_a_run_is_reported_repeated_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that a report gives does the same trials again."""
    monkeypatch.setattr(console, "width", 400)
    words = "study integrators --neurons lif --schemes euler --dt 1 --steps 5 --hidden 8"
    words += " --epochs 1 --limit-train 64 --limit-test 32 --batch-size 32 --no-progress"
    main([*words.split(), "--out-dir", str(tmp_path / "[b]")])
    page = tmp_path / "[b]" / "report.html"
    assert f"report: {page}" in capsys.readouterr().out
    page.unlink()
    main(["report", str(page.parent)])
    assert f"report: {page}" in capsys.readouterr().out
    monkeypatch.chdir(page.parent)
    (command,) = re.findall(r"<pre>saltation (study .*)</pre>", page.read_text())
    main([*command.split(), "--lr", "0.5", "--no-progress"])
    capsys.readouterr()
    main(["compare", str(page.parent), "again", "--out", "both.html"])
    out = capsys.readouterr().out
    assert out.count("1 finished") == 2
    assert re.search(r"lr\s+│\s+0.005\s+│\s+0.5", out)
    assert str(page.parent) in out
    assert "page: both.html" in out
    assert Path("both.html").exists()


def test_a_study_of_failures_alone_ends_with_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*args: object, **options: object) -> object:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(integrators, "fit", fails)
    with pytest.raises(SystemExit) as stop:
        main(f"study integrators --neurons lif --dt 1 --no-progress --out-dir {tmp_path}".split())
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert "failed, RuntimeError: out of luck" in out
    assert err == f"saltation: no trial of the study in {tmp_path} finished\n"
    assert "out of luck" in (tmp_path / "report.html").read_text()


def test_depth_study_as_the_script_was_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of the script with their underscores, every one of them."""
    main(
        "study depth --dataset digits --depths 2 4 --T 2 --epochs 1 --batch_size 16 --lr 1e-3 "
        "--lambda_reg 0.3 --lambda_target -0.1 --device cpu --seed 42 --no-progress "
        "--reg_type hinge --warmup_epochs 1 --stable_init --lyap_threshold 2.0 "
        f"--data_dir {tmp_path} --out_dir {tmp_path / 'out'} --base-channels 2 --side 16 "
        "--limit-train 32 --limit-test 16 --estimator finite".split()
    )
    out = capsys.readouterr().out
    assert re.search(r"4 │ hinge \(finite\)\s+│\s+[\d.]+ │\s+[\d.]+ │\s+[+-][\d.]+ │", out)
    assert "Gradient health" in out
    assert "hinge (finite): cannot tell" in out
    assert (tmp_path / "out" / "results.json").exists()


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
    for name in [*NEURONS, *SCHEMES, *ARCHITECTURES, *STUDIES, "reference"]:
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


@pytest.mark.drawn
def test_a_study_is_stopped_listed_resumed_and_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way of somebody who pressed Ctrl-C."""
    monkeypatch.setattr(console, "width", 400)  # wide enough for any temporary path
    words = "study integrators --neurons lif --schemes exponential --dt 1 5 --steps 5 --hidden 8"
    words += " --epochs 2 --limit-train 64 --limit-test 32 --batch-size 32 --no-progress"
    folder, calls = tmp_path / "runs" / "a", []
    batch = Alone.batch

    def stop(self: Alone, done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 9:  # of 6 in a trial
            raise KeyboardInterrupt
        batch(self, done, total)

    monkeypatch.setattr(Alone, "batch", stop)
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), "--out-dir", str(folder)])
    assert stopped.value.code == 130
    assert f"saltation resume {folder}" in capsys.readouterr().err
    main(["runs", str(tmp_path / "runs")])
    assert "1 finished, 1 interrupted" in capsys.readouterr().out
    main(["resume", str(folder), "--no-progress"])
    assert f"results: {folder}" in capsys.readouterr().out
    assert len(calls) == 9 + 6  # the finished trial was not run again
    main(["lyapunov", str(folder), "--k", "2", "--samples", "4"])
    out = capsys.readouterr().out
    assert out.count("lif exponential") == 2
    assert len(re.findall(r"[+-]\d\.\d{3} ± \d\.\d{3}", out)) == 2 * 3
    (best, _) = sorted(folder.glob("checkpoints/*/best.pt"))
    main(["lyapunov", str(best), "--samples", "4"])
    out = capsys.readouterr().out
    assert "gradients of the weights" in out
    figures = re.findall(r"figure: (.*png)", out)
    monkeypatch.chdir(best.parent)
    main(["lyapunov", "best.pt", "--samples", "4", "--out-dir", str(tmp_path)])
    assert "gradients of the weights" in capsys.readouterr().out
    assert len(figures) == 2
    assert all(Path(figure).stat().st_size > 10_000 for figure in figures)
    assert "neither the folder of a study" in refused(capsys, "lyapunov", str(tmp_path / "x.pt"))
    assert "there is no study in" in refused(capsys, "resume", str(tmp_path))
    assert "there is no folder" in refused(capsys, "runs", str(tmp_path / "none"))
    assert "samples must be" in refused(capsys, "lyapunov", str(folder), "--samples", "0")
    best.write_bytes(best.read_bytes()[:50])
    assert "cannot be read as a checkpoint" in refused(capsys, "lyapunov", str(best))
