"""The search for the remedies that help, cause by cause."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.errors import SaltationError
from saltation.stability.cure_trials import CureTrials, Outcome
from saltation.stability.remedies import (
    FluctuationDriven,
    FreshWeights,
    GrowthOverDepth,
    HardReset,
    Homeostasis,
    InputScale,
    PotentialGain,
    ReadoutScale,
    RelayStart,
    Remedy,
    RunningStatistics,
    SpikeAwareVariance,
    StatisticsOfAllSteps,
    StatisticsPerStep,
    SurrogateWidth,
    TimeConstant,
    Treatment,
)
from saltation.stability.remedies.passes import copied

# Remedies of one group are for one cause: each is tried on the same network, and the best is kept,
# of those that are as good the first. The group "rate" is for what was mended: what could hardly
# learn was given a small learning rate, and what follows is judged with the one that suits.
GROUPS: dict[str, tuple[Remedy, ...]] = {
    "input": (InputScale(),),
    "weights": (FreshWeights(),),
    "time": (TimeConstant(),),
    "surrogate": (
        SurrogateWidth(0.6, "sigmoid"),
        SurrogateWidth(0.6),
        SurrogateWidth(1.2),
        SurrogateWidth(0.3),
    ),
    "statistics": (StatisticsPerStep(), StatisticsOfAllSteps(), RunningStatistics()),
    "rate": (),
    "activity": (Homeostasis(), SpikeAwareVariance(), FluctuationDriven(), PotentialGain()),
    "reset": (HardReset(),),
    "start": (RelayStart(),),
    "readout": (ReadoutScale(),),
    "growth": (GrowthOverDepth(),),
}

# Groups that are tried only for what is still wrong. They set how large weights are; the others may
# help a network further whose fault was mended.
_STANDING = {"activity", "growth"}

# A remedy helps where the loss falls by this share of chance's, in trials that are the same but for
# it. Those that differ by less than the other are as good.
_HELPS, _AS_GOOD = 0.02, 0.02
# Surrogates are told apart by long trainings, not by short ones: at depths 4 to 16 the logistic was
# up to 13 % of chance behind fast sigmoids in trials, and ahead of them in the end.
_AS_GOOD_SURROGATE = 0.15
_HARMS = 0.1  # the best of a group raises it by so much
# Where a trial ends below this share of chance, the network learns.
_LEARNS = 0.9
# Evaluation and training disagree where their losses differ by this share of chance: what is little
# in a short trial grows with training.
_DISAGREES = 0.02
# A network that hardly learns does not tell which surrogate is best: it is chosen again once the
# loss has fallen by this share of chance's since.
_CHOSEN_AGAIN = 0.1
# On the learning rate of a network that was mended. Of rates that are as good in a trial, the
# larger is better in a longer training.
_FASTER = (3.0,)
_SLOWER = (0.3, 0.1)  # if nothing else learns


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


class Search:
    """The network as it is so far, and what was tried."""

    def __init__(self, trials: CureTrials, network: nn.Module) -> None:
        self.trials = trials
        self.network = network
        self.lr = trials.lr
        self.treatments: list[Treatment] = []
        self.attempts: list[Attempt] = []
        self.findings: list[str] = []
        self._standing: list[str] = []
        self._harmful: set[str] = set()
        self.first = self.best = trials.of(network)

    def run(self) -> None:
        """Try remedies, group by group, until all were tried on the network as it is at the end."""
        self._find()
        waiting, treated = list(GROUPS), dict.fromkeys(GROUPS, -1)
        chosen = -math.inf  # the loss with the surrogate that was chosen last
        while waiting:
            group = self._ordered(waiting)[0]
            waiting.remove(group)
            treated[group] = len(self.treatments)  # when it was tried
            if self._try(group):
                treated.pop(group)
                self._find()
                chosen = self._now() if group == "surrogate" else chosen
            elif group in self._harmful:  # what did harm will not help on top of what did good
                treated.pop(group)
            waiting = waiting or [g for g, n in treated.items() if n < len(self.treatments)]
            if not waiting and chosen - self._now() > _CHOSEN_AGAIN * self.trials.chance:
                waiting, chosen = ["surrogate"], self._now()
        if not self._learns():
            self._at_rates(_SLOWER, _HELPS)

    def _now(self) -> float:
        """The loss by which the next surrogate is judged."""
        return self.trials.score(self.best, "surrogate")

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
        self._standing = kinds
        self.findings += [kind for kind in dict.fromkeys(kinds) if kind not in self.findings]

    def _ordered(self, groups: Sequence[str]) -> list[str]:
        """Silent and saturated layers first, for nothing else helps them."""
        if {"silent", "saturated", "dead"} & set(self.findings):
            return sorted(groups, key=lambda group: group != "activity")
        return list(groups)

    def _answers(self, remedy: Remedy, group: str) -> bool:
        """Whether it is for something that was found; where it is not known why a network does not
        learn, every remedy is."""
        unknown = self.findings == ["does not learn"]
        found = self._standing if group in _STANDING else self.findings
        return unknown or bool(set(remedy.answers) & set(found))

    def _try(self, group: str) -> bool:
        """Try the remedies of a group on copies; whether one was kept."""
        if group == "rate":
            return bool(self.treatments) and self._learns() and self._at_rates(_FASTER, -_AS_GOOD)
        tried: list[tuple[int, nn.Module, Treatment, Outcome]] = []
        for remedy in GROUPS[group]:
            if not self._answers(remedy, group):
                continue
            twin = copied(self.network)
            try:
                treatment = remedy.apply(self.trials.adapted(twin), self.trials.sample)
                outcome = self.trials.of(twin, self.lr)
            except SaltationError as error:
                self.attempts.append(Attempt(told(remedy), group, None, False, str(error)))
                continue
            tried.append((len(self.attempts), twin, treatment, outcome))
            self.attempts.append(Attempt(told(remedy), group, outcome, False))
        if not tried:
            return False
        scores = [self.trials.score(one[-1], group) for one in tried]
        chance, best = self.trials.chance, min(scores)
        gains = [self.trials.score(self.best, group) - score for score in scores]
        if max(gains) <= _HELPS * chance:
            if max(gains) < -_HARMS * chance:
                self._harmful.add(group)
            return False
        near = _AS_GOOD_SURROGATE if group == "surrogate" else _AS_GOOD
        helpful = [n for n, gain in enumerate(gains) if gain > _HELPS * chance]
        first = next(n for n in helpful if scores[n] - best <= near * chance)
        place, self.network, treatment, self.best = tried[first]
        self.attempts[place] = replace(self.attempts[place], kept=True)
        self.treatments.append(treatment)
        return True

    def _at_rates(self, factors: Sequence[float], least: float) -> bool:
        """Other learning rates for the network as it is; whether one was kept.

        It is where the loss falls by at least this share of chance's.
        """
        helped = False
        for factor in factors:
            lr = self.trials.lr * factor
            outcome = self.trials.of(self.network, lr)
            gain = self.trials.score(self.best, "rate") - self.trials.score(outcome, "rate")
            helps = gain > least * self.trials.chance
            self.attempts.append(Attempt(f"learning rate {lr:g}", "rate", outcome, helps))
            if helps:
                helped, self.best, self.lr = True, outcome, lr
        return helped


def told(remedy: Remedy) -> str:
    """The remedy with its parameters."""
    values = ", ".join(f"{name}={value}" for name, value in vars(remedy).items() if value != "same")
    return f"{remedy.name}({values})" if values else remedy.name
