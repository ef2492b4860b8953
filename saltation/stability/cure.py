"""From the diagnosis to the cure: remedies tried on copies, and those kept that help."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.encoding import direct
from saltation.errors import SaltationError, positive
from saltation.interop import adapt
from saltation.stability.criterion import Loss, applied, logits_of
from saltation.stability.diagnose import diagnose
from saltation.stability.looks import SATURATED, SILENT
from saltation.stability.remedies import (
    FluctuationDriven,
    GrowthOverDepth,
    Homeostasis,
    PotentialGain,
    RelayStart,
    Remedy,
    SpikeAwareVariance,
    StatisticsOfAllSteps,
    StatisticsPerStep,
    SurrogateWidth,
    Treatment,
)
from saltation.stability.remedies.measure import measure
from saltation.stability.remedies.passes import copied, output, twin_of
from saltation.stability.taken import taken
from saltation.stepping import Stepped, undisturbed

if TYPE_CHECKING:
    import pandas as pd

# Remedies of one group are for one cause: each is tried on the same network, and the best is kept,
# of those that are as good the first.
GROUPS: dict[str, tuple[Remedy, ...]] = {
    "surrogate": (
        SurrogateWidth(0.6),
        SurrogateWidth(0.6, "sigmoid"),
        SurrogateWidth(1.2),
        SurrogateWidth(0.3),
    ),
    "statistics": (StatisticsPerStep(), StatisticsOfAllSteps()),
    "activity": (Homeostasis(), SpikeAwareVariance(), FluctuationDriven(), PotentialGain()),
    "start": (RelayStart(),),
    "growth": (GrowthOverDepth(),),
}

# A remedy helps where the loss falls by this share of chance's, in trials that are the same but for
# it. Those that differ by less than the other are as good.
_HELPS, _AS_GOOD = 0.02, 0.02
# Where a trial ends below this share of chance, the network learns.
_LEARNS = 0.9
# Evaluation and training disagree where their losses differ by this share of chance: what is little
# in a short trial grows with training.
_DISAGREES, _FAR = 0.02, 0.1
# Losses of networks that are worse than chance count as little more than chance: how wrong one is
# that has learnt nothing says nothing.
_WORST = 1.1
# Samples that are diagnosed and treated with, and learning rates that are tried if nothing learns.
_SAMPLES, _FACTORS = 64, (0.3, 0.1)


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


@dataclass(frozen=True)
class Attempt:
    """One remedy, tried.

    Attributes
    ----------
    remedy : str
        With its parameters.
    group : str
        Of remedies for one cause.
    outcome : Outcome or None
        Of the trial; None if it was refused.
    kept : bool
    why : str
        Why it was refused, else empty.
    """

    remedy: str
    group: str
    outcome: Outcome | None
    kept: bool
    why: str = ""


@dataclass(frozen=True)
class Cure:
    """What `cure` found.

    Attributes
    ----------
    network : Module
        A copy of the network with the remedies that helped, untrained.
    lr : float
        The learning rate of the trials, or a smaller one with which alone the network learnt.
    treatments : list of Treatment
        What was changed, in this order.
    attempts : list of Attempt
        All that was tried.
    findings : list of str
        Kinds of what was wrong.
    before, after : Outcome
        Of the trials of the given and of the cured network.
    chance : float
        The loss of a network that knows nothing.
    """

    network: nn.Module
    lr: float
    treatments: list[Treatment]
    attempts: list[Attempt]
    findings: list[str]
    before: Outcome
    after: Outcome
    chance: float
    trial: str = field(default="")

    @property
    def table(self) -> pd.DataFrame:
        """What the trials came to, before and after; a row each measure."""
        import pandas as pd  # slow to import

        rows = {
            "held-out loss": (self.before.loss, self.after.loss),
            "with batch statistics": (self.before.batch_loss, self.after.batch_loss),
            "held-out accuracy": (self.before.accuracy, self.after.accuracy),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["before", "after"])

    @property
    def tried(self) -> pd.DataFrame:
        """All attempts, a row each."""
        import pandas as pd

        rows = [
            {
                "remedy": one.remedy,
                "loss": one.outcome.loss if one.outcome else math.nan,
                "batch loss": one.outcome.batch_loss if one.outcome else math.nan,
                "accuracy": one.outcome.accuracy if one.outcome else math.nan,
                "": "kept" if one.kept else "refused" if one.why else "",
            }
            for one in self.attempts
        ]
        return pd.DataFrame(rows, columns=["remedy", "loss", "batch loss", "accuracy", ""])

    def __str__(self) -> str:
        wrong = ", ".join(self.findings) or "nothing"
        lines = [f"found: {wrong} (chance: {self.chance:.3f}; {self.trial})"]
        if self.attempts:
            lines += [self.tried.to_string(index=False, float_format="{:.3f}".format), ""]
        lines.append(self.table.to_string(float_format="{:.3f}".format))
        if self.after.loss - self.after.batch_loss > _FAR * self.chance:
            lines += ["", "evaluation still disagrees with training: trust no score of it yet"]
        kept = [one.remedy for one in self.attempts if one.kept]
        lines += [
            "",
            f"kept: {', '.join(kept)}" if kept else "kept: nothing, the network is a copy",
        ]
        return "\n".join(lines)


def cure(
    network: nn.Module | Stepped,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss | None = None,
    lr: float = 3e-3,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> Cure:
    """Find what keeps a spiking network from learning, and mend it in a copy.

    `diagnose` names what is wrong, and a trial shows whether the network learns: some steps of Adam
    with a cosine schedule on three quarters of the batch, then the loss on the rest, in evaluation
    mode and with the statistics of the batch. Remedies that answer the findings are then applied to
    copies, cause by cause, and go through the same trial, with the same order of samples. Before it
    is evaluated the running statistics of normalisations are taken again, for in a few steps they
    do not settle. Of each cause the best is kept if it helps: if the loss with the statistics of
    the batch falls by 2 % of chance's, and for remedies of these statistics the mean of both
    losses. Where something was kept, those that did not help before are tried again on top of it. A
    network without a finding that learns is left alone.

    To the findings of `diagnose` it adds two of its trial: ``does not learn``, and ``modes
    disagree`` where in evaluation mode the loss is larger by 2 % of chance's.

    Parameters
    ----------
    network : Module or Stepped
        Of saltation, snnTorch or SpikingJelly, as for `diagnose`; it is left as it was.
    x : Tensor
        A batch of its input, as for `diagnose`, of some hundred samples: a trial must be able to
        learn from them.
    y : Tensor, [B]
        Labels.
    loss : callable, optional
        ``(output, y) -> scalar``; default: as of `diagnose`.
    lr : float, default 3e-3
        Learning rate of the trials.
    steps : int, default 100
        Steps of a trial.
    batch_size : int, default 32
        Samples of a step, at most.
    seed : int
        Of the split, the order of samples and dropout.

    Returns
    -------
    Cure
        ``cure(...).network`` is the mended copy, untrained; it prints as a table of what was tried.

    Raises
    ------
    SaltationError
        If the network's neurons are not known, the batch has fewer than 16 samples, or a number is
        out of range.

    Examples
    --------
    >>> found = st.cure(net, images, labels)
    >>> print(found)
    >>> net = found.network
    """
    positive("lr", lr)
    for name, count in (("steps", steps), ("batch_size", batch_size)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SaltationError(f"{name} must be a positive integer, got {count!r}")
    trials = _Trials(network, x, y, loss, lr, steps, batch_size, seed)
    search = _Search(trials, copied(trials.whole.network))
    search.run()
    return Cure(
        search.network,
        search.lr,
        search.treatments,
        search.attempts,
        search.findings,
        search.first,
        search.best,
        trials.chance,
        f"trials of {steps} steps of Adam, learning rate {lr:g}",
    )


class _Search:
    """The network as it is so far, and what was tried."""

    def __init__(self, trials: _Trials, network: nn.Module) -> None:
        self.trials = trials
        self.network = network
        self.lr = trials.lr
        self.treatments: list[Treatment] = []
        self.attempts: list[Attempt] = []
        self.findings: list[str] = []
        self.first = self.best = trials.of(network)

    def run(self) -> None:
        """Try remedies, group by group, until all were tried on the network as it is at the end."""
        self._find()
        waiting, treated = list(GROUPS), dict.fromkeys(GROUPS, -1)
        while waiting:
            group = self._ordered(waiting)[0]
            waiting.remove(group)
            treated[group] = len(self.treatments)  # when it was tried
            if self._try(group):
                treated.pop(group)
                self._find()
            waiting = waiting or [g for g, n in treated.items() if n < len(self.treatments)]
        if not self._learns():
            self._slower()

    def _learns(self) -> bool:
        return max(self.best.loss, self.best.batch_loss) < _LEARNS * self.trials.chance

    def _find(self) -> None:
        """Add what is wrong with the network as it is now."""
        kinds = self.trials.findings(self.network)
        if not self._learns():
            kinds.append("does not learn")
        norms = any(isinstance(module, _BatchNorm) for module in self.network.modules())
        if norms and self.best.loss - self.best.batch_loss > _DISAGREES * self.trials.chance:
            kinds.append("modes disagree")
        self.findings += [kind for kind in dict.fromkeys(kinds) if kind not in self.findings]

    def _ordered(self, groups: Sequence[str]) -> list[str]:
        """Silent and saturated layers first, for nothing else helps them."""
        if {"silent", "saturated", "dead"} & set(self.findings):
            return sorted(groups, key=lambda group: group != "activity")
        return list(groups)

    def _answers(self, remedy: Remedy) -> bool:
        """Whether it is for something that was found; where it is not known why a network does not
        learn, every remedy is."""
        unknown = self.findings == ["does not learn"]
        return unknown or bool(set(remedy.answers) & set(self.findings))

    def _try(self, group: str) -> bool:
        """Try the remedies of a group on copies; whether one was kept."""
        tried: list[tuple[int, nn.Module, Treatment, Outcome]] = []
        for remedy in GROUPS[group]:
            if not self._answers(remedy):
                continue
            twin = copied(self.network)
            try:
                treatment = remedy.apply(self.trials.adapted(twin), self.trials.sample)
                outcome = self.trials.of(twin)
            except SaltationError as error:
                self.attempts.append(Attempt(_told(remedy), group, None, False, str(error)))
                continue
            tried.append((len(self.attempts), twin, treatment, outcome))
            self.attempts.append(Attempt(_told(remedy), group, outcome, False))
        if not tried:
            return False
        scores = [self.trials.score(one[-1], group) for one in tried]
        chance, best = self.trials.chance, min(scores)
        if self.trials.score(self.best, group) - best <= _HELPS * chance:
            return False
        first = next(n for n, score in enumerate(scores) if score - best <= _AS_GOOD * chance)
        place, self.network, treatment, self.best = tried[first]
        self.attempts[place] = replace(self.attempts[place], kept=True)
        self.treatments.append(treatment)
        return True

    def _slower(self) -> None:
        """Smaller learning rates, where nothing else made the network learn."""
        for factor in _FACTORS:
            lr = self.trials.lr * factor
            outcome = self.trials.of(self.network, lr)
            gain = self.trials.score(self.best, "lr") - self.trials.score(outcome, "lr")
            helps = gain > _HELPS * self.trials.chance
            self.attempts.append(Attempt(f"learning rate {lr:g}", "lr", outcome, helps))
            if helps:
                self.best, self.lr = outcome, lr


def _told(remedy: Remedy) -> str:
    """The remedy with its parameters."""
    values = ", ".join(f"{name}={value}" for name, value in vars(remedy).items() if value != "same")
    return f"{remedy.name}({values})" if values else remedy.name


class _Trials:
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
                    return Outcome(math.inf, math.inf, math.nan)
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
        return Outcome(loss, batch_loss, accuracy)

    def _settle(self, whole: Stepped) -> None:
        """Running statistics of the weights as they are: after so few steps those of training are
        still on their way."""
        norms = [m for m in whole.network.modules() if isinstance(m, _BatchNorm)]
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
