"""One trial of the R-STDP study: its network, its rule, and its epochs."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NotRequired

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from saltation.activity.costs import Energy, LayerCost
from saltation.activity.counting import of_module
from saltation.data import Batch, Dataset, batches
from saltation.encoding import poisson
from saltation.kernels.events import SpikeTensor, dense_of
from saltation.layers import SpikeStatistics
from saltation.learning import RSTDP, Activity, PairSTDP, Rule, TraceRSTDP, WinnerTakeAllNetwork
from saltation.random import TEST, TRAIN
from saltation.snapshot import Keeper, restore, take
from saltation.studies.cost import COUNTED, in_columns
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.engine.validation import held_out, validation_batches
from saltation.training import EpochRecord, Score

# Settings of the rules of spike pairs.
OF_PAIRS = ("tau_plus", "tau_minus", "a_minus", "total")


class RSTDPTrial(TrialSettings):
    """The settings of a trial."""

    scheme: str
    dt: float
    steps: int
    reward: str
    epochs: int
    batch_size: int
    lr: float
    dataset: str
    limit_train: int | None
    limit_test: int | None
    test_batch_size: int
    train_batches: int
    teach: float
    teach_decay: float
    hidden: int
    tau: float
    v_threshold: float
    input_gain: float
    output_gain: float
    clip: float
    decay: float
    # Of a rule of spike pairs.
    tau_plus: NotRequired[float]
    tau_minus: NotRequired[float]
    a_minus: NotRequired[float]
    total: NotRequired[float]
    tau_eligibility: NotRequired[float]


def _of_pairs(trial: RSTDPTrial) -> dict[str, float]:
    return {
        "dt": trial["dt"],
        "tau_plus": trial["tau_plus"],
        "tau_minus": trial["tau_minus"],
        "a_minus": trial["a_minus"],
        "total": trial["total"],
    }


def _traces(reward: str) -> Callable[..., Rule]:
    return lambda trial, **shared: TraceRSTDP(
        **shared, **_of_pairs(trial), reward=reward, tau_eligibility=trial["tau_eligibility"]
    )


# What the study calls a reward, to the rule.
RULES: dict[str, Callable[..., Rule]] = {
    "pm1": lambda trial, **shared: RSTDP(**shared, reward="pm1"),
    "onehot": lambda trial, **shared: RSTDP(**shared, reward="onehot"),
    "trace_end": _traces("end"),
    "trace_online": _traces("online"),
    "stdp": lambda trial, **shared: PairSTDP(**shared, **_of_pairs(trial)),
}


def rule_of(trial: RSTDPTrial) -> Rule:
    """The rule of a trial."""
    rule = RULES[trial["reward"]]
    return rule(trial, lr=trial["lr"], clip=trial["clip"], decay=trial["decay"])


def network_of(trial: RSTDPTrial, features: int, classes: int) -> WinnerTakeAllNetwork:
    """The network of a trial, with the weights that torch's generator gives now."""
    return WinnerTakeAllNetwork(
        features,
        trial["hidden"],
        classes,
        tau=trial["tau"],
        dt=trial["dt"],
        scheme=trial["scheme"],
        v_threshold=trial["v_threshold"],
        input_gain=trial["input_gain"],
        output_gain=trial["output_gain"],
    )


