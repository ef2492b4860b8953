"""The integrators study: its grid, its folder, and what survives trouble."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import saltation as st
from saltation.kernels.dispatch import KERNELS
from saltation.studies import IntegratorsStudy
from saltation.studies.engine import progress
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.store import Store
from saltation.studies.integrators import study as integrators
from saltation.studies.recordings import draw_recordings
from saltation.training import fit

# A study of seconds: everything small but real.
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "limit_train": 200,
    "limit_test": 100,
    "neurons": ["lif"],
    "schemes": ["euler", "exponential"],
    "dt": [0.5, 2.0],
    "steps": 10,
    "hidden": [32],
    "epochs": 2,
    "batch_size": 16,
    "lr": 0.02,
    "progress": False,
}
COLUMNS = {
    *("neuron", "scheme", "dt", "steps", "readout", "seed", "epochs", "seconds", "status"),
    *("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
    *("mean_spike_rate", "silent_fraction", "active_fraction", "dead_fraction"),
}
TIMES = ["seconds"]


def study(folder: Path, **changes: Any) -> IntegratorsStudy:
    return IntegratorsStudy(out_dir=folder, **SMALL | changes)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns=TIMES), b.drop(columns=TIMES))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("done")
    return folder, study(folder).run()


@pytest.mark.drawn
def test_writes_its_folder(done: tuple[Path, pd.DataFrame]) -> None:
    folder, results = done
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {
        f"figures/{name}.{kind}"
        for name in ("accuracy", "spike_rate", "learning_curves", "accuracy_energy")
        for kind in ("png", "svg")
    }
    tables = {"config.json", "study.db", "results.csv", "results.json", "report.html"}
    assert names >= tables | figures

    # By itself pandas before 3 may read a last digit beside the one that is written.
    table = pd.read_csv(folder / "results.csv", converters={"test_loss": float})
    assert set(table.columns) >= COLUMNS
    assert len(table) == len(results) == 4
    assert (table["status"] == "finished").all()
    assert table["test_accuracy"].between(0, 100).all()
    # Percent of 100 samples: whole numbers, and more than chance in at least one trial.
    assert (table["test_accuracy"] % 1 == 0).all()
    assert table["test_accuracy"].max() > 20
    assert (table["silent_fraction"] + table["active_fraction"]).sub(1).abs().max() < 1e-9

    # 4.6 pJ for each update of a state and 0.9 for each synaptic operation.
    updates = (table["energy_nj"] - 0.9e-3 * table["synops"]) / 4.6e-3
    assert (updates.round(6) % 1 == 0).all()
    assert (table["synops"] > 100).all()

    trials = json.loads((folder / "results.json").read_text())
    assert [len(t["epochs"]) for t in trials] == [2, 2, 2, 2]
    last = trials[0]["epochs"][-1]
    assert last["test_loss"] == table["test_loss"][0]
    config = json.loads((folder / "config.json").read_text())
    assert config["dt"] == [0.5, 2.0]


def test_the_same_command_gives_the_same_numbers(
    done: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    same(done[1], study(tmp_path).run())


def test_finished_trials_are_not_run_again(
    done: tuple[Path, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrators, "fit", lambda *a, **k: pytest.fail("a trial was run again"))
    pd.testing.assert_frame_equal(study(done[0]).run(), done[1])


@pytest.mark.drawn
def test_recordings_are_drawn_of_some_trials_of_one_seed(
    done: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    """From their checkpoints, small enough for a report; those of other trials are taken away."""
    folder, results = done
    (tmp_path / "recording-0123.png").write_text("old")
    (tmp_path / "accuracy.png").write_text("another")
    again = study_of(folder, device="cpu")
    paths, left = draw_recordings(again, again.data(torch.device("cpu")), tmp_path)
    assert left == []
    names = {f"recording-{key}.{kind}" for key in results["id"] for kind in ("png", "svg")}
    assert {path.name for path in paths} == names
    assert {path.name for path in tmp_path.iterdir()} == names | {"accuracy.png"}
    assert max(p.stat().st_size for p in paths if p.suffix == ".svg") < 100_000
    text = (tmp_path / f"recording-{results['id'][0]}.svg").read_text()
    assert "lif euler dt=0.5 seed=0: first test sample, after epoch 2" in text
    assert "spikes per neuron and step" in text


def test_a_grown_study_adds_only_what_is_new(tmp_path: Path) -> None:
    folder = tmp_path / "grown"
    study(folder, dt=[0.5], schemes=["euler"]).run()
    grown = study(folder, dt=[0.5], schemes=["euler"], seeds=[0, 1]).run()
    assert grown["seed"].tolist() == [0, 1]
    whole = study(tmp_path / "whole", dt=[0.5], schemes=["euler"], seeds=[0, 1]).run()
    same(grown, whole)


def test_schemes_share_weights_and_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watching(network: torch.nn.Sequential, *args: Any, **options: Any) -> Any:
        weights = network[0].weight.detach().clone()

        def remember(_: Any, inputs: tuple[torch.Tensor]) -> None:
            if len(seen) < 2:
                seen.append((weights, inputs[0].clone()))
            handle.remove()

        handle = network.register_forward_pre_hook(remember)
        return fit(network, *args, **options)

    monkeypatch.setattr(integrators, "fit", watching)
    study(tmp_path, dt=[0.5], epochs=1).run()
    (weights_a, input_a), (weights_b, input_b) = seen
    assert torch.equal(weights_a, weights_b)
    assert torch.equal(input_a, input_b)
    assert 0 < input_a.mean() < 1


def test_bio_time_fixes_the_duration(tmp_path: Path) -> None:
    trials = study(tmp_path, steps=None, bio_time=5.0, dt=[0.3, 0.5, 2.0, 50.0]).trials()
    assert [t["steps"] for t in trials[:4]] == [17, 10, 2, 1]
    assert {t["encoder"] for t in trials} == {"common_times"}
    assert {t["input"] for t in trials} == {"impulse"}
    assert study(tmp_path, steps=None).trials()[0]["steps"] == 10  # 5 units of time without either


def test_input_is_held_with_steps_and_may_be_both(tmp_path: Path) -> None:
    """The notebook's convention comes with its number of steps, and by name."""
    assert {t["input"] for t in study(tmp_path).trials()} == {"held"}
    both = study(tmp_path, steps=None, input=["impulse", "held"], dt=[0.5], schemes=["euler"])
    assert [t["input"] for t in both.trials()] == ["impulse", "held"]
    assert [both.label(t) for t in both.trials()] == [
        "lif euler impulse dt=0.5 seed=0",
        "lif euler held dt=0.5 seed=0",
    ]
    results = both.run()
    assert results["input"].tolist() == ["impulse", "held"]
    assert results["test_loss"].nunique() == 2
    assert len(list((tmp_path / "figures").glob("*.png"))) == 4


