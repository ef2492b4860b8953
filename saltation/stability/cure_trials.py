"""Short trainings, the same for every network, by which remedies are judged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.encoding import direct
from saltation.errors import SaltationError
from saltation.interop import adapt
from saltation.stability.criterion import Loss, applied, logits_of
from saltation.stability.diagnose import diagnose
from saltation.stability.looks import SATURATED, SILENT
from saltation.stability.remedies.measure import measure
from saltation.stability.remedies.passes import copied, output, twin_of
from saltation.stability.remedies.running import stuck
from saltation.stability.taken import taken
from saltation.stepping import Stepped, undisturbed

# Losses of networks that are worse than chance count as little more than chance: how wrong one is
# that has learnt nothing says nothing.
_WORST = 1.1
_SAMPLES = 64  # that are diagnosed and treated with


class Outcome(NamedTuple):
    """What a trial came to, on samples that were held out.

    Attributes
    ----------
    loss
        In evaluation mode.
    batch_loss
        With the statistics of the batch in normalisations, as in training.
    accuracy
        In evaluation mode, percent; NaN where the loss is the user's.
    """

    loss: float
    batch_loss: float
    accuracy: float


class CureTrials:
    """The same short training for every network."""

    def __init__(
        self,
        network: nn.Module | Stepped,
        x: Tensor,
        y: Tensor,
        loss: Loss | None,
        lr: float,
        steps: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self.lr, self._steps, self._seed = lr, steps, seed
        self._given_loss = loss
        self._given = network if isinstance(network, Stepped) else adapt(network)
        self.whole, x = taken(self._given, x)
        self._batch_dim: int = self.whole.batch_dim  # type: ignore[assignment]
        if y.ndim < 1 or x.shape[self._batch_dim] != len(y):
            raise SaltationError(
                f"x must have as many samples in dimension {self._batch_dim} as there are labels, "
                f"got {list(x.shape)} and {list(y.shape)}"
            )
        if len(y) < 16:
            raise SaltationError(
                f"a cure needs at least 16 samples, to learn from some and be judged by others, "
                f"got {len(y)}"
            )
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
        held = len(y) // 4
        self._held, self._learnt = order[:held], order[held:]
        self._x, self._y = x, y
        self._size = min(batch_size, len(self._learnt))
        self.sample = self._samples(order[:_SAMPLES])
        self._labels = y[order[:_SAMPLES]]
        self.chance = self._chance()

    def adapted(self, network: nn.Module) -> Stepped:
        """The network as the adapters take it; how it takes its input is found out anew."""
        return replace(self._given, network=network, ports=adapt(network).ports)

    @property
    def learnt(self) -> tuple[Tensor, Tensor]:
        """The samples that trials learn from, and their labels."""
        return self._samples(self._learnt), self._y[self._learnt]

    def findings(self, network: nn.Module) -> list[str]:
        """Kinds of what `diagnose` finds in the network as training sees it."""
        twin = copied(network).train()
        # Without its own trial, which is for what a network learns as it is: here it is tried
        # whether it learns better.
        loss, y = self._given_loss, self._labels
        try:
            found = diagnose(self.adapted(twin), self.sample, y, loss=loss, trial=0).findings
        except SaltationError:  # potentials so large that no perturbation is seen beside them
            return self._activity(twin)
        return [finding.kind for finding in found]

    def _activity(self, network: nn.Module) -> list[str]:
        """What is wrong with rates alone."""
        with torch.no_grad():
            layers = measure(
                replace(self.whole, network=network, ports=adapt(network).ports), self.sample
            )
        kinds = {"silent": any(one.rate < SILENT for one in layers)}
        kinds["saturated"] = any(one.rate > SATURATED for one in layers)
        return [kind for kind, there in kinds.items() if there]

    def of(self, network: nn.Module, lr: float | None = None) -> Outcome:
        """What a copy of the network comes to."""
        return self.trained(network, lr)[0]

    def trained(self, network: nn.Module, lr: float | None = None) -> tuple[Outcome, nn.Module]:
        """What a copy of the network comes to, and the copy."""
        whole = twin_of(self.whole, network)
        twin = whole.network.train()
        parameters = [p for p in twin.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=lr or self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._steps)
        devices = [self._x.device] if self._x.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed)
            for part in self._batches():
                value = self._loss(output(whole, self._samples(part)), self._y[part])
                if not math.isfinite(float(value.detach())):
                    return Outcome(math.inf, math.inf, math.nan), twin
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        with torch.no_grad():
            with undisturbed(twin):
                batch_loss, _ = self._judged(whole)
            self._settle(whole)
            twin.eval()
            loss, accuracy = self._judged(whole)
        return Outcome(loss, batch_loss, accuracy), twin

    def _settle(self, whole: Stepped) -> None:
        """Running statistics of the weights as they are: after so few steps those of training are
        still on their way."""
        norms: list[Any] = [m for m in whole.network.modules() if isinstance(m, _BatchNorm)]
        norms = [norm for norm in norms if not stuck(norm)]  # those that never do are what they are
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        for part in torch.split(self._learnt, self._size) if norms else ():
            if len(part) == self._size:
                output(whole, self._samples(part))

    def _loss(self, found: Any, y: Tensor) -> Tensor:
        return applied(self._given_loss, found, y)

    def score(self, outcome: Outcome, group: str) -> float:
        """The loss by which remedies are judged, which counts as chance's where it is worse.

        Where evaluation disagrees with training that is the statistics' fault: they are judged by
        the mean of both losses, and all else by the loss with the statistics of the batch.
        """
        worst = _WORST * self.chance
        both = [value if value < worst else worst for value in outcome[:2]]
        return sum(both) / 2 if group == "statistics" else both[1]

    def _judged(self, whole: Stepped) -> tuple[float, float]:
        """Loss and accuracy on what was held out."""
        y = self._y[self._held]
        found = output(whole, self._samples(self._held))
        value = float(self._loss(found, y))
        if self._given_loss is not None:
            return value, math.nan
        logits = logits_of(found)
        return value, 100 * float((logits.argmax(1) == y).double().mean())

    def _chance(self) -> float:
        """ln(classes), or of another loss what the fresh network has."""
        twin = twin_of(self.whole)
        with torch.no_grad(), undisturbed(twin.network):
            found = output(twin, self.sample)
            value = float(self._loss(found, self._labels))
        return (
            abs(value)
            if self._given_loss is not None
            else math.log(max(logits_of(found).shape[-1], 2))
        )

    def _batches(self) -> Iterator[Tensor]:
        """Steps of the trial: the samples in random orders, one behind the other."""
        noise = torch.Generator().manual_seed(self._seed + 1)
        rest = self._learnt[:0]
        for _ in range(self._steps):
            if len(rest) < self._size:
                order = torch.randperm(len(self._learnt), generator=noise)
                rest = self._learnt[order.to(self._learnt.device)]
            yield rest[: self._size]
            rest = rest[self._size :]

    def _samples(self, places: Tensor) -> Tensor:
        """Those of the input; one that is the same at every step stays a view."""
        if self._batch_dim == 1 and self._x.stride(0) == 0:
            return direct(self._x[0].index_select(0, places), len(self._x))
        return self._x.index_select(self._batch_dim, places)
