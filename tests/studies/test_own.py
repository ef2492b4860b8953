"""A user's own network on a user's own data, in every study and command, with one flag each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import saltation as st
from saltation.cli import main
from saltation.errors import ConfigError
from saltation.studies import (
    DepthStudy,
    IntegratorsStudy,
    RemediesStudy,
    RSTDPStudy,
    TransferStudy,
)
from saltation.studies.engine.folder import summary
from saltation.studies.engine.inputs import keep, recall
from saltation.studies.given import Builder, takes_nothing
from saltation.studies.report.compare import compare
from saltation.studies.report.tables import integrators_grid

FILE = """
import math
import torch
import saltation as st


def build(shape, classes, neuron, scheme, dt, steps):
    return st.Sequential(
        torch.nn.Flatten(2),
        st.SpikeLinear(math.prod(shape), 12),
        neuron.layer(dt=dt, scheme=scheme),
        st.SpikeLinear(12, classes),
        st.Readout("max"),
    )


def deep(shape, classes, depth):
    layers = []
    for width in [math.prod(shape)] + [12] * (depth - 1):
        layers += [st.SpikeLinear(width, 12), st.LIF()]
    return st.Sequential(torch.nn.Flatten(2), *layers, st.SpikeLinear(12, classes), st.Readout())


def fails(shape, classes):
    raise RuntimeError("not today")


def wants(shape, colour):
    return torch.nn.Flatten()


def filtered(shape, classes, neuron, scheme, dt):
    return st.Sequential(
        st.SpikeLinear(shape[0], 16),
        neuron.layer(dt=dt, scheme=scheme),
        st.SpikeLinear(16, classes),
        st.LeakyIntegrator(3.0, dt),
    )


def flat(shape, classes):
    return torch.nn.Flatten()


number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of networks, images, vectors and sequences of three classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    random = np.random.default_rng(0)
    y = np.arange(96) % 3
    x = 0.3 * random.random((96, 1, 9, 9))
    for label in range(3):
        x[y == label, 0, 3 * label : 3 * label + 3] += 0.6
    time = np.arange(20)[None, :, None] * (0.2 + 0.2 * y)[:, None, None]
    sequences = 2 * np.sin(time) + np.zeros((1, 1, 4))
    # What is to be made of every moment of the waves: two of their values, shifted and scaled.
    ahead = np.stack([sequences[..., 0], 1 + 0.5 * np.cos(time)[..., 0]], -1)
    targets = {"y_train": ahead[:72], "y_test": ahead[72:]}
    np.savez(tmp_path / "ahead.npz", x_train=sequences[:72], x_test=sequences[72:], **targets)
    for name, samples in (("images", x), ("vectors", x.reshape(96, 81)), ("waves", sequences)):
        np.savez(
            tmp_path / f"{name}.npz",
            x_train=samples[:72],
            y_train=y[:72],
            x_test=samples[72:],
            y_test=y[72:],
        )
    return tmp_path


SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 12, "lr": 0.02, "progress": False}
GRID: dict[str, Any] = {"neurons": ["lif"], "schemes": ["exponential"], "dt": [1.0]}


@pytest.mark.parametrize("data", ["images", "vectors"])
def test_integrators(mine: Path, data: str) -> None:
    study = IntegratorsStudy(
        dataset=f"{data}.npz",
        network="mine.py:build",
        steps=8,
        out_dir=mine / "out",
        **GRID,
        **SHORT,
    )
    results = study.run()
    assert results["status"].tolist() == ["finished"]
    assert results["test_accuracy"][0] > 60
    assert results["kernel"][0].startswith("cpu")
    network = st.load(mine / "out")
    assert network[1].weight.shape == (12, 81)
    assert network(torch.zeros(8, 2, *((1, 9, 9) if data == "images" else (81,)))).shape == (2, 3)