class _Tally:
    """Running sums over the batches of a pass."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.correct = self.silent = self.samples = 0
        self.answering: Tensor | None = None  # which outputs answered a sample by a spike
        self.layers = {"hidden": SpikeStatistics(), "output": SpikeStatistics()}

    def add(self, activity: Activity, labels: Tensor) -> None:
        self.loss += len(labels) * cross_entropy(activity.output_counts, labels).item()
        self.correct += int((activity.answers == labels).sum())
        self.silent += int(activity.silent.sum())
        self.samples += len(labels)
        spoke = torch.zeros(activity.output_counts.shape[1], dtype=torch.bool)
        spoke[activity.answers[~activity.silent].cpu()] = True
        self.answering = spoke if self.answering is None else self.answering | spoke
        steps = activity.steps * len(labels)
        self.layers["hidden"].count(activity.hidden_counts, steps)
        self.layers["output"].count(activity.output_counts, steps)

    def score(self) -> Score:
        """The pseudo cross-entropy takes spike counts for logits."""
        return Score(self.loss / self.samples, 100 * self.correct / self.samples)

    def rates(self, prefix: str) -> dict[str, float]:
        """Spikes per neuron and step of each layer, the samples without an output spike, and the
        number of outputs that answer no sample."""
        rates = {f"{prefix}{k}_rate": v.mean_spike_rate for k, v in self.layers.items()}
        never = 0 if self.answering is None else int((~self.answering).sum())
        return rates | {
            f"{prefix}silent_samples": self.silent / self.samples,
            f"{prefix}silent_outputs": float(never),
        }


def run_trial(
    trial: RSTDPTrial, data: Dataset, device: torch.device, progress: BatchProgress, keeper: Keeper
) -> Iterator[EpochRecord]:
    """Train and test, yielding the record of every epoch.

    A record holds in addition the rates of both layers, the fraction of samples without an output
    spike and the number of outputs that answer none, on the test set and, as ``train_...``, in
    training; the teaching current; and after the last epoch what each output sees, ``images``, C
    lists of one number per pixel.
    """
    seed, size = trial["seed"], trial["batch_size"]
    torch.manual_seed(seed)
    network = network_of(trial, math.prod(data.shape), data.classes).to(device)
    if keeper.epoch:
        restore(keeper.load(), {"network": network})
    rule = rule_of(trial)
    data, aside = held_out(data, trial.get("validation", 0.0), seed)
    whole = len(data.train) >= size
    in_training = min(trial["train_batches"], len(data.train) // size if whole else 1)
    in_test = sum(-(-len(split) // trial["test_batch_size"]) for split in (data.test, aside))

    def encoded(batch: Batch, epoch: int, stream: int) -> Tensor:
        return poisson(
            batch.images.flatten(1),
            trial["steps"],
            method="bernoulli",
            index=batch.index,
            seed=seed,
            epoch=epoch,
            stream=stream,
        )

    for epoch in range(keeper.epoch + 1, trial["epochs"] + 1):
        start = time.perf_counter()
        teach = trial["teach"] * trial["teach_decay"] ** (epoch - 1)
        train, test, validation = _Tally(), _Tally(), _Tally()
        shuffled = batches(data.train, size, seed=seed, epoch=epoch, shuffle=True, drop_last=whole)
        for done, batch in enumerate(itertools.islice(shuffled, in_training), start=1):
            activity = network(encoded(batch, epoch, TRAIN), batch.labels, teach)
            train.add(activity, batch.labels)
            rule.learn(network.output.weight, activity, batch.labels)
            progress.batch(done, in_training + in_test)
        tests = ((test, batch) for batch in batches(data.test, trial["test_batch_size"]))
        asides = ((validation, b) for b in validation_batches(aside, trial["test_batch_size"]))
        for done, (tally, batch) in enumerate(itertools.chain(tests, asides), in_training + 1):
            tally.add(network(encoded(batch, epoch, TEST)), batch.labels)
            progress.batch(done, in_training + in_test)
        found: dict[str, Any] = {"teach": teach} | test.rates("") | train.rates("train_")
        if epoch == trial["epochs"]:
            found["images"] = images(network, data)
            shown = next(batches(data.test, min(COUNTED, len(data.test))))
            found |= cost_of_competing(network, encoded(shown, epoch, TEST))
        seconds = time.perf_counter() - start
        chosen_on = validation if len(aside) else test
        keeper.save(epoch, take({"network": network}), chosen_on.score().accuracy)
        yield EpochRecord(
            epoch=epoch,
            train=train.score(),
            test=test.score(),
            layers=test.layers,
            gradient_norm=math.nan,
            lr=trial["lr"],
            seconds=seconds,
            validation=validation.score() if len(aside) else None,
            found=found,
        )


def cost_of_competing(network: WinnerTakeAllNetwork, x: Tensor) -> dict[str, float]:
    """As of `cost_of`: every layer's neurons are updated in every step, whoever may spike."""
    activity = network(x)
    steps, samples, _ = x.shape
    layers = {}
    for name, module, given, spikes in (
        ("hidden", network.input, x, activity.hidden_counts),
        ("output", network.output, activity.hidden, activity.output_counts),
    ):
        layers[name] = LayerCost(
            of_module(module, dense_of(given) if isinstance(given, SpikeTensor) else given),
            updates=steps * spikes.numel(),
            spikes=int(spikes.sum()),
            sites=steps * spikes.numel(),
        )
    return in_columns(Energy(layers, samples, steps))


def images(network: WinnerTakeAllNetwork, data: Dataset) -> list[list[float]]:
    """What each output sees: ``W_out W_in`` as images ``[C, H * W]``, mean over the channels.

    Rounded to four digits, which is what a picture can show.
    """
    seen = network.output.weight @ network.input.weight
    mean = seen.view(data.classes, data.channels, -1).mean(1)
    return [[float(f"{number:.4g}") for number in row] for row in mean.tolist()]
