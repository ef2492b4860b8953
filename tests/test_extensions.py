"""What others add: a neuron, a scheme, a surrogate and a study, in one file each of a package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "neuron": """
import torch
import saltation as st


class AdEx(st.Neuron):
    \"\"\"Adaptive exponential integrate-and-fire (Brette & Gerstner, 2005).\"\"\"

    name = "their_adex"
    tau: float = 2.0
    tau_w: float = 20.0
    delta: float = 0.2
    v_rheo: float = 0.8
    a: float = 0.1
    b: float = 0.2

    def velocity(self, x, v, w):
        upstroke = self.delta * torch.exp((v - self.v_rheo) / self.delta)
        return (upstroke - v - w + x) / self.tau, (self.a * v - w) / self.tau_w

    def jump(self, v, w):
        return self.v_reset, w + self.b
""",
    "scheme": """
from saltation.schemes import Tableau, add_scheme

add_scheme(Tableau("ralston", "Ralston", a=((2 / 3,),), b=(1 / 4, 3 / 4)))
""",
    "surrogate": """
from saltation.surrogate import Surrogate


class Cauchy(Surrogate):
    name = "cauchy"
    gamma: float = 0.5

    def primitive(self, u):
        return u / (self.gamma + u.abs())
""",
    "study": """
from saltation.studies import IntegratorsConfig, IntegratorsStudy


class TheirConfig(IntegratorsConfig):
    \"\"\"What they ask.\"\"\"

    kind: str = "theirs"


class TheirStudy(IntegratorsStudy):
    name = "theirs"
    config_type = TheirConfig
""",
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of a file each, installed as pip would leave it."""
    place = tmp_path_factory.mktemp("site")
    package = place / "their_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, text in FILES.items():
        (package / f"{name}.py").write_text(text)
    about = place / "their_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    points = "\n".join(f"{name} = their_package.{name}" for name in FILES)
    (about / "entry_points.txt").write_text(f"[saltation]\n{points}\n")
    return place


def run(place: Path, *words: str) -> str:
    """What a process says in which that package is installed."""
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "300", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_they_are_there_by_name(theirs: Path) -> None:
    """In the command line, on compiled loops, without a line of saltation's touched."""
    code = """
import contextlib
import torch, saltation as st
from saltation.cli import main
main(["info"])
with contextlib.suppress(SystemExit):
    main(["study", "theirs", "--help"])
print("---")
for neuron in ("their_adex", "lif", "izhikevich"):
    net = st.spiking_mlp((20, 8, 3), neuron=neuron, scheme="ralston", surrogate="cauchy", dt=0.5)
    layer = net[1]
    layer.backend = "cpu"
    x = torch.rand(12, 4, 8).requires_grad_()
    layer(4 * x).sum().backward()
    assert x.grad.abs().sum() > 0
    print(neuron, layer.neuron.stability_scheme.order)
"""
    shown, ran = run(theirs, "-c", code).split("\n---\n")
    for name in ("their_adex", "ralston", "cauchy", "theirs", "--tau"):
        assert name in shown
    assert ran.splitlines() == ["their_adex 2", "lif 2", "izhikevich 2"]


def test_a_study_of_theirs_runs(theirs: Path) -> None:
    words = "--neurons their_adex --schemes ralston --dt 0.5 --steps 6 --epochs 1 --hidden 8"
    more = "--limit-train 64 --limit-test 64 --out-dir here"
    told = run(theirs, "-m", "saltation", "study", "theirs", *words.split(), *more.split())
    assert "1 of 1" in told or "AdEx" in told
    assert (theirs / "here" / "results.csv").exists()


def test_a_plugin_that_fails_is_left_out(theirs: Path) -> None:
    (theirs / "their_package" / "surrogate.py").write_text("raise RuntimeError('no')\n")
    code = "import saltation.studies, saltation as st; print('cauchy' in st.SURROGATES)"
    assert run(theirs, "-W", "ignore", "-c", code).strip() == "False"


def test_a_script_of_theirs_trains_everywhere(tmp_path: Path) -> None:
    """A model pasted into a script: in every container and in a study, on the compiled loop."""
    model = FILES["neuron"].replace('    name = "their_adex"\n', "")
    script = f"""{model}

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.neurons = torch.nn.Linear(784, 32), AdEx.layer(dt=0.5)
        self.last = torch.nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.neurons(self.first(x))).mean(0)


if __name__ == "__main__":
    torch.manual_seed(0)
    chain = st.Sequential(
        st.SpikeLinear(784, 32), AdEx.layer(dt=0.5), st.SpikeLinear(32, 10), st.Readout("mean")
    )
    vgg = st.spiking_vgg(1, 10, 16, blocks_per_stage=1, base_channels=8, dropout=0, neuron=AdEx)
    flat = st.poisson(torch.rand(8, 784), steps=10, dt=0.5)
    for net, x in ((chain, flat), (Net(), flat), (vgg, torch.rand(4, 8, 1, 16, 16))):
        for layer in net.modules():
            if hasattr(layer, "backend"):
                layer.backend = "cpu"
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        losses = []
        for _ in range(12):
            loss = torch.nn.functional.cross_entropy(net(x), torch.arange(x.shape[1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(losses[-1] < 0.9 * losses[0])
"""
    (tmp_path / "script.py").write_text(script)
    assert run(tmp_path, "-W", "ignore", "script.py").split() == ["True"] * 3
    words = "--neurons script.py:AdEx --schemes rk4 --dt 0.5 --steps 6 --epochs 1 --hidden 8"
    more = "--limit-train 64 --limit-test 64 --out-dir here"
    run(tmp_path, "-m", "saltation", "study", "integrators", *words.split(), *more.split())
    (trial,) = json.loads((tmp_path / "here" / "results.json").read_text())
    assert trial["environment"]["kernel"].startswith("cpu")
