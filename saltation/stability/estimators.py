"""The estimators as controls: they see the states that a step ended with, and give back those that
the next begins with. The same ones drive networks, maps and flows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.duals import dual, parts
from saltation.stability.frames import (
    FLOOR,
    Orthonormal,
    along,
    noise,
    safe_norm,
    squares,
)
from saltation.stability.result import Lyapunov
from saltation.stepping import State


class _Estimator:
    """Growth over the stretches of a run, ``[k, B]`` each, and the parts of the layers in it."""

    def __init__(self, k: int, seed: int) -> None:
        self.k = k
        self.generator = torch.Generator().manual_seed(seed)
        self.growth: list[Tensor] = []
        self.spans: list[int] = []
        self.norms: list[Tensor] = []
        self.floored: list[Tensor] = []

    def result(
        self, names: list[str], transient: int, settings: dict[str, Any], unit_steps: float = 1.0
    ) -> Lyapunov:
        """What was found over the stretches that begin after the transient.

        Raises
        ------
        SaltationError
            If there is none.
        """
        starts = [sum(self.spans[:i]) for i in range(len(self.spans))]
        first = next((i for i, start in enumerate(starts) if start >= transient), None)
        if first is None:
            raise SaltationError(
                f"the transient must be less than the input's {sum(self.spans)} steps, and end "
                f"before the last decomposition begins, got {transient} (allowed: at most "
                f"{starts[-1]})"
            )
        spans = self.spans[first:]
        growth = torch.stack(self.growth[first:])
        return Lyapunov(
            exponents=growth.sum(0) / (sum(spans) * unit_steps),
            growth=growth,
            spans=tuple(spans),
            norms=torch.stack(self.norms[first:]),
            layers=tuple(names),
            transient=starts[first],
            floored=int(torch.stack(self.floored[first:]).sum()),
            settings=settings,
            unit="step" if unit_steps == 1 else "unit of time",
        )

    def _share(self, square: Tensor) -> Tensor:
        whole = square.sum(0, keepdim=True).detach()
        return (square.detach() / whole.clamp(min=torch.finfo(whole.dtype).tiny)).sqrt()


class TwoTrajectories(_Estimator):
    """Benettin's estimate: two trajectories in one batch, pulled back together after each step.

    The first half of the batch is the trajectory, the second half starts ``eps`` away, Gaussian in
    every component. After a step, d is their Euclidean distance over all states of a sample, growth
    is ``log(d / eps)``, and the second is pulled back along the difference to the distance eps. One
    that has merged with the first, d = 0, starts anew in a random direction.
    """

    def __init__(self, eps: float, seed: int) -> None:
        super().__init__(1, seed)
        self.eps = eps

    def start(self, name: str, rest: State) -> State:
        return tuple(self._beside(part) for part in rest)

    def _beside(self, rest: Tensor) -> Tensor:
        first = rest[: len(rest) // 2]
        return torch.cat([first, first + self.eps * noise(first, self.generator)])

    def advance(self, states: list[State]) -> list[State]:
        samples = len(states[0][0]) // 2
        firsts = [[part[:samples] for part in state] for state in states]
        differences = [[part[samples:] - part[:samples] for part in state] for state in states]
        by_layer = torch.stack([squares(layer, samples).sum(0) for layer in differences])
        distance, merged = safe_norm(by_layer.sum(0), FLOOR * self.eps)
        self.growth.append((distance / self.eps).log()[None])
        self.spans.append(1)
        self.norms.append(self._share(by_layer))
        self.floored.append(merged[None])
        scale = torch.where(merged, 0, self.eps / distance)
        if bool(merged.any()):
            differences = self._renewed(differences, merged)
            scale = torch.where(merged, 1, scale)
        return [
            tuple(
                torch.cat([first, first + along(scale, difference) * difference])
                for first, difference in zip(*layer, strict=True)
            )
            for layer in zip(firsts, differences, strict=True)
        ]

    def _renewed(self, differences: list[list[Tensor]], merged: Tensor) -> list[list[Tensor]]:
        """The differences, a random one of length eps where there was none."""
        drawn = [[noise(part, self.generator) for part in layer] for layer in differences]
        whole = squares([part for layer in drawn for part in layer], len(merged)).sum(0).sqrt()
        return [
            [
                torch.where(along(merged, old), along(self.eps / whole, new) * new, old)
                for old, new in zip(*layers, strict=True)
            ]
            for layers in zip(differences, drawn, strict=True)
        ]


class Tangents(_Estimator):
    """k tangent vectors under the linearised map, orthonormal again every ``qr_every`` steps.

    The k vectors of a sample are k copies of it in the batch, each with one tangent. States are
    dual numbers: see `duals`.
    """

    def __init__(self, k: int, qr_every: int, seed: int) -> None:
        super().__init__(k, seed)
        self.qr_every = qr_every
        self._first: list[Tensor] = []
        self._steps = 0

    def start(self, name: str, rest: State) -> State:
        tangents = [noise(part, self.generator) for part in rest]
        self.begin(tangents)
        return tuple(dual(part, t) for part, t in zip(rest, tangents, strict=True))

    def advance(self, states: list[State]) -> list[State]:
        self._steps += 1
        if self._steps % self.qr_every:
            return states
        return self.decompose(states, self.qr_every)

    def finish(self, states: list[State]) -> None:
        """Count the steps since the last decomposition, if there are any."""
        if self._steps % self.qr_every:
            self.decompose(states, self._steps % self.qr_every)

    def decompose(self, states: list[State], span: int) -> list[State]:
        """Count the growth of a stretch of ``span`` steps; the states with orthonormal tangents."""
        pairs = [[parts(part) for part in state] for state in states]
        tangents = [tangent for layer in pairs for _, tangent in layer]
        samples = len(tangents[0]) // self.k
        first = [[tangent[:samples] for _, tangent in layer] for layer in pairs]
        leading = torch.stack([squares(layer, samples).sum(0) for layer in first])
        frame = Orthonormal(tangents, self.k)
        self.count(frame.log, frame.floored, span, self._share(leading))
        fresh = iter(frame.q)
        return [tuple(dual(plain, next(fresh)) for plain, _ in layer) for layer in pairs]

    def begin(self, tangents: list[Tensor]) -> None:
        """The vectors that a run begins with, as they were drawn."""
        self._first += tangents

    def count(self, log: Tensor, floored: Tensor, span: int, share: Tensor) -> None:
        """Take note of a decomposition after ``span`` steps."""
        if self._first:
            log = log - Orthonormal(self._first, self.k).log
            self._first = []
        self.growth.append(log)
        self.spans.append(span)
        self.norms.append(share)
        self.floored.append(floored)
