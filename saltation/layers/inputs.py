"""What neuron layers refuse: sequences they would misread, and currents that are not finite.

NaN and infinity in a current stay in the neuron's state to the end: NaN never reaches threshold, so
that the neuron is silent, and infinity is never decayed. So the last state says whether currents
have to be looked at, at a cost that does not grow with the steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from saltation.errors import NotFiniteError, SaltationError, tensor
from saltation.kernels.events import SpikeTensor

_NOTED: ContextVar[list[str] | None] = ContextVar("noted", default=None)


def check_currents(x: Tensor, form: str, dimensions: int) -> None:
    """Refuse what is no floating-point tensor of so many dimensions or more, or has no step."""
    if not tensor("input currents", x).is_floating_point():
        raise SaltationError(f"input currents must be floating point, got {x.dtype}")
    if x.ndim < dimensions or (x.shape[0] == 0 and dimensions > 1):
        raise SaltationError(f"input currents must be {form}, got {list(x.shape)}")


def widened(x: Tensor) -> Tensor:
    """The currents, in float32 where autocast has them in half precision: a neuron adds up small
    parts of its state over many steps, of which half precision would lose some."""
    half = x.dtype in (torch.float16, torch.bfloat16)
    return x.float() if half and torch.is_autocast_enabled(x.device.type) else x


def check_finite(x: Tensor, state: Iterable[Tensor]) -> None:
    """Refuse currents ``x`` with NaN or infinity, which a neuron that ended in ``state`` was given.

    They are looked at on a CPU alone, where no copy has to be waited for, and not within transforms
    of torch, which have no values to look at. A state that overflowed under finite currents is the
    business of the scheme's stability.

    Raises
    ------
    NotFiniteError
        With how many they are; within `noted`, nothing is raised.
    """
    if torch.compiler.is_compiling() or not _readable(x):
        return
    if all(math.isfinite(float(part.detach().sum())) for part in state):
        return
    bad = int((~torch.isfinite(x.detach())).sum())
    if not bad:
        return
    message = (
        f"input currents must be finite, got NaN or infinity in {bad} of {x.numel()} values "
        f"{list(x.shape)}: look at the network's input and at the weights"
    )
    found = _NOTED.get()
    if found is None:
        raise NotFiniteError(message)
    found.append(message)


@contextmanager
def noted() -> Iterator[list[str]]:
    """Within the block, currents that are not finite are not refused but noted in the list.

    For those who run networks that have diverged, and say so themselves.
    """
    found: list[str] = []
    token = _NOTED.set(found)
    try:
        yield found
    finally:
        _NOTED.reset(token)


def _readable(x: Tensor) -> bool:
    """Whether ``x`` is an ordinary tensor whose values are at hand."""
    plain = type(x) in (Tensor, torch.nn.Parameter, SpikeTensor) and x.device.type == "cpu"
    return plain and not torch._C._are_functorch_transforms_active()
