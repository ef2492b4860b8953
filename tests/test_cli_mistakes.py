"""Typical mistakes of somebody who is new to the commands, and the one line that each gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from saltation.cli import main

MISTAKES = [
    # Flags, commands and names with a slip in them.
    (
        "study integrators --epoch 3",
        "Unrecognized options: --epoch, 3; did you mean --epochs? "
        "(see saltation study integrators --help)",
    ),
    (
        "studies integrators",
        "unknown command 'studies'; did you mean 'study'? (allowed: study, stability, "
        "recommend, resume, runs, report, compare, lyapunov, diagnose, data, info, selftest, "
        "completion)",
    ),
    (
        "study intergrators",
        "unknown study 'intergrators'; did you mean 'integrators'? (allowed: convergence, depth, "
        "flossing, integrators, remedies, rstdp, transfer)",
    ),
    (
        "study",
        "give one of convergence, depth, flossing, integrators, remedies, rstdp, transfer "
        "(see saltation study --help)",
    ),
    (
        "study integrators --dataset mnits",
        "unknown data set 'mnits'; did you mean 'mnist'? (allowed: bsd, cifar10, cifar100, "
        "digits, mnist, fashion_mnist, mackey_glass, spring_mass, tiny_imagenet)",
    ),
    (
        "data fetch cifar",
        "unknown data set 'cifar'; did you mean 'cifar10'? (allowed: bsd, cifar10, cifar100, "
        "digits, mnist, fashion_mnist, mackey_glass, spring_mass, tiny_imagenet)",
    ),
    ("data fetch digits", "digits comes with saltation's dependencies: nothing to fetch"),
    # Values that are none, or of another kind.
    (
        "study integrators --epochs ten",
        "--epochs takes INT, got 'ten' (see saltation study integrators --help)",
    ),
    (
        "study integrators --epochs",
        "--epochs takes a value, got none (see saltation study integrators --help)",
    ),
    (
        "study integrators --lr 0,01",
        "--lr takes FLOAT, got '0,01' (see saltation study integrators --help)",
    ),
    (
        "study integrators --hidden 256,128",
        "--hidden takes [INT [INT ...]], got '256,128' (see saltation study integrators --help)",
    ),
    ("study integrators --dt 0", "dt: input should be greater than 0, got 0.0"),
    (
        "study depth --epochs 1e9",
        "--epochs takes INT, got '1e9' (see saltation study depth --help)",
    ),
    (
        "study depth --depths 4 5000",
        "depths: input should be less than or equal to 1000, got 5000",
    ),
    (
        "study integrators --progress no",
        "Unrecognized options: no (see saltation study integrators --help)",
    ),
    # Settings that do not go together, or with the neuron.
    (
        "study integrators --neurons izhikevich --schemes trapezoid",
        "schemes: Izhikevich has none of trapezoid (allowed: euler, exponential, symplectic, "
        "symplectic_v, rk2, rk3, ssprk3, heun, rk4, exponential_split, exponential_symplectic)",
    ),
    (
        "study rstdp --schemes symplectic",
        "LIF has no scheme 'symplectic': it updates two variables in turn, and the potential is "
        "the only one (allowed: euler, exponential, rk2, rk3, ssprk3, heun, rk4, implicit_euler, "
        "trapezoid)",
    ),
    (
        "study integrators --steps 50 --bio-time 5",
        "give either steps or bio_time, got steps=50 and bio_time=5",
    ),
    (
        "study integrators --workers 2 --ray local",
        "give either workers or ray, got workers=2 and ray='local'",
    ),
    (
        "study depth --depths 5",
        "depth 5 does not fit images of 32 x 32 pixels (nearest that fit: 4 and 8)",
    ),
    ("study integrators --seeds 1 1", "seeds: values must differ, got [1, 1]"),
    # Places where there is nothing, or something else.
    (
        "resume pictures",
        "there is no study in pictures: it has no config.json",
    ),
    (
        "resume",
        "saltation resume takes PATH: Folder of a study; got none (see saltation resume --help)",
    ),
    ("report study.yaml", "there is no study in study.yaml: it has no config.json"),
    ("runs results", "there is no folder results"),
    ("compare pictures", "compare takes the folders of two studies or more, got 1"),
    (
        "study integrators --config study.yml",
        "'study.yml' cannot be read: No such file or directory",
    ),
    (
        "study integrators --config study.yaml",
        "study.yaml: unknown setting 'epoch'; did you mean 'epochs'? (allowed: …",
    ),
    ("lyapunov pictures --samples 0", "samples must be from 1 to 1000000, got 0"),
    ("lyapunov pictures --k 100000000000", "k must be from 1 to 1000, got 100000000000"),
    ("lyapunov pictures --seed -1", "seed must be from 0 to 9223372036854775807, got -1"),
    ("diagnose network.py:build", "there is no file network.py"),
    ("diagnose mine.py", "a network is given as FILE.py:FUNCTION, got 'mine.py'"),
    ("diagnose mine.py:bild", "mine.py has no function 'bild'"),
    (
        "study integrators --out-dir study.yaml",
        "out_dir 'study.yaml' cannot be written: '{here}/study.yaml' is no folder",
    ),
    (
        "stability --out-dir study.yaml/figures",
        "out_dir 'study.yaml/figures' cannot be written: '{here}/study.yaml' is no folder",
    ),
    (
        "study integrators --device gpu",
        "device 'gpu' cannot be used (allowed: auto, cpu…",
    ),
    ("stability --neuron LIF", "unknown neuron 'LIF'; did you mean 'lif'? (allowed: …"),
    (
        "stability --dt 0.5 --set beta=0.9",
        "LIF beta is a decay per step, in place of the tau, dt and scheme that are compared: give "
        "tau = -dt / ln(beta), which is 4.74561 at dt=0.5",
    ),
    ("stability --set tau_w=3", "unknown number of LIF 'tau_w'; did you mean 'tau'? (allowed: …"),
    ("stability --set v_threshold", "--set takes NAME=VALUE with a number, got 'v_threshold'"),
    ("stability --dt 1e9", "dt must be from -1e+06 to 1e+06, got 1e+09"),
]


@pytest.mark.parametrize(("words", "line"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_the_line_of_a_mistake(
    words: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    Path("mine.py").write_text("def build():\n    return 3\n")
    Path("study.yaml").write_text("epoch: 3\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    expected = f"saltation: {line.replace('{here}', str(tmp_path))}"
    # Where the end depends on the machine, or is a long list, the beginning is given.
    if line.endswith("…"):
        assert err.startswith(expected[:-1])
    else:
        assert err == f"{expected}\n"
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "__pycache__"] == before