def test_schemes_a_neuron_lacks_are_left_out(tmp_path: Path) -> None:
    both = study(
        tmp_path, neurons=["lif", "izhikevich"], schemes=["euler", "symplectic", "trapezoid"]
    )
    pairs = {(t["neuron"], t["scheme"]) for t in both.trials()}
    assert pairs == {
        ("lif", "euler"),
        ("lif", "trapezoid"),
        ("izhikevich", "euler"),
        ("izhikevich", "symplectic"),
    }
    assert both.notes() == "left out: LIF has no symplectic; Izhikevich has no trapezoid"
    assert study(tmp_path).notes() == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "mnits"}, "did you mean 'mnist'"),
        ({"neurons": ["lif", "liff"]}, "unknown neuron 'liff'"),
        ({"neurons": []}, "neurons"),
        ({"schemes": ["eulr"]}, "did you mean 'euler'"),
        ({"schemes": ["symplectic"]}, "LIF has none of symplectic"),
        ({"schemes": ["euler", "euler"]}, "values must differ"),
        ({"dt": [0.5, 0.0]}, r"dt: .* greater than 0, got 0.0"),
        ({"dt": [float("nan")]}, "dt"),
        ({"dt": [float("inf")]}, "dt"),
        ({"steps": 0}, "steps"),
        ({"steps": 5, "bio_time": 5.0}, "either steps or bio_time"),
        ({"steps": None, "bio_time": -1.0}, "bio_time"),
        ({"input": ["pulse"]}, "unknown input 'pulse'; did you mean 'impulse'"),
        ({"readout": "median"}, "unknown readout 'median'"),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": []}, "hidden"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": []}, "seeds"),
        ({"limit_train": 0}, "limit_train"),
        ({"device": "tpu9"}, "device 'tpu9' cannot be used"),
        ({"encoder": "poison"}, "unknown encoder"),
        ({"tua": 2.0}, "unknown setting 'tua'"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(st.ConfigError, match=message):
        study(tmp_path / "never", **changes)
    assert not (tmp_path / "never").exists()


def test_missing_data_is_told_before_the_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(st.MissingDataError, match="fashion_mnist"):
        study(tmp_path / "never", dataset="fashion_mnist", data_dir=tmp_path).run()
    assert not (tmp_path / "never").exists()


def test_out_dir_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(st.ConfigError, match=r"out_dir .* cannot be written"):
        study(tmp_path / "file").run()


def test_every_trial_records_its_kernel_and_why_it_fell_back(
    done: tuple[Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert done[1]["kernel"].tolist() == ["cpu"] * 4
    idle = replace(KERNELS["cpu"], refuses=lambda *request: "it is a Sunday")
    monkeypatch.setitem(KERNELS, "cpu", idle)
    results = study(tmp_path, dt=[0.5], schemes=["euler"], epochs=1).run()
    assert results["kernel"].tolist() == ["reference (cpu: it is a Sunday)"]
    assert "it is a Sunday" in (tmp_path / "results.csv").read_text()


def test_a_failing_trial_does_not_end_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def second_fails(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return fit(*args, **options)

    monkeypatch.setattr(integrators, "fit", second_fails)
    results = study(tmp_path, epochs=1).run()
    assert results["status"].tolist() == ["finished", "failed", "finished", "finished"]
    assert results["reason"][1] == "RuntimeError: out of luck"
    # The next run tries it again, and only it.
    monkeypatch.setattr(integrators, "fit", fit)
    assert study(tmp_path, epochs=1).run()["status"].tolist() == ["finished"] * 4


def test_a_diverged_trial_says_when_and_what_was_left(tmp_path: Path) -> None:
    results = study(
        tmp_path, neurons=["izhikevich"], schemes=["symplectic_v"], dt=[5.0], steps=50
    ).run()
    (trial,) = results.to_dict("records")
    assert trial["status"] == "diverged"
    assert trial["reason"] == "the gradient is not finite at epoch 1, step 1"
    # The step with it leaves weights that are not finite, and neurons that never spike.
    assert trial["mean_spike_rate"] == 0
    assert trial["dead_fraction"] == 1


def test_an_interrupted_study_keeps_what_it_has_and_goes_on(
    done: tuple[Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(integrators, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(tmp_path).run()
    written = pd.read_csv(tmp_path / "results.csv")
    assert written["status"].tolist() == ["finished", "finished", "interrupted"]
    monkeypatch.setattr(integrators, "fit", fit)
    same(study(tmp_path).run(), done[1])


def test_a_killed_study_goes_on_to_the_same_results(
    done: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    settings = {k: v for k, v in SMALL.items() if k != "progress"}
    code = (
        "from saltation.studies import IntegratorsStudy;"
        f"IntegratorsStudy(**{settings!r}, out_dir={str(tmp_path)!r}, progress=False).run()"
    )
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    ids = [integrators_id(trial) for trial in study(tmp_path).trials()]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (tmp_path / "study.db").exists():
            store = Store(tmp_path / "study.db")
            finished = [t for t in store.trials(ids) if t["status"] == "finished"]
            store.close()
            if finished:
                break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    same(study(tmp_path).run(), done[1])


def integrators_id(trial: dict[str, Any]) -> str:
    from saltation.studies.engine.store import trial_id

    return trial_id(trial)


def test_progress_is_plain_lines_without_a_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One a trial, and in a trial that lasts some of its epochs, with the time left."""
    monkeypatch.setattr(progress, "SELDOM", 1e9)
    study(tmp_path / "a", progress=True, dt=[0.5], schemes=["euler"]).run()
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.fullmatch(r"trial 1/1  lif euler dt=0.5 seed=0  test .* % in \d+ s", line)
    assert "\x1b" not in err
    monkeypatch.setattr(progress, "SELDOM", 0.0)
    study(tmp_path / "b", progress=True, dt=[0.5], schemes=["euler"]).run()
    first, _ = capfd.readouterr().err.splitlines()
    assert first.startswith("trial 1/1  lif euler dt=0.5 seed=0  epoch 1/2  test ")
    assert first.endswith(" left")


def test_time_left_leaves_out_what_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute before the first batch is not a part of the speed."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.StudyProgress([1.0, 1.0], epochs=1, show=False)
    shown.begin(0, "a", after=0)
    now = 30.0
    shown.within(0, 0, 1, 10, rate=1.0)
    now = 39.0
    shown.within(0, 0, 10, 10, rate=1.0)
    assert shown._left() == "10 s"


def test_no_progress_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study(tmp_path, dt=[0.5], schemes=["euler"], epochs=1).run()
    assert capfd.readouterr() == ("", "")
