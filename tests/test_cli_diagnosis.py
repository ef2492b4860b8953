"""``saltation diagnose FILE.py:FUNCTION``: what functions may return, and how they may fail."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from saltation.cli import main
from saltation.stability.remedies import remedies_for

MINE = """\
from __future__ import annotations
import dataclasses
import torch
from torch import nn
from torch.nn.functional import mse_loss
import saltation as st
from neighbour import fails, steps

@dataclasses.dataclass
class Sizes:
    inputs: int = 4

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.lif, self.b = nn.Linear(Sizes().inputs, 8), st.LIF(beta=0.8), nn.Linear(8, 3)
    def forward(self, x):
        s = self.lif(3 * self.a(x))
        return self.b(s), s

torch.manual_seed(0)
x, y = torch.rand(steps, 6, 4), torch.arange(6) % 3
def walk(network, x, end):
    for step in x.split(1):
        network(step)
        end()
def chain(): return nn.Sequential(nn.Linear(4, 8), st.LIF(), nn.Linear(8, 3))
def plain(): return chain(), x, y
def a_list(): return [chain(), x, y]
def two(): return Two(), x, y
def adapted(): return st.adapt(Two(), walk=walk), x, y, lambda o, y: o[0].square().mean()
def with_loss(): return Two(), x, torch.rand(5, 6, 8), lambda o, y: mse_loss(o[1], y)
def divides(): return 1 / 0
def of_neighbour(): return fails()
def leaves(): raise SystemExit(3)
def two_lines(): raise RuntimeError("one\\n  two")
def bad_loss(): return Two(), x, y, lambda o, y: o.mean()
def bad_layer(): return nn.Sequential(nn.Linear(5, 8), st.LIF(), nn.Linear(8, 3)), x, y
def bad_labels(): return Two(), x, y + 1
def refused(): return st.LIF(tau=-1), x, y
def not_four(): return Two(), x, y, 4
def task():
    y, noise = torch.arange(48) % 3, torch.Generator().manual_seed(0)
    rates = torch.rand(3, 20, generator=noise)[y] ** 2
    return (torch.rand(4, 48, 20, generator=noise) < rates).float(), y
def learner(threshold):
    torch.manual_seed(0)
    neurons = st.LIF(beta=0.8, v_threshold=threshold, surrogate=st.surrogate.Sigmoid(2.0))
    net = nn.Sequential(nn.Linear(20, 32), neurons, nn.Linear(32, 3))
    with torch.no_grad():
        net[0].weight.mul_(4)
    return net
def healthy(): return learner(1.0), *task()
def silent(): return learner(60.0), *task()
def silent_with_loss():
    return *silent(), lambda o, y: nn.functional.cross_entropy(o.mean(0), y)
def five(): return Two(), x, y, None, 5
def no_network(): return 3, x, y
def an_array(): return Two(), x.numpy(), y
def argument(a): return a
nothing = None
"""

FILES = {
    "mine": MINE,
    "neighbour": "steps = 5\ndef fails():\n    return {}['key']\n",
    "syntax": "x = 1\nif x\n    y = 2\n",
    "missing": "import torch\nimport there_is_no_such_package\n",
    "exits": "import sys\nsys.exit('usage: me')\n",
    "zero": "x = 1 / 0\ndef f(): pass\n",
    "nul": "x = '\0'\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "neighbour", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["plain", "a_list", "two", "adapted", "with_loss"])
def test_what_a_function_may_return(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["diagnose", f"{folder}/mine.py:{name}", "--trial", "2"])
    out = capsys.readouterr().out
    assert "gradients of the weights" in out
    assert "trial: 2 steps of Adam" in out


def line_of(text: str) -> int:
    """Number of the line of `MINE` that holds it."""
    return next(i for i, line in enumerate(MINE.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mine.py:divides", f"mine.py:{line_of('def divides')}: ZeroDivisionError: division by"),
        ("mine.py:of_neighbour", "neighbour.py:3: KeyError: 'key'"),
        ("mine.py:leaves", f"mine.py:{line_of('def leaves')}: SystemExit: 3"),
        ("mine.py:two_lines", f"mine.py:{line_of('def two_lines')}: RuntimeError: one two"),
        ("mine.py:bad_loss", f"mine.py:{line_of('def bad_loss')}: AttributeError: 'tuple'"),
        ("mine.py:bad_layer", "shapes cannot be multiplied"),
        ("mine.py:bad_labels", "labels must be from 0 to 2"),
        ("mine.py:refused", f"mine.py:{line_of('def refused')}: "),
        ("mine.py:not_four", "must return (network, x, y) or a loss too, got int for the loss"),
        ("mine.py:five", "must return (network, x, y), got tuple of 5"),
        ("mine.py:no_network", "must return (network, x, y), got int for the network"),
        ("mine.py:an_array", "must return (network, x, y), got ndarray for x"),
        ("mine.py:argument", "TypeError: argument() missing 1 required"),
        ("mine.py:nothing", "has no function 'nothing'"),
        ("syntax.py:f", "syntax.py:2: SyntaxError: expected ':'"),
        ("missing.py:f", "missing.py:2: ModuleNotFoundError: No module named 'there_is_no"),
        ("exits.py:f", "exits.py:2: SystemExit: usage: me"),
        ("zero.py:f", "zero.py:1: ZeroDivisionError"),
        ("nul.py:f", "nul.py: SyntaxError"),
    ],
)
def test_failures_are_one_line(
    folder: Path, source: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", f"{folder}/{source}"])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("saltation: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("name", "options", "arguments"),
    [("silent", "", ""), ("silent_with_loss", "--lr 0.004", ", loss=loss, lr=0.004")],
)
def test_a_cure_follows_the_diagnosis(
    folder: Path, name: str, options: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was tried and kept, the losses before and after, and how to have it in Python."""
    main(["diagnose", f"{folder}/mine.py:{name}", "--cure", *options.split()])
    out = capsys.readouterr().out
    diagnosis, _, cured = out.partition("found: silent")
    assert "activity dies at '1'" in diagnosis
    assert "; remedies: homeostasis, " in diagnosis
    (losses,) = (line.split() for line in cured.splitlines() if line.startswith("held-out loss"))
    before, after = map(float, losses[-2:])
    assert after < 0.75 * before
    (kept,) = re.findall("^kept: ([a-z_]+)", cured, re.MULTILINE)
    assert kept in remedies_for("silent")
    assert f"saltation.cure(network, x, y{arguments}).network" in cured


def test_a_learning_rate_is_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["diagnose", f"{folder}/mine.py:healthy", "--lr", "30"])
    assert "a learning rate of 30 is too large" in capsys.readouterr().out


def test_a_network_that_needs_no_cure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said that it learns, and nothing is tried; without the option not even that."""
    main(["diagnose", f"{folder}/mine.py:healthy", "--cure"])
    out = capsys.readouterr().out
    assert "No fault was found." in out
    assert "No cure is needed: in trials of 100 steps of Adam" in out
    assert "(chance: 1.099)" in out
    assert "kept" not in out
    main(["diagnose", f"{folder}/mine.py:silent", "--trial", "0"])
    assert "kept" not in capsys.readouterr().out


def test_a_cure_that_fails_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the diagnosis, which there is."""
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", f"{folder}/mine.py:plain", "--cure", "--trial", "0"])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert "gradients of the weights" in out
    assert err == (
        "saltation: a cure needs at least 16 samples, to learn from some and be judged by others, "
        "got 6\n"
    )
