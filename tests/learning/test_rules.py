"""Rules of spike counts: their equations in numbers, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import saltation as st
from saltation.learning import REWARDS, RSTDP

HIDDEN = torch.tensor([[4.0, 0.0], [2.0, 2.0], [0.0, 4.0]])
OUTPUTS = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 1, 2])


def test_pm1_by_hand() -> None:
    """Output 0 wins all three samples, the silent one too, and is right about the first."""
    change = RSTDP(lr=0.5).change(HIDDEN, OUTPUTS, LABELS, steps=4)
    # mean of (1, 0), -(1/2, 1/2) and -(0, 1), times 1/2
    expected = torch.tensor([[0.5 / 6, -1.5 / 6], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(change, expected)


def test_onehot_by_hand() -> None:
    change = RSTDP(lr=1.0, reward="onehot").change(
        HIDDEN[2:], torch.zeros(1, 3), LABELS[2:], steps=4
    )
    expected = torch.tensor([[0.0, -1 / 3], [0.0, -1 / 3], [0.0, 2 / 3]])
    torch.testing.assert_close(change, expected)


@given(
    batch=some.integers(1, 8),
    reward=some.sampled_from(sorted(REWARDS)),
    seed=some.integers(0, 100),
)
def test_the_order_of_samples_does_not_matter_and_reward_has_its_sign(
    batch: int, reward: str, seed: int
) -> None:
    noise = torch.Generator().manual_seed(seed)
    hidden = torch.randint(0, 5, (batch, 4), generator=noise).double()
    outputs = torch.randint(0, 5, (batch, 3), generator=noise).double()
    labels = torch.randint(0, 3, (batch,), generator=noise)
    rule = RSTDP(lr=0.1, reward=reward)
    change = rule.change(hidden, outputs, labels, 5)
    order = torch.randperm(batch, generator=noise)
    torch.testing.assert_close(rule.change(hidden[order], outputs[order], labels[order], 5), change)
    # Where every winner is the label nothing of the winner's row is taken away, and else nothing
    # is given to it.
    right, wrong = outputs.argmax(1), (outputs.argmax(1) + 1) % 3
    assert (rule.change(hidden[:1], outputs[:1], right[:1], 5)[right[0]] >= 0).all()
    assert (rule.change(hidden[:1], outputs[:1], wrong[:1], 5)[right[0]] <= 0).all()


def test_decay_comes_after_the_change_and_limits_last() -> None:
    weight = torch.tensor([[1.0, -1.0, 0.5]])
    RSTDP(lr=1.0, clip=0.9, decay=0.25).apply(weight, torch.tensor([[1.0, -0.6, 0.1]]))
    torch.testing.assert_close(weight, torch.tensor([[0.9, -0.9, 0.45]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0.0"),
        ({"lr": -0.1}, "lr must be a finite number above 0, got -0.1"),
        ({"lr": 0.1, "reward": "pm2"}, "unknown reward 'pm2'; did you mean 'pm1'"),
        ({"lr": 0.1, "clip": 0.0}, "clip must be"),
        ({"lr": 0.1, "decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_rules_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        RSTDP(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1, 3])}, "labels must be in 0..2, got 0 to 3"),
        ({"labels": torch.tensor([0, 1])}, r"shape \[3\]"),
        ({"hidden_counts": HIDDEN[0]}, r"hidden counts must be floating point \[B, N\]"),
        ({"output_counts": OUTPUTS.long()}, "output counts must be floating point"),
        ({"output_counts": OUTPUTS[:2]}, r"of the same samples, got \[3, 2\] and \[2, 3\]"),
        ({"steps": 0}, "steps must be a positive integer, got 0"),
    ],
)
def test_counts_and_labels_that_do_not_fit_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    given = {"hidden_counts": HIDDEN, "output_counts": OUTPUTS, "labels": LABELS, "steps": 4}
    with pytest.raises(st.SaltationError, match=message):
        RSTDP(lr=0.1).change(**given | changes)