def test_sequences_say_their_steps(mine: Path) -> None:
    """Every dt sees the same current, over the whole of the sequence."""
    study = IntegratorsStudy(
        dataset="waves.npz", network="mine.py:build", **GRID | {"dt": [0.5, 1.0, 3.0]}, **SHORT
    )
    assert [trial["steps"] for trial in study.trials()] == [40, 20, 7]
    assert {trial["encoder"] for trial in study.trials()} == {"currents"}
    results = study.run()
    assert results["status"].tolist() == ["finished"] * 3
    for name, value in (("steps", 5), ("bio_time", 2.0), ("encoder", "exact")):
        with pytest.raises(ConfigError, match=f"give no {name}"):
            IntegratorsStudy(dataset="waves.npz", **{name: value})


def test_targets_of_every_step(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set with targets has an error in place of an accuracy, at every dt of the same targets."""
    settings: dict[str, Any] = {"dataset": "ahead.npz", **GRID, **SHORT}
    settings |= {"dt": [0.5, 1.0, 3.0], "epochs": 12, "validation": 0.25}
    study = IntegratorsStudy(network="mine.py:filtered", out_dir=mine / "out", **settings)
    results = study.run()
    assert results["status"].tolist() == ["finished"] * 3
    assert results["test_accuracy"].isna().all()
    assert results["readout"].tolist() == ["integrator"] * 3
    # Who answers with the mean has 1; the data set's own mean is not 0.
    assert (results["test_loss"] < 0.9).all()
    assert results["test_loss_at_best"].notna().all()
    assert {path.stem for path in (mine / "out" / "figures").iterdir()} >= {"error"}
    network = st.load(mine / "out", {"dt": 1.0}, which="best")
    assert network(torch.zeros(20, 5, 4)).shape == (20, 5, 2)
    Console().print(study.tables(results))
    assert "test error / variance" in capsys.readouterr().out
    # Nothing calls an error an accuracy, or says that nothing finished.
    least = results["test_loss"].min()
    said = study.verdict(results)[0]
    assert said.startswith("LIF: best is exponential at dt")
    assert f"with an error of {least:.3g}" in said
    page = (mine / "out" / "report.html").read_text()
    assert "Test loss at best" in page
    assert "best last test error" in page
    assert "best last test accuracy" not in page
    found = summary(mine / "out")
    assert (found["best"], found["is_error"]) == (least, True)
    main(["runs", str(mine / "out")])
    shown = capsys.readouterr().out
    assert f"{least:.4g}" in shown
    assert "%" not in shown.split("best last:")[0]
    both = compare([mine / "out", mine / "out"])
    assert both.outcomes.rows[0][4] == f"{least:.4f} (error)"
    assert both.differences.rows[0][-1].startswith("+0.0000")
    own = IntegratorsStudy(hidden=[8], out_dir=mine / "own", **settings | {"dt": [1.0]})
    assert own.run()["status"].tolist() == ["finished"]
    assert st.load(mine / "own")(torch.zeros(20, 5, 4)).shape == (20, 5, 2)
    with pytest.raises(ConfigError, match="leaky integrators answer: give no readout"):
        IntegratorsStudy(dataset="ahead.npz", readout="mean")
    with pytest.raises(ConfigError, match=r"outputs \[T, B, k\], here \[40, 2, 2\], got \[2, 2\]"):
        IntegratorsStudy(network="mine.py:build", **settings).run()
    with pytest.raises(ConfigError, match="targets in place of labels"):
        TransferStudy(dataset="ahead.npz", input=["held"])


def test_depth(mine: Path) -> None:
    settings: dict[str, Any] = {"dataset": "images.npz", "side": 9, "reg_type": ["none"]}
    study = DepthStudy(network="mine.py:deep", depths=[1, 3], seeds=[0], **settings, **SHORT)
    results = study.run()
    assert results["status"].tolist() == ["finished"] * 2
    assert results["test_accuracy"][0] > 60
    fixed = DepthStudy(network="mine.py:build", **settings, **SHORT)
    assert fixed.config.depths == [1]  # its one layer of neurons
    with pytest.raises(ConfigError, match="takes no depth, and its network has 1 layers"):
        DepthStudy(network="mine.py:build", depths=[4, 8, 16], **settings)
    for name, value in (("init", ["scaled"]), ("base_channels", 8), ("stable_init", True)):
        with pytest.raises(ConfigError, match=f"give no {name}"):
            DepthStudy(network="mine.py:deep", **{name: value}, **settings)
    with pytest.raises(ConfigError, match="no choice of surrogate"):
        DepthStudy(network="mine.py:deep", surrogate=["atan"], **settings)


def test_remedies(mine: Path) -> None:
    study = RemediesStudy(
        network="mine.py:deep",
        dataset="images.npz",
        side=9,
        depth=2,
        faults=["none"],
        remedies=["surrogate_width"],
        seeds=[0],
        **SHORT,
    )
    assert study.run()["status"].tolist() == ["finished"] * 2


def test_lyapunov(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in ("images", "vectors", "waves"):
        main(["lyapunov", "--network", "mine.py:build", "--dataset", f"{data}.npz"])
        assert "λ1" in capsys.readouterr().out
    main(["data", "describe", "waves.npz"])
    assert "3 classes, 24 to 24 training samples each" in capsys.readouterr().out


def test_other_content_makes_other_trials(mine: Path) -> None:
    """A study goes on with what it has only while data and code are what they were."""
    settings = {"dataset": "images.npz", "network": "mine.py:build", "steps": 4, **GRID}
    more: dict[str, Any] = SHORT | {"epochs": 1, "out_dir": mine / "out"}
    first = IntegratorsStudy(**settings, **more).run()["id"].tolist()
    assert IntegratorsStudy(**settings, **more).run()["id"].tolist() == first
    with np.load("images.npz") as stored:
        arrays = dict(stored)
    np.savez("images.npz", **arrays | {"y_train": arrays["y_train"][::-1]})
    second = IntegratorsStudy(**settings, **more).run()["id"].tolist()
    (mine / "mine.py").write_text(FILE.replace("12", "13"))
    third = IntegratorsStudy(**settings, **more).run()["id"].tolist()
    assert len({*first, *second, *third}) == 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("mine.py:fails", r"mine\.py:\d+: RuntimeError: not today"),
        ("mine.py:wants", "needs colour"),
        ("mine.py:flat", r"no neuron layers|must make logits"),
        ("mine.py:number", "no function 'number'"),
        ("none.py:build", "there is no file"),
        ("mine.py", "FILE.py:FUNCTION"),
    ],
)
@pytest.mark.parametrize("study", [IntegratorsStudy, DepthStudy, RemediesStudy])
def test_wrong_networks_are_told_first(mine: Path, study: Any, source: str, reason: str) -> None:
    out = mine / "out"
    sized = {} if study is IntegratorsStudy else {"side": 9}
    with pytest.raises(ConfigError, match=reason):
        study(dataset="images.npz", network=source, out_dir=out, **sized, **SHORT).run()
    assert not out.exists()


@pytest.mark.parametrize("study", [DepthStudy, RemediesStudy, RSTDPStudy])
def test_who_takes_no_sequences_says_so(mine: Path, study: Any) -> None:
    with pytest.raises(ConfigError, match=r"waves\.npz holds sequences"):
        study(dataset="waves.npz")


def test_vectors_are_no_images(mine: Path) -> None:
    with pytest.raises(ConfigError, match="vectors of 81 numbers, and vgg takes images"):
        DepthStudy(dataset="vectors.npz")
    with pytest.raises(ConfigError, match="and vgg takes images"):
        RemediesStudy(dataset="vectors.npz")


def test_a_report_needs_the_folder_alone(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data and network that are gone are told of by what trains again, not by what reads."""
    out = mine / "out"
    for study in (
        IntegratorsStudy(
            dataset="waves.npz", network="mine.py:build", out_dir=out, **GRID, **SHORT
        ),
        DepthStudy(
            dataset="images.npz",
            side=9,
            reg_type=["none"],
            network="mine.py:build",
            seeds=[0],
            out_dir=mine / "deep",
            **SHORT,
        ),
    ):
        study.run()
    whole = {folder: st.load(folder) for folder in (out, mine / "deep")}
    assert all(isinstance(network, torch.nn.Module) for network in whole.values())
    for name in ("mine.py", "waves.npz", "images.npz"):
        (mine / name).unlink()
    for command in (["report", "out"], ["report", "deep"], ["runs", "."]):
        main(command)
    assert capsys.readouterr().out.count("1 finished") == 2
    for command in (["resume", "out"], ["lyapunov", "deep"]):
        with pytest.raises(SystemExit):
            main(command)
        assert "is not there any more" in capsys.readouterr().err


def test_a_file_is_run_once_to_see_it_and_once_for_every_network(tmp_path: Path) -> None:
    """Whatever is asked of it; and anew where it says something else, also within a second."""
    file, ran = tmp_path / "mine.py", tmp_path / "ran"
    text = (
        "import pathlib, torch\n"
        f"pathlib.Path({str(ran)!r}).open('a').write('x')\n"
        "made = []\n"
        "def build(shape):\n"
        "    made.append(1)\n"
        "    return torch.nn.Linear(1, len(made))\n"
    )
    file.write_text(text)
    source = f"{file}:build"
    builders = [Builder.of(source) for _ in range(3)]
    assert {b.names for b in builders} == {("shape",)}
    assert not takes_nothing(source)
    assert ran.read_text() == "x"
    assert [b.build(shape=()).out_features for b in builders] == [1, 1, 1]
    assert ran.read_text() == "xxxx"
    file.write_text(text.replace("def build(shape)", "def build(steps)"))
    other = Builder.of(source)
    assert other.names == ("steps",)
    assert other.fingerprint != builders[0].fingerprint
    assert builders[0].names == ("shape",)


NEURON = """
import saltation as st

class Mine(st.Neuron):
    tau: float = 2.0

    def velocity(self, x, v):
        return ((x - v) / self.tau,)
"""


def test_a_report_needs_no_file_of_a_neuron(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says as much of stability as before; who trains is told that it is gone, or another."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(NEURON)
    asked = {"neurons": ["mine.py:Mine"], "schemes": ["euler"], "dt": [0.5, 5.0], "seeds": [0]}
    few = {"dataset": "digits", "limit_train": 64, "limit_test": 32, "hidden": [8]}
    study = IntegratorsStudy(out_dir=tmp_path / "out", **few, **asked, **SHORT | {"epochs": 1})
    results = study.run()
    assert (results["status"] == "finished").all()
    grids = integrators_grid(results, results["neuron"][0]).to_numpy().tolist()
    assert [cell.endswith(" !") for cell in grids[0]] == [False, True]
    file.write_text(NEURON.replace("2.0", "3.0"))
    for module in [name for name in sys.modules if name.startswith("saltation_user_")]:
        monkeypatch.delitem(sys.modules, module)  # as in another process
    with pytest.raises(ConfigError, match="has changed since; give another out_dir"):
        keep(study.folder, study.config)
    with pytest.warns(UserWarning, match="the file has changed since the study in"):
        recall(study.folder)
    file.unlink()
    recall(study.folder)
    assert integrators_grid(results, results["neuron"][0]).to_numpy().tolist() == grids
    main(["runs", "out"])
    main(["report", "out"])
    assert "2 finished" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "no errors of rates and spike times" in page
    assert "its file is not there any more" in page
    with pytest.raises(SystemExit):
        main(["resume", "out"])
    assert "its file is not there any more" in capsys.readouterr().err
