"""The scripts in ``examples/`` do what the documentation says of them."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from saltation.data import load
from saltation.errors import StabilityWarning
from saltation.neurons import get_neuron
from saltation.studies import IntegratorsStudy
from tests.data.test_recorded import shd

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("network", ["sew", "spikformer"])
def test_small_networks_learn_digits(network: str) -> None:
    """To above 95 % of the test set."""
    script = runpy.run_path(str(EXAMPLES / "train_small.py"))
    records = list(script["train"](network, load("digits"), epochs=4))
    assert records[-1].test.accuracy > 95


def test_the_command_prints_a_line_for_every_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the options of the documentation."""
    line = "train_small.py sew --limit-train 64 --epochs 2 --batch-size 32"
    monkeypatch.setattr("sys.argv", line.split())
    runpy.run_path(str(EXAMPLES / "train_small.py"), run_name="__main__")
    shown = capsys.readouterr().out.splitlines()
    assert [text.split(":")[0] for text in shown] == ["epoch 1", "epoch 2"]


@pytest.mark.drawn
def test_a_deep_network_is_diagnosed_cured_and_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As `make demo` runs it, smaller: findings in words, what was tried, two curves, a figure."""
    line = f"deep.py --depth 2 --limit-train 96 --epochs 1 --steps 4 --out-dir {tmp_path}"
    monkeypatch.setattr("sys.argv", line.split())
    runpy.run_path(str(EXAMPLES / "deep.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "the surrogate is too steep" in shown
    assert "surrogate_width(c=0.6)" in shown
    assert shown.index("as it is:") < shown.index("   cured:")
    assert (tmp_path / "cure.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    """A study is stopped and resumed, λ is positive where it is unstable, a network is cured."""
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py"), "--out-dir", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "160"},
    )
    assert ran.returncode == 0, ran.stderr
    assert "^C\n" in ran.stdout
    assert len(re.findall(r"^trial \d/4 .* % in ", ran.stdout, re.MULTILINE)) == 4
    exponents = re.findall(r"lif (\w+) dt=(\d) seed=0 +│[^│]+│[^│]+│ ([+-])", ran.stdout)
    signs = {(scheme, dt): sign for scheme, dt, sign in exponents}
    assert signs.pop(("euler", "5")) == "+"
    assert list(signs.values()) == ["-"] * 3
    before, after = (
        float(re.search(rf"{name}: .* ([\d.]+)$", ran.stdout, re.MULTILINE)[1])  # type: ignore[index]
        for name in ("as it is", "cured")
    )
    assert after > before + 30


@pytest.mark.parametrize("network", ["shd", pytest.param("ssc", marks=pytest.mark.slow)])
def test_published_networks_train_on_spiking_speech(tmp_path: Path, network: str) -> None:
    """On a small file in the layout of SHD and SSC."""
    study = IntegratorsStudy(
        dataset=str(shd(tmp_path)),
        network=f"{EXAMPLES / 'adlif.py'}:{network}",
        neurons=["adlif"],
        schemes=["exponential_symplectic"],
        dt=[4.0],
        steps=12,
        input=["held"],
        epochs=1,
        batch_size=4,
        limit_train=4,
        limit_test=2,
        out_dir=tmp_path / "out",
        progress=False,
    )
    results = study.run()
    assert results["status"].tolist() == ["finished"]
    assert results["train_loss"].notna().all()


@pytest.mark.parametrize("q", [60, 120])
def test_parameters_lie_in_the_published_ranges(q: int) -> None:
    """Those of every neuron, and the steps at which the split scheme is unstable."""
    script = runpy.run_path(str(EXAMPLES / "adlif.py"))
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network = script[f"masses_q{q}"]((4,), 4, get_neuron("adlif"), "exponential_split", 1.0)
    neuron = network[1].neuron
    assert 5 < neuron.tau.min() < neuron.tau.max() < 25
    assert 60 < neuron.tau_w.min() < neuron.tau_w.max() < 300
    assert 0 < neuron.a.min() < neuron.a.max() < q
    assert [one.category for one in told] == [StabilityWarning] * (q == 120)
    assert network(torch.randn(20, 3, 4)).shape == (20, 3, 4)


def test_networks_side_by_side_share_nothing() -> None:
    """What one seed is given changes neither outputs nor gradients of another."""
    script = runpy.run_path(str(EXAMPLES / "adlif_schemes.py"))
    torch.manual_seed(0)
    networks = script["SideBySide"](2, script["TASKS"]["masses"], "exponential_split", 60.0)
    x = torch.randn(20, 3, 2, 4)
    other = x.clone()
    other[:, :, 1] += 1
    y = networks(x)
    assert y.shape == (20, 3, 2, 4)
    assert torch.equal(networks(other)[:, :, 0], y[:, :, 0])
    assert not torch.equal(networks(other)[:, :, 1], y[:, :, 1])
    y[:, :, 0].square().sum().backward()
    assert networks.inputs.grad[0].abs().sum() > 0
    assert networks.inputs.grad[1].abs().sum() == 0
