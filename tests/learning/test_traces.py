"""Rules of spike pairs on trains short enough to be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.learning import Activity, PairSTDP, TraceRSTDP

DT, TAU_PLUS, TAU_MINUS, TAU_E = 0.5, 2.0, 3.0, 5.0
PLUS, MINUS, KEPT = (math.exp(-DT / tau) for tau in (TAU_PLUS, TAU_MINUS, TAU_E))
TIMES: dict[str, Any] = {"dt": DT, "tau_plus": TAU_PLUS, "tau_minus": TAU_MINUS}


def activity(pre: list[str], post: list[str]) -> Activity:
    """One sample; a text per neuron, a character per step."""

    def train(texts: list[str]) -> Tensor:
        return torch.tensor([[c == "|" for c in text] for text in texts]).T[:, None].float()

    hidden, outputs = train(pre), train(post)
    return Activity(hidden, hidden.sum(0), outputs, outputs.sum(0))


def test_a_pair_by_hand() -> None:
    """Before by two steps, at the same time, and after by three."""
    found = activity(["|....", "..|..", "....."], ["..|..", "....."])
    late = activity([".....|"], ["..|..."])
    rule = PairSTDP(lr=5.0, a_minus=0.5, **TIMES)
    change = rule.change_of(found, torch.tensor([0]))
    assert change[0].tolist() == pytest.approx([PLUS**2, 1.0, 0.0])
    assert change[1].tolist() == [0.0, 0.0, 0.0]
    after = PairSTDP(lr=6.0, a_minus=0.5, **TIMES).change_of(late, torch.tensor([0]))
    assert after.item() == pytest.approx(-0.5 * MINUS**3)


def test_all_pairs_count() -> None:
    """Two spikes before and one after two of the output's."""
    found = activity(["|.|..|"], [".|.|.."])
    rule = PairSTDP(lr=6.0, a_minus=0.25, **TIMES)
    before = PLUS + (PLUS + PLUS**3)
    after = MINUS + (MINUS**2 + MINUS**4)
    change = rule.change_of(found, torch.tensor([0])).item()
    assert change == pytest.approx(before - 0.25 * after, rel=1e-6)


@pytest.mark.parametrize(("label", "sign"), [(0, 1), (1, -1)])
def test_reward_at_the_end_takes_what_is_left_of_the_eligibility(label: int, sign: int) -> None:
    found = activity(["|...."], ["..|..", "....."])
    rule = TraceRSTDP(lr=5.0, a_minus=0.0, tau_eligibility=TAU_E, **TIMES)
    change = rule.change_of(found, torch.tensor([label]))
    # The pair is made in the third step of five; two steps of decay are left.
    assert change[0].item() == pytest.approx(sign * PLUS**2 * KEPT**2)
    assert change[1].item() == 0


def test_reward_along_the_way_reaches_all_that_is_eligible() -> None:
    """Output 0 spikes in step 2 and is wrong; output 1 in step 4 and is right: its reward also
    reaches what is left of the other's pair."""
    found = activity(["|...."], [".|...", "...|."])
    rule = TraceRSTDP(lr=5.0, reward="online", a_minus=0.0, tau_eligibility=TAU_E, **TIMES)
    change = rule.change_of(found, torch.tensor([1]))
    assert change[0].item() == pytest.approx(-PLUS + PLUS * KEPT**2)
    assert change[1].item() == pytest.approx(PLUS**3)


def test_the_change_is_the_mean_over_samples() -> None:
    one, other = activity(["|..|."], ["..|.."]), activity([".|.||"], ["|...|"])
    both = Activity(
        *(
            torch.cat(parts, 0 if parts[0].ndim == 2 else 1)
            for parts in zip(one, other, strict=True)
        )
    )
    for rule in (
        PairSTDP(lr=0.1, **TIMES),
        TraceRSTDP(lr=0.1, **TIMES),
        TraceRSTDP(lr=0.1, reward="online", **TIMES),
    ):
        alone = [rule.change_of(a, torch.tensor([0])) for a in (one, other)]
        together = rule.change_of(both, torch.tensor([0, 0]))
        assert alone[0].abs().sum() > 0
        torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


def test_a_finer_step_means_the_same_pair() -> None:
    """The same times at half the step: the same sum of pairs."""
    coarse = PairSTDP(lr=4.0, dt=1.0).change_of(activity(["|..."], ["..|."]), torch.tensor([0]))
    fine = PairSTDP(lr=8.0, dt=0.5).change_of(
        activity(["|......."], ["....|..."]), torch.tensor([0])
    )
    torch.testing.assert_close(coarse, fine)


def test_normalised_weights_have_the_same_sum_and_no_sign() -> None:
    weight = torch.tensor([[1.0, 3.0, -2.0], [0.5, 0.0, 0.0], [-1.0, -1.0, -1.0]])
    free = weight.clone()
    for rule in (PairSTDP(lr=0.1, total=4.0), TraceRSTDP(lr=0.1, total=4.0)):
        rule.apply(weight, torch.zeros(3, 3))
        assert weight.tolist() == [[1.0, 3.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    TraceRSTDP(lr=0.1, clip=1.5, total=None).apply(free, torch.zeros(3, 3))
    assert free.tolist() == [[1.0, 1.5, -1.5], [0.5, 0.0, 0.0], [-1.0, -1.0, -1.0]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TraceRSTDP(lr=0.1, reward="ends"), "unknown reward 'ends'; did you mean 'end'"),
        (lambda: TraceRSTDP(lr=0.0), "lr must be"),
        (lambda: TraceRSTDP(lr=0.1, tau_eligibility=0.0), "tau_eligibility must be"),
        (lambda: PairSTDP(lr=0.1, tau_plus=-1.0), "tau_plus must be"),
        (lambda: PairSTDP(lr=0.1, a_minus=-1.0), "a_minus must be a finite number of at least 0"),
        (lambda: PairSTDP(lr=0.1, total=0.0), "total must be"),
    ],
)
def test_rules_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        make()


@pytest.mark.parametrize("rule", [TraceRSTDP(lr=0.1), PairSTDP(lr=0.1)])
def test_labels_out_of_range_are_refused(rule: Any) -> None:
    with pytest.raises(st.SaltationError, match=r"labels must be in 0..0, got 1 to 1"):
        rule.change_of(activity(["|."], [".|"]), torch.tensor([1]))
