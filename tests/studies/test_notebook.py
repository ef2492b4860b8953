"""The notebook as a preset: its parts, what they are compared with, and their one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from saltation.cli import main
from saltation.learning import WinnerTakeAllNetwork
from saltation.studies import STUDIES
from saltation.studies.notebook import PAGE, PRESETS, write_notebook
from saltation.studies.notebook.cells import outside, result_of
from saltation.studies.notebook.parts import Printed
from saltation.studies.notebook.verdict import INSIDE, OUTSIDE, interval, verdict
from tests.studies.recorded import recorded
from tests.test_cli import refused

PARTS = {part.name: part for part in PRESETS["notebook"]}


def trials(*beginnings: str) -> list[dict[str, Any]]:
    """Of all parts whose names begin so."""
    found = []
    for part in PARTS.values():
        if part.name.startswith(beginnings):
            study = STUDIES[part.study]
            found += study(study.config_type.build(**part.settings)).trials()
    return found


def test_the_parts_are_the_notebooks_cells() -> None:
    """As counted from its cells; in the sweeps it has the seed 0 alone."""
    sweep = [trial for trial in trials("steps") if trial["seed"] == 0]
    assert len(sweep) == 4 * 6
    assert {(t["steps"], t["epochs"], t["readout"], t["encoder"]) for t in sweep} == {
        (50, 10, "last", "exact")
    }
    timed = trials("time")
    assert len(timed) == 4 * 4
    expected = {(0.5, 10, 20), (1.0, 5, 20), (2.0, 2, 20), (5.0, 1, 20)}
    assert {(t["dt"], t["steps"], t["epochs"]) for t in timed} == expected
    suites = trials("dt5")
    assert len(suites) == 2 * 4 * 5
    assert {(t["dt"], t["steps"], t["limit_test"]) for t in suites} == {(5.0, 50, 6400)}
    for t in (*sweep, *timed, *suites):
        assert t["input"] == "held"
        assert (t["hidden"], t["tau"], t["batch_size"], t["lr"]) == ([256], 2.0, 128, 1e-3)
    rewarded = trials("rstdp")
    assert len({(t["scheme"], t["dt"], t["steps"]) for t in rewarded}) == 2 * (5 + 1)
    names = ("lr", "teach", "teach_decay", "epochs", "train_batches", "batch_size", "decay", "clip")
    assert {tuple(t[name] for name in names) for t in rewarded} == {
        (0.05, 1.0, 0.95, 5, 1000, 64, 0.0, 5.0)
    }


def test_every_printed_number_belongs_to_a_cell() -> None:
    for part in PARTS.values():
        found = {tuple(trial[name] for name in part.cells) for trial in trials(part.name)}
        for metric, *where in part.printed:
            assert metric in part.metrics
            assert tuple(where) in found, part.name


def test_its_exp_without_decay_input_is_ours_at_twice_the_threshold() -> None:
    """Its v = A v + (1 - A) x at threshold 0.3 spikes when 2 v, which is ours, is 0.6."""
    exp = next(trial for trial in trials("rstdp-lottery-exp") if trial["dt"] == 0.5)
    net = WinnerTakeAllNetwork(4, 3, 2, scheme="exponential", dt=0.5, v_threshold=0.6)
    assert exp["v_threshold"] == 2 * 0.3
    kept = net.neurons.neuron.integrate(0.0, net.neurons.neuron.State(1.0), None).v
    gain = net.neurons.neuron.integrate(1.0, net.neurons.neuron.State(0.0), None).v
    assert gain == pytest.approx(2 * (1 - kept), rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "printed", "said"),
    [
        # t(0.975, 2) sqrt(4 / 3) = 4.968 standard deviations, which are 1, around 50.
        ([49.0, 50.0, 51.0], Printed(54.9, 54.9), INSIDE),
        ([49.0, 50.0, 51.0], Printed(55.1, 55.1), OUTSIDE),
        # Five draws of theirs reach further: t(0.995, 2) sqrt(4 / 3) = 11.46.
        ([49.0, 50.0, 51.0], Printed(39.0, 61.0, 5), INSIDE),
        ([49.0, 50.0, 51.0], Printed(38.0, 50.0, 5), OUTSIDE),
        # No noise at all: equal to its digits, or not.
        ([9.8] * 3, Printed(9.80, 9.80, digit=0.01), INSIDE),
        ([9.8] * 3, Printed(9.82, 9.82, digit=0.01), OUTSIDE),
        ([50.0, 51.0], Printed(50.0, 50.0), "fewer than 3 seeds: no verdict"),
        ([50.0, 51.0], None, "not printed"),
    ],
)
def test_verdict(ours: list[float], printed: Printed | None, said: str) -> None:
    assert verdict(ours, printed) == said


def test_interval_is_students() -> None:
    assert interval([49.0, 50.0, 51.0], 1) == pytest.approx((45.0317, 54.9683), abs=1e-4)


def test_a_record_beside_what_was_printed(tmp_path: Path) -> None:
    """Accuracies made up: at dt 0.05 as printed, at 0.5 far from it, at 5 diverged as printed."""
    part = PARTS["steps-izhikevich"]
    ended = {0.05: [52.0, 52.3, 52.9], 0.5: [80.0, 80.2, 80.1], 5.0: [9.8, 9.8, 9.8]}
    outcomes = [
        (
            "diverged" if dt == 5 else "finished",
            "loss is not finite" if dt == 5 else "",
            [10.0] * (0 if dt == 5 else 9) + [ended.get(dt, [70.0, 71.0, 72.0])[seed]],
        )
        for dt in part.settings["dt"]
        for seed in range(3)
    ]
    folder = tmp_path / part.name
    recorded(folder, outcomes, **part.settings)
    result = result_of(part, folder)
    said = {cell.where: cell.verdict for cell in result.cells}
    assert said[("symplectic_v", 0.05)] == said[("symplectic_v", 5.0)] == INSIDE
    assert said[("symplectic_v", 0.5)] == OUTSIDE
    assert said[("symplectic_v", 0.1)] == "not printed"
    assert result.missing == []
    (line,) = (line for line in outside(result) if "dt 0.5" in line)
    assert "printed 89.4, here 80.1 ± 0.1 (3)" in line
    page = write_notebook(tmp_path)
    assert page == tmp_path / PAGE
    text = page.read_text(encoding="utf-8")
    # At dt 2 it printed 91.4, and here are 70 to 72.
    assert "2 of 4 printed numbers are inside seed noise" in text
    assert "9.8 ± 0.0 (3, 3 diverged)" in text


def test_both_commands_end_in_one_report_without_verdicts_on_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saltation.studies.integrators.study.draw_integrators", lambda *a: None)
    monkeypatch.setattr("saltation.studies.rstdp.study.draw_rstdp", lambda *a: None)
    few = [PARTS[name] for name in ("dt5-max-lif", "time-lif", "rstdp-long-exp")]
    monkeypatch.setitem(PRESETS, "notebook", tuple(few))
    flags = "--preset notebook --dataset digits --epochs 1 --limit-train 128 --limit-test 64 "
    flags += f"--seeds 0 1 2 --hidden 8 --no-progress --out-dir {tmp_path}"
    main(["study", "integrators", *flags.split(), "--dt", "5"])
    out = capsys.readouterr().out
    assert "part 2 of 2: LIF, biological time 5 (time-lif)" in out
    assert "OUTSIDE" not in out
    main(["study", "rstdp", *flags.split(), "--dt", "0.5", "--steps", "3"])
    assert "part 1 of 1: R-STDP, its exp, T = 2000 (rstdp-long-exp)" in capsys.readouterr().out
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    for part in few:
        assert f'href="{part.name}/report.html"' in page
    assert "Settings that are not the notebook" in page
    assert "0 of 0 printed numbers" in page
    assert "outputs never answering" in page


def test_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    def said(words: str) -> str:
        return refused(capsys, *words.split())

    assert "did you mean 'notebook'" in said("study rstdp --preset notebok")
    assert "no part of the depth study (has: integrators, rstdp)" in said(
        "study depth --preset notebook"
    )
    assert "--preset takes a name, got none" in said("study rstdp --preset --dt 0.5")
    assert "either --config or --preset" in said("study rstdp --preset notebook --config a.yaml")
    assert "either steps or bio_time" in said("study integrators --preset notebook --bio-time 5")
