"""A few steps of an optimiser on a copy of a network: whether it learns, as evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.stability.observe import Seen, output_of
from saltation.stability.spared import same_random_numbers, spared
from saltation.stepping import Stepped

LR = 1e-3
STEPS = 10  # of a network with which nothing seems wrong
LONGER = 50  # of others: silent networks need some steps to wake
ALONE = 50  # of the weights that a finding is about
_EPS = 1e-8  # of Adam: smaller gradients hardly move a weight
_MEAN = 5  # last losses that the fall is measured with
# A trial is cheap up to so many parameters, and so many (step, sample, neuron) in a pass.
MOST_PARAMETERS = 5_000_000
MOST_SITES = 2_000_000


class Trial(NamedTuple):
    """Steps of Adam (learning rate 0.001) on the batch that was given and copies of the weights.

    Dropout is off, as in all passes of a diagnosis.

    Attributes
    ----------
    losses
        Before the first step, and after each.
    weights
        Values of the parameters after the last step, by name.
    moved
        Names of those whose gradient was large enough in some step for Adam to move them.
    """

    losses: tuple[float, ...]
    weights: dict[str, Tensor]
    moved: frozenset[str]

    @property
    def steps(self) -> int:
        """Steps that were made: fewer than asked for where the loss was no longer finite."""
        return len(self.losses) - 1

    @property
    def before(self) -> float:
        """The loss before the first step."""
        return self.losses[0]

    @property
    def after(self) -> float:
        """The loss after the last."""
        return self.losses[-1]

    @property
    def finite(self) -> bool:
        """Whether all losses are."""
        return all(map(math.isfinite, self.losses))

    @property
    def fall(self) -> float:
        """By how much the loss fell, of what it was: the mean of the last losses."""
        last = self.losses[1:][-_MEAN:]
        if not last or not self.before:
            return 0.0
        return (self.before - sum(last) / len(last)) / abs(self.before)

    def __str__(self) -> str:
        return f"{self.steps} steps of Adam, loss {self.before:.4g} -> {self.after:.4g}"


def attempt(
    whole: Stepped,
    x: Tensor,
    loss: Callable[[Any], Tensor],
    *,
    steps: int = STEPS,
    names: Collection[str] | None = None,
    after: Trial | None = None,
) -> Trial:
    """Train a copy of the network's weights for some steps.

    Parameters
    ----------
    whole
        The network, which is as it was afterwards.
    x
        Its input.
    loss
        Of the output of a pass.
    steps
        Number of them.
    names
        Train these parameters alone. Default: all that can be trained.
    after
        Begin with the weights that this trial ended with.
    """
    losses: list[float] = []
    moved: set[str] = set()
    with same_random_numbers(x), spared(whole.network, weights=True):
        if after is not None:
            with torch.no_grad():
                for name, parameter in whole.network.named_parameters():
                    parameter.copy_(after.weights[name])
        trained = {
            name: parameter
            for name, parameter in whole.network.named_parameters()
            if parameter.requires_grad and (names is None or name in names)
        }
        optimizer = torch.optim.Adam(trained.values(), lr=LR, eps=_EPS) if trained else None
        for step in range(steps + 1):
            value = loss(output_of(whole, x))
            losses.append(float(value.detach()))
            if step == steps or not math.isfinite(losses[-1]):
                break
            if optimizer is None or not value.requires_grad:
                continue
            found = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
            for (name, parameter), gradient in zip(trained.items(), found, strict=True):
                parameter.grad = gradient
                if gradient is not None and bool((gradient.abs() > _EPS).any()):
                    moved.add(name)
            optimizer.step()
        weights = {name: p.detach() for name, p in whole.network.named_parameters()}
    return Trial(tuple(losses), weights, frozenset(moved))


def too_costly(network: nn.Module, seen: Sequence[Seen]) -> str:
    """Why a trial would not be cheap, or nothing."""
    parameters = sum(p.numel() for p in network.parameters())
    if parameters > MOST_PARAMETERS:
        return f"{parameters} parameters, more than {MOST_PARAMETERS} (trial=10 makes one)"
    sites = sum(spikes.numel() for one in seen for spikes in one.spikes)
    if sites > MOST_SITES:
        return f"a pass has {sites} spikes to decide, more than {MOST_SITES} (trial=10 makes one)"
    return ""


class Trials:
    """Trials of one network on one batch; those of the same weights are made once.

    Parameters
    ----------
    whole, x, loss
        As for `attempt`.
    seen
        What its neurons did on this batch, with the graph of that pass.
    """

    def __init__(
        self, whole: Stepped, x: Tensor, loss: Callable[[Any], Tensor], seen: Sequence[Seen]
    ) -> None:
        self._whole, self._x, self._loss = whole, x, loss
        self._seen = {one.port.name: one for one in seen}
        self._first: Trial | None = None
        self._made: dict[frozenset[str], Trial] = {}

    def of_all(self, steps: int) -> Trial:
        """The trial of all weights."""
        self._first = attempt(self._whole, self._x, self._loss, steps=steps)
        return self._first

    def alone(self, layer: str) -> Trial:
        """After that one, a trial of what a layer of neurons depends on."""
        names = frozenset(self._before(layer))
        if names not in self._made:
            self._made[names] = attempt(
                self._whole, self._x, self._loss, steps=ALONE, names=names, after=self._first
            )
        return self._made[names]

    def _before(self, layer: str) -> list[str]:
        """The parameters that what a layer of neurons is given depends on, and its own."""
        named = {n: p for n, p in self._whole.network.named_parameters() if p.requires_grad}
        inputs = [x.sum() for x in self._seen[layer].inputs if x.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(named)
        if inputs:
            found = torch.autograd.grad(
                torch.stack(inputs).sum(),
                list(named.values()),
                retain_graph=True,
                allow_unused=True,
            )
        return [
            name
            for name, gradient in zip(named, found, strict=True)
            if gradient is not None or name.startswith(f"{layer}.")
        ]
