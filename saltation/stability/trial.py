"""A few steps of an optimiser on a copy of a network: whether it learns, as evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.stability.layer import Finding
from saltation.stability.observe import Seen, output_of
from saltation.stability.spared import same_random_numbers, spared, undone
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
        """By how much the loss fell, of what it was: to `last`."""
        if not self.steps or not self.before:
            return 0.0
        return (self.before - self.last) / abs(self.before)

    @property
    def last(self) -> float:
        """The mean of the last losses."""
        last = self.losses[1:][-_MEAN:] or self.losses
        return sum(last) / len(last)

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
    lr: float = LR,
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
    lr
        Learning rate.
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
        optimizer = torch.optim.Adam(trained.values(), lr=lr, eps=_EPS) if trained else None
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


def too_fast(at: Callable[[float, int], Trial], lr: float) -> list[Finding]:
    """A learning rate with which the loss rises, where it falls with a smaller one.

    Parameters
    ----------
    at
        Trial with a learning rate, of so many steps.
    lr
        The one that is meant for training.
    """
    large = at(lr, STEPS)
    if large.finite and large.fall > 0:
        return []
    for factor in (0.1, 0.01, 0.001):
        small = at(lr * factor, STEPS)
        if small.finite and small.fall > 0:
            what = f"a learning rate of {lr:g} is too large for the gradient: one step of Adam "
            what += f"takes the loss from {large.before:.3g} to {large.losses[1]:.3g}, "
            what += (
                f"{large.steps} to {large.after:.3g}; with {lr * factor:.2g} {small.steps} take "
            )
            what += f"it to {small.after:.3g}"
            advice = f"a learning rate of {lr * factor:.2g}, a warm-up, clipped gradients"
            return [Finding("learning rate", "", what, advice)]
    return []


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

    def at(self, lr: float, steps: int) -> Trial:
        """A trial of all weights with another learning rate, from the beginning."""
        return attempt(self._whole, self._x, self._loss, steps=steps, lr=lr)

    def treated(self, treat: Callable[[Stepped, Tensor], Any], steps: int) -> Trial:
        """A trial from the beginning of the network as ``treat`` makes it; it is undone.

        Raises
        ------
        SaltationError
            If it is refused.
        """
        network = self._whole.network
        with same_random_numbers(self._x), spared(network, weights=True), undone(self._whole):
            treat(self._whole, self._x)
            return attempt(self._whole, self._x, self._loss, steps=steps)

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
