"""The estimators as controls: they see the states that a step ended with, and give back those that
the next begins with. The same ones drive networks, maps and flows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stability.duals import dual, parts
from saltation.stability.frames import (
    FLOOR,
    Orthonormal,
    Scaled,
    Unit,
    along,
    noise,
    single,
    squares,
)
from saltation.stability.result import Lyapunov
from saltation.stepping import State

Parts = list[list[Tensor]]  # of layers


class _Estimator:
    """Growth over the stretches of a run, ``[k, B]`` each, and the parts of the layers in it."""

    def __init__(self, k: int, seed: int) -> None:
        self.k = k
        self.generator = torch.Generator().manual_seed(seed)
        self.growth: list[Tensor] = []
        self.spans: list[int] = []
        self.norms: list[Tensor] = []
        self.floored: list[Tensor] = []
        self.cuts = 0

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
            floored=sum(int(one.sum()) for one in self.floored[first:]),
            cuts=self.cuts,
            settings=settings,
            unit="step" if unit_steps == 1 else "unit of time",
        )

    def _share(self, vector: Parts, samples: int) -> Tensor:
        """Of every layer in the length of ``vector``, which is 1 or 0: ``[L, B]``."""
        layers = [[single(part.detach()) for part in layer] for layer in vector]
        return torch.stack([squares(layer, samples).sum(0) for layer in layers]).sqrt()


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
        most = torch.finfo(rest.dtype).max
        if self.eps > most:
            raise SaltationError(f"eps must be at most {most:.1e}, got {self.eps:g}")
        first = rest[: len(rest) // 2]
        return torch.cat([first, first + self.eps * noise(first, self.generator)])

    def advance(self, states: list[State]) -> list[State]:
        samples = len(states[0][0]) // 2
        firsts = [[part[:samples] for part in state] for state in states]
        differences = [[part[samples:] - part[:samples] for part in state] for state in states]
        self._check_rounding(flat(firsts))
        unit = Unit(flat(differences), samples)
        growth, merged = unit.log - math.log(self.eps), unit.lost
        directions = like(differences, unit.parts)
        self.growth.append(torch.where(merged, math.log(FLOOR), growth)[None])
        self.spans.append(1)
        self.norms.append(self._share(directions, samples))
        self.floored.append(merged[None])
        if bool(merged.any()):
            directions = self._renewed(directions, merged)
        return [
            tuple(
                torch.cat([first, first + self.eps * direction])
                for first, direction in zip(*layer, strict=True)
            )
            for layer in zip(firsts, directions, strict=True)
        ]

    def _check_rounding(self, parts: list[Tensor]) -> None:
        """Refuse a distance that is not seen where the states themselves are rounded.

        A number v is rounded by some 0.3 of its ulp, about ``0.3 eps |v|`` with the dtype's eps,
        and over all components that is added, at random, to the distance.
        """
        dtype = parts[0].dtype
        states = [single(part.detach()) for part in parts]
        length = float(squares(states, len(states[0])).sum(0).max().sqrt())
        least = length * torch.finfo(dtype).eps
        if self.eps < least:
            raise SaltationError(
                f"eps must be at least {least:.1e} to be seen beside the rounding of states of "
                f"length {length:.3g} in {str(dtype).removeprefix('torch.')}, got {self.eps:g}; or "
                f"take network and input in double precision"
            )

    def _renewed(self, directions: Parts, merged: Tensor) -> Parts:
        """The directions, a random one where there was none."""
        given = flat(directions)
        drawn = Unit([noise(part, self.generator) for part in given], len(merged)).parts
        chosen = [
            torch.where(along(merged, old), new, old) for old, new in zip(given, drawn, strict=True)
        ]
        return like(directions, chosen)


def like(layers: Parts, parts: list[Tensor]) -> Parts:
    """``parts`` in lists as long as those of ``layers``."""
    rest = iter(parts)
    return [[next(rest) for _ in layer] for layer in layers]


class Tangents(_Estimator):
    """k tangent vectors under the linearised map, orthonormal again every ``qr_every`` steps.

    The k vectors of a sample are k copies of it in the batch, each with one tangent. States are
    dual numbers: see `duals`. Between decompositions vectors are scaled, unless they must be left
    alone, so that they stay within the range of the dtype.
    """

    def __init__(self, k: int, qr_every: int, seed: int, scales: bool = True) -> None:
        super().__init__(k, seed)
        self.qr_every = qr_every
        self._scales = scales
        self._first: list[Tensor] = []
        self._steps = 0
        self._scale: Tensor | None = None

    def start(self, name: str, rest: State) -> State:
        tangents = [noise(part, self.generator) for part in rest]
        self.begin(tangents)
        return tuple(dual(part, t) for part, t in zip(rest, tangents, strict=True))

    def advance(self, states: list[State]) -> list[State]:
        self._steps += 1
        within = self._steps % self.qr_every
        if not within:
            return self.decompose(states, self.qr_every)
        return self._scaled(states) if self._scales else states

    def finish(self, states: list[State]) -> None:
        """Count the steps since the last decomposition, if there are any."""
        if self._steps % self.qr_every:
            self.decompose(states, self._steps % self.qr_every)

    def _scaled(self, states: list[State]) -> list[State]:
        plain, tangents = apart(states)
        vectors = flat(tangents)
        scaled = Scaled(vectors, len(vectors[0]))
        self.rescale(scaled.log.view(self.k, -1))
        small = [part.to(old.dtype) for part, old in zip(scaled.parts, vectors, strict=True)]
        return together(plain, like(tangents, small))

    def decompose(self, states: list[State], span: int) -> list[State]:
        """Count the growth of a stretch of ``span`` steps; the states with orthonormal tangents."""
        plain, tangents = apart(states)
        return self._renew(plain, tangents, Orthonormal(flat(tangents), self.k), span)

    def _renew(self, plain: Parts, tangents: Parts, frame: Orthonormal, span: int) -> list[State]:
        fresh = like(tangents, frame.q)
        self.count(frame.log, frame.floored, span, self._share_of_first(fresh))
        return together(plain, fresh)

    def _share_of_first(self, vectors: Parts) -> Tensor:
        samples = len(vectors[0][0]) // self.k
        return self._share([[part[:samples] for part in layer] for layer in vectors], samples)

    def begin(self, tangents: list[Tensor]) -> None:
        """The vectors that a run begins with, as they were drawn."""
        self._first += tangents

    def rescale(self, log: Tensor) -> None:
        """Take note that vectors were divided by ``exp(log)`` [k, B] within a stretch."""
        self._scale = log if self._scale is None else self._scale + log

    def grown(self, log: Tensor, floored: Tensor) -> Tensor:
        """The growth [k, B] of a stretch at whose end vectors have these lengths."""
        if self._first:
            self.rescale(-Orthonormal(self._first, self.k).log)
            self._first = []
        return log if self._scale is None else log + torch.where(floored, 0, self._scale)

    def count(self, log: Tensor, floored: Tensor, span: int, share: Tensor) -> None:
        """Take note of a decomposition after ``span`` steps."""
        self.growth.append(self.grown(log, floored))
        self.spans.append(span)
        self.norms.append(share)
        self.floored.append(floored)
        self._scale = None


def flat(layers: Parts) -> list[Tensor]:
    return [part for layer in layers for part in layer]


def apart(states: list[State]) -> tuple[Parts, Parts]:
    """States and their tangents."""
    pairs = [[parts(part) for part in state] for state in states]
    return [[p for p, _ in layer] for layer in pairs], [[t for _, t in layer] for layer in pairs]


def together(plain: Parts, tangents: Parts) -> list[State]:
    """States with tangents."""
    return [
        tuple(dual(p, t) for p, t in zip(*layer, strict=True))
        for layer in zip(plain, tangents, strict=True)
    ]
