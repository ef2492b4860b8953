"""The tasks over a delay: right answers, balanced, and a function of their numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import saltation as st
from saltation.random import TEST, TRAIN
from saltation.studies.flossing.delayed import TASKS, Delayed

CLEAN: dict[str, Any] = {"rate": 1.0, "noise": 0.0}


def draw(task: Delayed, n: int = 64, **place: Any) -> Any:
    return task.draw(torch.arange(n), **{"seed": 0, "epoch": 1, "stream": TRAIN} | place)


def shown(spikes: torch.Tensor, start: int, task: Delayed) -> torch.Tensor:
    """The symbol that the channels show at ``start``, ``[B]``."""
    groups = spikes[start].view(spikes.shape[1], 3, task.group)[:, :2].all(2)
    assert (groups.sum(1) == 1).all()
    return groups[:, 1].long()


def test_xor_is_whether_two_cues_differ() -> None:
    task = Delayed("xor", delay=5, cue_steps=3, answer_steps=2, **CLEAN)
    spikes, labels = draw(task)
    assert spikes.shape == (3 + 5 + 3 + 2, 64, 12)
    first, second = shown(spikes, 0, task), shown(spikes, 8, task)
    assert torch.equal(labels, first ^ second)
    # One cue alone says nothing: each answer is as frequent for either symbol.
    for symbol in (0, 1):
        assert labels[first == symbol].float().mean() == 0.5
        assert labels[second == symbol].float().mean() == 0.5


def test_copy_is_the_cue() -> None:
    task = Delayed("copy", delay=5, cue_steps=3, answer_steps=2, **CLEAN)
    spikes, labels = draw(task)
    assert spikes.shape == (3 + 5 + 2, 64, 12)
    assert torch.equal(labels, shown(spikes, 0, task))


@pytest.mark.parametrize("name", TASKS)
def test_the_delay_is_empty_and_the_go_cue_comes_last(name: str) -> None:
    task = Delayed(name, delay=5, cue_steps=3, answer_steps=2, **CLEAN)
    spikes, _ = draw(task)
    assert not spikes[3:8].any()
    assert spikes[-2:, :, 8:].all()
    assert not spikes[:-2, :, 8:].any()
    assert not spikes[-2:, :, :8].any()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("n", [4, 64, 500])
def test_answers_are_balanced(name: str, n: int) -> None:
    assert draw(Delayed(name, delay=1), n).labels.float().mean() == 0.5


def test_spikes_are_a_function_of_seed_epoch_stream_and_number() -> None:
    task = Delayed("xor", delay=10)
    whole, labels = draw(task)
    parts = list(task.batches(64, 20, seed=0, epoch=1, stream=TRAIN))
    assert [len(part.labels) for part in parts] == [20, 20, 20, 4]
    assert torch.equal(torch.cat([part.spikes for part in parts], 1), whole)
    assert torch.equal(torch.cat([part.labels for part in parts]), labels)
    for other in ({"seed": 1}, {"epoch": 2}, {"stream": TEST}):
        assert not torch.equal(draw(task, **other).spikes, whole)


def test_rates_are_those_asked_for() -> None:
    task = Delayed("copy", delay=20, rate=0.6, noise=0.05)
    spikes, labels = draw(task, 2000)
    groups = spikes.view(task.steps, 2000, 3, 4)
    cue = groups[:4, torch.arange(2000), labels]
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert cue.mean() == pytest.approx(0.6, abs=0.01)
    assert groups[-4:, :, 2].mean() == pytest.approx(0.6, abs=0.01)
    assert groups[4:-4].mean() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "xnor"}, "did you mean 'xor'"),
        ({"delay": -1}, "delay must be at least 0, got -1"),
        ({"cue_steps": 0}, "cue_steps must be at least 1, got 0"),
        ({"answer_steps": 0}, "answer_steps"),
        ({"group": 0}, "group"),
        ({"rate": 1.5}, "rate must be from 0 to 1, got 1.5"),
        ({"noise": -0.1}, "noise"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        Delayed(**{"task": "xor", "delay": 1} | changes)
