"""One tangent without decompositions, for networks that take many steps in one call.

Growth telescopes: over a stretch of steps it is that of the vector, whatever was in between. What
limits a stretch is the range of the dtype, and, for gradients, chaos.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.estimators import (
    Parts,
    Tangents,
    apart,
    flat,
    like,
    together,
)
from saltation.stability.frames import FLOOR, Orthonormal
from saltation.stepping import State

# The most steps that are taken at once: single precision has room for growth or decay by a factor
# of 15 in each of 16.
STRETCH = 16

# The logarithm of the growth from which on gradients of exponents mean nothing: whatever a weight
# does to a state is by then 60,000 times as large.
MEANINGLESS = 11.0


class Unbroken(Tangents):
    """One vector that is left alone from the first step to the last.

    Parameters
    ----------
    why
        What forbids to pull it back in between.
    """

    def __init__(self, seed: int, why: str) -> None:
        super().__init__(1, 1, seed)
        self._why = why

    def advance(self, states: list[State]) -> list[State]:
        return states

    def decompose(self, states: list[State], span: int) -> list[State]:
        """Count the growth over all steps.

        Raises
        ------
        SaltationError
            If it is lost in more steps than are taken at once elsewhere.
        """
        states = super().decompose(states, span)
        if span > STRETCH and bool(self.floored[-1].any()):
            dtype = str(states[0][0].dtype).removeprefix("torch.")
            raise SaltationError(
                f"within {span} steps a perturbation shrinks to less than {dtype} can hold, and it "
                f"cannot be pulled back on the way: {self._why}. Take fewer steps, or network and "
                f"input in double precision"
            )
        return states


class Telescoped(Tangents):
    """One vector, pulled back to length 1 where a run is cut into stretches, and nothing else.

    Where a perturbation has grown by more than `MEANINGLESS` (less in half precision) the gradient
    of the states is cut: they begin anew, as in truncated backpropagation through time.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(1, 1, seed)
        self._since_cut: Tensor | None = None

    def _renew(self, plain: Parts, tangents: Parts, frame: Orthonormal, span: int) -> list[State]:
        states = super()._renew(plain, tangents, frame, span)
        growth = self.growth[-1].detach()
        if not self.growth[-1].requires_grad:
            return states
        grown = growth if self._since_cut is None else self._since_cut + growth
        self._since_cut = grown.clamp(min=0)  # of the steps behind, those from where it is most
        if not bool((grown > _room(plain)[1]).any()):
            return states
        self._since_cut = None
        self.cuts += 1
        # It is states that gradients grow along. Directions lose their past, and so keep theirs.
        return together(
            [[part.detach() for part in layer] for layer in plain], like(tangents, frame.q)
        )


class Stretches(Telescoped):
    """The same for networks that take many steps in one call.

    Stretches have at most `STRETCH` steps, and no more than their growth has room for in the dtype:
    one that had is gone through again in halves.

    Parameters
    ----------
    steps
        Of the input.

    Attributes
    ----------
    next
        The first step to take next, and how many; None at the end.
    """

    def __init__(self, seed: int, steps: int) -> None:
        super().__init__(seed)
        self._steps_in_all = steps
        self._length = STRETCH
        self._begun: list[State] = []
        # Samples whose perturbation is lost, and those with states that are not finite: [1, B].
        self._gone: Tensor | None = None
        self._nan: Tensor

    @property
    def next(self) -> tuple[int, int] | None:
        done = sum(self.spans)
        left = self._steps_in_all - done
        return (done, min(self._length, left)) if left else None

    def start(self, name: str, rest: State) -> State:
        self._begun.append(super().start(name, rest))
        return self._begun[-1]

    def advance(self, states: list[State]) -> list[State]:
        span = min(self._length, self._steps_in_all - sum(self.spans))
        plain, tangents = apart(states)
        frame = Orthonormal(flat(tangents), 1)
        if self._gone is None:
            self._gone = self._nan = torch.zeros_like(frame.floored)
        shrink, stretch = _room(plain)
        growth = self.grown(frame.log, frame.floored).detach()
        used = torch.maximum(growth / shrink, growth / stretch)
        used = torch.where(frame.floored | growth.isnan(), math.inf, used)
        most = float(torch.where(self._gone | self._nan, 0, used).amax())
        if most > 1 and span > 1:
            self._length = span // 2
            return self._begun
        self._length = min(max(int(0.75 * span / most), 1), STRETCH) if most else STRETCH
        self._begun = self._renew(plain, tangents, frame, span)
        # Those lost before count as often as they would step by step.
        self.growth[-1] = torch.where(self._gone, span * math.log(FLOOR), self.growth[-1])
        self.floored[-1] = torch.where(self._gone, span, self.floored[-1])
        self._gone = self._gone | frame.floored
        self._nan = self._nan | growth.isnan()
        return self._begun


def _room(plain: Parts) -> tuple[float, float]:
    """By which logarithms a vector may shrink and grow from 1 for all numbers to stay normal, also
    those of the gradient."""
    number = torch.finfo(plain[0][0].dtype)
    return math.log(number.tiny) / 2, min(MEANINGLESS, math.log(number.max) / 4)
