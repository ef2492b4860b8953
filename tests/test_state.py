"""States are plain named tuples of tensors."""

from __future__ import annotations

import pytest
import torch

from saltation.neurons import IzhikevichState
from saltation.state import map_state, stack_states


def test_map_state_pairs_fields_and_keeps_the_type() -> None:
    """v meets v and w meets w; the result is a state again."""
    one = IzhikevichState(torch.tensor([1.0]), torch.tensor([2.0]))
    two = IzhikevichState(torch.tensor([10.0]), torch.tensor([20.0]))
    difference = map_state(torch.sub, two, one)
    assert isinstance(difference, IzhikevichState)
    assert (difference.v.item(), difference.w.item()) == (9.0, 18.0)


def test_map_state_refuses_states_of_different_length() -> None:
    """A field without a partner is an error, not dropped."""
    one = IzhikevichState(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match="zip"):
        map_state(torch.sub, one, (torch.zeros(1),))


def test_stack_states_puts_time_first() -> None:
    """T states of [B] become one state of [T, B]."""
    states = [IzhikevichState(torch.full((2,), t), torch.full((2,), -t)) for t in (1.0, 2.0, 3.0)]
    stacked = stack_states(states)
    assert stacked.v.tolist() == [[1, 1], [2, 2], [3, 3]]
    assert stacked.w.tolist() == [[-1, -1], [-2, -2], [-3, -3]]
