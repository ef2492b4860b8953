"""What a check of the self-test compares and finds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

TOLERANCE = 1e-5


@dataclass
class Row:
    """What a check found.

    Attributes
    ----------
    name
        What was checked.
    ran, reason
        The kernels that ran, and why the first choice did not, where it did not.
    cases
        Number of comparisons.
    differ
        Number of spikes, states and outputs that should be equal to the bit and are not.
    error
        Largest error of a gradient relative to its norm.
    seconds
        How long it took, compilation included.
    problem
        Why the check could not be carried out; empty if it was.
    """

    name: str
    ran: str = ""
    reason: str = ""
    cases: int = 0
    differ: int = 0
    error: float = 0.0
    seconds: float = 0.0
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was compared and nothing differs."""
        agrees = self.cases > 0 and not self.differ and self.error <= TOLERANCE
        return agrees and not self.problem

    def same(self, ours: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """A case: count the numbers that differ."""
        self.cases += 1
        self.differ += sum(int((a != b).sum()) for a, b in zip(ours, expected, strict=True))

    def near(self, ours: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
        """Note the largest relative error in norm."""
        for one, two in zip(ours, exact, strict=True):
            error = (one.double() - two).norm().item()
            relative = error / max(two.norm().item(), 1e-300) if error else 0.0
            # As no comparison with NaN is true, it must not hide in a maximum.
            self.error = max(self.error, relative if relative == relative else math.inf)

    def note(self, *outputs: Tensor) -> None:
        """Note the kernels that made ``outputs``, as their history tells."""
        found = {name for output in outputs for name in _kernels(output)}
        self.ran = ", ".join(sorted(found | set(filter(None, self.ran.split(", ")))))


def _kernels(output: Tensor) -> Iterator[str]:
    """The kernels in the history of ``output`` by their places, such as ``cpu neurons loop``."""
    seen: set[Any] = set()
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        place = getattr(getattr(type(node), "_forward_cls", None), "__module__", "")
        if place.startswith("saltation.kernels."):
            yield " ".join(place.split(".")[2:])
        elif place == "saltation.surrogate":
            yield "reference"
