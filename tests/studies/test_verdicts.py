"""Verdicts follow from the numbers, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from saltation.studies import STUDIES
from saltation.studies.flossing.report import flossing_verdict
from saltation.studies.integrators.verdict import ONE_SEED, verdict
from saltation.studies.report import write_report
from saltation.studies.rstdp.report import rstdp_verdict
from saltation.studies.transfer.report import transfer_verdict
from tests.studies.recorded import recorded
from tests.studies.test_report import Page


def rows(*cells: tuple[Any, ...], **same: Any) -> pd.DataFrame:
    names = ("scheme", "dt", "seed", "test_accuracy", "status")
    return pd.DataFrame([{**dict(zip(names, cell, strict=True)), **same} for cell in cells])


def test_schemes_and_steps() -> None:
    done = "finished"
    results = rows(
        *(("euler", 0.5, 0, 90.0, done), ("euler", 0.5, 1, 92.0, done)),
        *(("euler", 5.0, 0, 60.0, done), ("euler", 5.0, 1, 9.8, "diverged")),
        *(("exponential", 0.5, 0, 90.0, done), ("exponential", 5.0, 0, 95.0, done)),
        neuron="lif",
        tau=2.0,
        dataset="digits",
    )
    assert verdict(results) == [
        "LIF: best is exponential at dt 5 with 95.0 %; the scheme matters most at dt 5, where "
        "accuracies go from 60.0 to 95.0 %.",
        "LIF, dt 5: outside their limit of stability euler 60.0 %; the best within its limit is "
        "exponential with 95.0 %.",
        "LIF: 1 of 6 trials diverged (euler at dt 5).",
    ]
    assert verdict(results[results["seed"] == 0])[-1] == ONE_SEED


def test_what_has_not_learned_says_nothing_of_schemes() -> None:
    """One of ten classes is guessed right in 10 %; the training set has 1,442 samples."""
    results = rows(
        *(("euler", 0.5, 0, 90.0, "finished"), ("euler", 5.0, 0, 9.9, "finished")),
        *(("exponential", 0.5, 0, 11.6, "finished"), ("exponential", 5.0, 0, 14.9, "finished")),
        neuron="lif",
        tau=2.0,
        dataset="digits",
        epochs=5,
        batch_size=128,
        limit_train=None,
    ).assign(mean_spike_rate=[0.2, 0.001, 0.002, 0.003])
    (told,) = [line for line in verdict(results) if "guessing" in line]
    assert told.startswith(
        "LIF: after 55 training steps still near guessing (10 %): euler at dt 5; exponential at dt "
        "0.5, 5, with at most 0.003 spikes per neuron and step. Before that is read as"
    )


def test_rewards() -> None:
    results = rows(
        *(("euler", 0.1, 0, 60.0, "finished"), ("euler", 0.1, 1, 80.0, "finished")),
        *(("euler", 0.5, 0, 30.0, "finished"), ("euler", 0.5, 1, 20.0, "failed")),
        reward="pm1",
        steps=200,
    ).assign(silent_outputs=[2, 0, 5, 7])
    assert rstdp_verdict(results) == [
        "Best on average: reward pm1, euler, T = 200, dt 0.1 (70.0 %).",
        "Worst: reward pm1, euler, T = 200, dt 0.5 (30.0 %).",
        "In 2 of 3 trials outputs never answer; each costs its class, and which ones they are "
        "depends on the draw.",
        "Seeds of one setting differ by up to 20.0 points.",
    ]


def test_other_steps() -> None:
    results = rows(
        ("exponential", 1.0, 0, 88.0, "finished"),
        ("exponential", 0.5, 0, 90.0, "finished"),
        neuron="lif",
        input="held",
        dataset="digits",
    )
    results["naive at 1"], results["naive at 0.5"] = [88.0, 70.0], [80.0, 90.0]
    assert transfer_verdict(results) == [
        "LIF exponential, input held, accuracy lost at other dt than that of the training: "
        "only dt changed: 14.0 points on average, at most 20.0."
    ]


def test_delays() -> None:
    results = pd.DataFrame(
        [
            {"task": "copy", "mode": mode, "delay": delay, "success": solved}
            for mode, delay, solved in [("none", 5, 1.0), ("none", 10, 0.0), ("both", 10, 1.0)]
        ]
    )
    assert flossing_verdict(results) == [
        "Task copy, solved trials with flossing none 1 of 2, up to a delay of 5; before and during "
        "training 1 of 1, up to a delay of 10."
    ]


def test_every_study_asks_something_and_the_page_begins_with_it(tmp_path: Path) -> None:
    assert all(study.question.endswith("?") for study in STUDIES.values())
    page = Page(write_report(recorded(tmp_path / "a", [("finished", "", [80.0, 90.0])])))
    text = page.text()
    question = STUDIES["integrators"].question
    places = [text.index(part) for part in (question, "Verdict", "All trials", "What was asked")]
    assert places == sorted(places)
    assert "Only 1 of 4 trials finished" in text
    none = Page(write_report(recorded(tmp_path / "b", [("failed", "no", [])])))
    assert "None of 4 trials finished, so there is no verdict." in none.text()
