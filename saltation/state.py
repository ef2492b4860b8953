"""States of neurons: plain named tuples of tensors, and what is done with any of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

S = TypeVar("S", bound=tuple[Any, ...])


def map_state(function: Callable[..., Tensor], state: S, *others: S) -> S:
    """Apply ``function`` to corresponding tensors of states of one type."""
    return type(state)(*(function(*parts) for parts in zip(state, *others, strict=True)))


def stack_states(states: list[S]) -> S:
    """States of T steps as one state of ``[T, ...]`` tensors."""
    return map_state(lambda *parts: torch.stack(parts), *states)
