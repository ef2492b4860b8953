"""Normalisations whose evaluation is that of their training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.layers.normalisation import (
    SpikingBatchNorm,
    SpikingBatchNorm1d,
    SpikingBatchNorm2d,
)
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import measure
from saltation.stability.remedies.running import disagreement
from saltation.stepping import Session, Stepped, by_steps


class _OneByOne(SpikingBatchNorm):
    """A normalisation in a loop over the steps: it is called with one step ``[B, C, ...]`` after
    the other, and counts them."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, ...]`` to the same shape."""
        y = super().forward(x[None])[0]
        self.begins += 1
        return y

    def rewind(self) -> None:
        """The next step is the first."""
        self.begins = 0

    # SpikingJelly's reset_net calls it.
    reset = rewind


class _OneByOne1d(_OneByOne, SpikingBatchNorm1d):
    pass


class _OneByOne2d(_OneByOne, SpikingBatchNorm2d):
    pass


class _Rewind:
    """Hook in front of a network with the loop in it: its normalisations begin again."""

    def __init__(self, norms: Sequence[_OneByOne]) -> None:
        self.norms = list(norms)

    def __call__(self, *_: Any) -> None:
        for norm in self.norms:
            norm.rewind()


class _Call(NamedTuple):
    """How a normalisation was called in a pass: the shape of its first input, and how often."""

    name: str
    module: Any
    shape: torch.Size
    times: int


def _calls(whole: Stepped, x: Tensor) -> list[_Call]:
    """Of every normalisation without statistics of each step."""
    shapes: dict[nn.Module, list[torch.Size]] = {}
    names = {module: name for name, module in whole.network.named_modules()}
    with ExitStack() as stack:
        for module in names:
            if isinstance(module, _BatchNorm) and not isinstance(module, SpikingBatchNorm):
                hook = module.register_forward_pre_hook(
                    lambda m, given: shapes.setdefault(m, []).append(given[0].shape)
                )
                stack.callback(hook.remove)
        Session(whole).native(x)
    return [_Call(names[m], m, seen[0], len(seen)) for m, seen in shapes.items()]


def _of_a_step(call: _Call) -> bool:
    """Whether a normalisation of sequences takes each step's own statistics."""
    return getattr(call.module, "statistics", "") == "step" and call.times == 1


def per_step(whole: Stepped, x: Tensor) -> list[str]:
    """Names of the normalisations that train with the statistics of each step apart, and have one
    running mean for all of them."""
    steps = measure(whole, x)[0].steps
    calls = [c for c in _calls(whole, x) if _of_a_step(c) or (c.times == steps > 1)]
    return [call.name for call in calls if call.module.running_mean is not None]


class _Statistics(Remedy):
    answers: ClassVar[tuple[str, ...]] = ("modes disagree", "does not learn")

    def _treated(self, whole: Stepped, x: Tensor, before: dict[str, float], what: Any) -> Treatment:
        measured = "rate in evaluation less the rate in training"
        return Treatment(self.name, what, measured, before, disagreement(whole, x, settled=True))


@dataclass(frozen=True)
class StatisticsPerStep(_Statistics):
    """Running statistics of every step in place of one for all (`SpikingBatchNorm2d`).

    Normalisations that train each step with its own mean and variance are replaced: of sequences in
    saltation's networks, and such as are called with one step after the other, in snnTorch's loop
    within ``forward`` or SpikingJelly's single-step mode. γ, β and their names stay. Source: Kim &
    Panda, "Revisiting batch normalization for training low-latency deep spiking neural networks
    from scratch", 2021.
    """

    name: ClassVar[str] = "statistics_per_step"
    what: ClassVar[str] = "gives normalisations running statistics of every step apart"
    cost: ClassVar[str] = "two passes; T times the running statistics, inputs of at most T steps"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        steps = measure(whole, x)[0].steps
        names = per_step(whole, x)
        calls = [call for call in _calls(whole, x) if call.name in names]
        if not calls:
            raise self.refused(
                "no normalisation takes the statistics of one step and has one running mean for all"
            )
        hidden = whole.walk is by_steps and not any(
            getattr(port.module, "_memories", None) for port in whole.ports
        )
        if hidden and any(not _of_a_step(call) for call in calls):
            raise self.refused(
                f"'{calls[0].name}' is called by a loop outside of the network, which does not say "
                f"where a sequence begins; put the loop into the network's forward"
            )
        before = disagreement(whole, x, settled=True)
        loops = []
        for call in calls:
            made = _made(call, steps)
            parent, _, name = call.name.rpartition(".")
            setattr(whole.network.get_submodule(parent), name, made)
            if isinstance(made, _OneByOne):
                loops.append(made)
        if loops and whole.in_loop:
            whole.network.register_forward_pre_hook(_Rewind(loops))
        changed = {call.name: f"statistics of {steps} steps" for call in calls}
        return self._treated(whole, x, before, changed)


def _made(call: _Call, steps: int) -> SpikingBatchNorm:
    old, whole = call.module, _of_a_step(call)
    flat = len(call.shape) - whole in (2, 3)  # features [B, C] or [B, C, L]
    kinds = (SpikingBatchNorm1d, SpikingBatchNorm2d) if whole else (_OneByOne1d, _OneByOne2d)
    made = kinds[0 if flat else 1](
        old.num_features, steps, eps=old.eps, momentum=old.momentum, bias=old.bias is not None
    )
    made.to(old.running_mean)
    made.running_mean.copy_(old.running_mean.expand_as(made.running_mean))  # type: ignore[union-attr]
    made.running_var.copy_(old.running_var.expand_as(made.running_var))  # type: ignore[union-attr]
    if old.weight is not None:
        made.weight = old.weight
        made.bias = old.bias
    else:
        made.weight.requires_grad_(False)
    made.train(old.training)
    return made


@dataclass(frozen=True)
class StatisticsOfAllSteps(_Statistics):
    """Mean and variance over all steps together, in training as in evaluation.

    Of saltation's networks with ``batch_norm="step"``, which become those with ``"all"``. A
    normalisation that is called with one step after the other cannot see the others. Source: Zheng
    et al., "Going deeper with directly-trained larger spiking neural networks", AAAI 2021.
    """

    name: ClassVar[str] = "statistics_of_all_steps"
    what: ClassVar[str] = "normalises all steps together"
    cost: ClassVar[str] = "two passes; in training steps can no longer run one after the other"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        calls = [call for call in _calls(whole, x) if _of_a_step(call)]
        if not calls:
            raise self.refused(
                "no normalisation of sequences takes the statistics of each step by itself"
            )
        before = disagreement(whole, x, settled=True)
        for call in calls:
            call.module.statistics = "all"
        return self._treated(
            whole, x, before, {call.name: "statistics of all steps" for call in calls}
        )
