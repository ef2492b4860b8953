"""A trial of the depth study: the network, its training, and what is measured after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.data import Augment, Batch, Dataset, batches, spec_of
from saltation.data.trains import SpikeTrains
from saltation.encoding import direct
from saltation.layers import SpikeStatistics
from saltation.losses import tet_loss
from saltation.ranks import Ranks
from saltation.stability import DepthPenalty, LyapunovPenalty, depth_growth, lyapunov
from saltation.stability.gradients import matrix_health
from saltation.stability.taken import taken
from saltation.stepping import undisturbed
from saltation.studies.cost import COUNTED, cost_of
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.memory import forget_peak, peak
from saltation.studies.engine.passes import passes
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.engine.validation import held_out
from saltation.studies.given import architecture_of
from saltation.studies.recipes import Recipe, treated
from saltation.training import EpochRecord, Optimisation, Score, Task, fit

# Training samples, the first in stored order, that gradients and exponents are measured on. The
# gradient of a matrix [out, in] is a sum of one product per step, sample and place: with fewer of
# these than rows it is singular whatever the network is like.
_GRADED, _PERTURBED = 64, 16

# The penalty that is on growth over depth, and not on λ.
GROWTH = "depth_growth"


class DepthTrial(TrialSettings):
    """The settings of a trial."""

    depth: int
    mode: str
    arch: str
    code: NotRequired[str]
    base_channels: int
    T: int
    beta: NotRequired[float]
    side: int
    epochs: int
    dataset: str
    limit_train: int | None
    limit_test: int | None
    batch_size: int
    lr: float
    optimizer: str
    weight_decay: float
    schedule: str
    clip: float | None
    stable_init: bool
    gain: float
    # Of a penalty.
    reg_type: NotRequired[str]
    estimator: NotRequired[str]
    lambda_reg: NotRequired[float]
    lambda_target: NotRequired[float]
    lyap_threshold: NotRequired[float]
    lyap_every: NotRequired[int]
    lyap_samples: NotRequired[int]
    warmup_epochs: NotRequired[int]
    # Of a recipe.
    surrogate: NotRequired[str]
    batch_norm: NotRequired[str]
    init: NotRequired[str]
    loss: NotRequired[str]
    remedies: NotRequired[str]


class Measured(TypedDict):
    """What `measure` finds."""

    exponent: float
    exponent_error: float
    exponent_finite: float
    growth_by_layer: list[float]
    gradient_by_layer: list[float]
    largest_by_layer: list[float]
    smallest_by_layer: list[float]
    condition_by_layer: list[float]


def network_of(trial: DepthTrial, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of a trial without its remedies, with the weights that torch's generator gives
    now."""
    recipe = Recipe.of(trial)
    network = architecture_of(trial["arch"]).build(
        shape,
        classes,
        trial["depth"],
        base_channels=trial["base_channels"],
        steps=trial["T"],
        init="scaled" if trial["stable_init"] else recipe.init,
        **recipe.options,
        **({"beta": trial["beta"]} if "beta" in trial else {}),
    )
    with torch.no_grad():
        for weight in driving(network).values():
            weight.mul_(trial["gain"])
    return network


def sequence_of(images: Any, trial: DepthTrial) -> Tensor:
    """What the network of a trial is shown, ``[T, B, *shape]``: images at every step, sequences
    ``[B, T, F]`` with time in front, of recorded spikes how many there are in each of T steps."""
    if isinstance(images, SpikeTrains):
        duration = spec_of(trial["dataset"]).duration or images.duration
        return images.counted(trial["T"], duration / trial["T"])
    return images.transpose(0, 1) if images.ndim == 3 else direct(images, trial["T"])


def as_given(images: Any, trial: DepthTrial) -> Tensor:
    """What the network of a trial is called with: images as they are, others as sequences."""
    if isinstance(images, Tensor) and images.ndim != 3:
        return images
    return sequence_of(images, trial)


def driving(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices that drive neurons: all but the last, which is the readout's.

    The readout is of no use for condition numbers: over the classes the gradient of a cross-entropy
    adds up to 0, so that its matrix is singular in any network.
    """
    matrices = {name: p for name, p in network.named_parameters() if p.ndim >= 2}
    return dict(list(matrices.items())[:-1])


class Regularisation:
    """The term that a regularised trial adds to its loss."""

    def __init__(self, trial: DepthTrial) -> None:
        self._trial = trial
        shared: dict[str, Any] = {
            "weight": trial["lambda_reg"],
            "every": trial["lyap_every"],
            "samples": trial["lyap_samples"],
            "warmup_epochs": trial["warmup_epochs"],
            "seed": trial["seed"],
        }
        self._penalty: DepthPenalty | LyapunovPenalty
        if trial["reg_type"] == GROWTH:
            self._penalty = DepthPenalty(**shared)
        else:
            self._penalty = LyapunovPenalty(
                penalty=trial["reg_type"],
                target=trial["lambda_target"],
                threshold=trial["lyap_threshold"],
                estimator=trial["estimator"],
                **shared,
            )
        self.state_dict = self._penalty.state_dict
        self.load_state_dict = self._penalty.load_state_dict

    def __call__(self, network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        return self._penalty(network, sequence_of(batch.images, self._trial), epoch)


class EveryStep:
    """Logits of a network that gives the output of every step, and the term that makes the loss of
    their mean `tet_loss`. So recorded losses are those of the mean, as without it."""

    def __init__(self, network: nn.Module) -> None:
        network.per_step = True  # type: ignore[assignment]
        self._outputs: Tensor | None = None

    def logits(self, model: nn.Module, batch: Batch, epoch: int, training: bool) -> Tensor:
        """Mean over steps."""
        outputs: Tensor = model(batch.images)
        self._outputs = outputs if training else None
        return outputs.mean(0)

    def __call__(self, network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        """What the loss of every step has more than that of the mean."""
        outputs, self._outputs = self._outputs, None
        if outputs is None:
            raise RuntimeError("the term of a step was asked for before its logits")
        return tet_loss(outputs, batch.labels) - cross_entropy(outputs.mean(0), batch.labels)


def run_trial(
    trial: DepthTrial,
    optimisation: Optimisation,
    data: Dataset,
    device: torch.device,
    progress: BatchProgress,
    checkpoints: Checkpoints,
    ranks: Ranks | None = None,
    potentials: bool = False,
) -> Iterator[EpochRecord]:
    """Train the network of a trial; the record of epoch 0 is what is measured before.

    Photographs in colour are cropped and mirrored at random, grey images come as they are.
    """
    seed = trial["seed"]
    torch.manual_seed(seed)
    network = network_of(trial, data.shape, data.classes).to(device)
    is_photograph = isinstance(data.train.images, Tensor) and data.train.images.ndim == 4
    augment = Augment() if is_photograph and data.channels == 3 else None
    data, aside = held_out(data, trial.get("validation", 0.0), seed)
    over = passes(data, aside, trial["batch_size"], seed, ranks, augment)
    recipe = Recipe.of(trial)
    made = treated(
        network, recipe.remedies, data, optimisation.lr, seed, partial(as_given, trial=trial)
    )
    network, optimisation = made.network, replace(optimisation, lr=made.lr)
    every_step = EveryStep(network) if recipe.loss == "tet" else None
    terms = [Regularisation(trial)] if trial["mode"] == "regularised" else []
    fixed = next(batches(data.train, _GRADED))
    counts = (
        {"remedies_applied": made.applied, "remedies_refused": made.refused}
        if "remedies" in recipe.settings
        else {}
    )
    if not checkpoints.epoch:
        before = _untrained(network, fixed, trial)
        yield replace(before, found={**before.found, **counts})

    def logits(model: nn.Module, batch: Batch, epoch: int, training: bool) -> Tensor:
        outputs: Tensor = model(as_given(batch.images, trial))
        return outputs

    task = Task(
        over.train,
        over.test,
        every_step.logits if every_step else logits,
        validation=over.validation,
        terms=[*terms, *([every_step] if every_step else [])],
    )
    forget_peak(device)

    for record in fit(
        network,
        optimisation,
        task,
        device=device,
        on_batch=lambda done: progress.batch(done, over.batches),
        keeper=checkpoints,
        ranks=ranks,
        potentials=potentials,
    ):
        memory = {"peak_memory": peak(device)}
        found = {**measure(network, fixed, trial), **by_layer(record), **memory, **counts}
        if record.epoch == trial["epochs"]:
            shown = next(batches(data.test, min(COUNTED, len(data.test)))).images
            found |= cost_of(network, sequence_of(shown, trial))
        yield replace(record, found=found)
        forget_peak(device)


def _untrained(network: nn.Module, fixed: Batch, trial: DepthTrial) -> EpochRecord:
    start = time.perf_counter()
    before = measure(network, fixed, trial)
    return EpochRecord(
        epoch=0,
        train=Score(math.nan, math.nan),
        test=Score(math.nan, math.nan),
        layers={},
        gradient_norm=math.nan,
        lr=math.nan,
        seconds=time.perf_counter() - start,
        found=before,
    )


def by_layer(record: EpochRecord) -> dict[str, list[float]]:
    """Spikes per neuron and step, and the fraction of dead neurons, of every layer on the test."""
    layers: list[SpikeStatistics] = list(record.layers.values())
    return {
        "rate_by_layer": [layer.mean_spike_rate for layer in layers],
        "dead_by_layer": [layer.dead_fraction for layer in layers],
    }


def measure(network: nn.Module, batch: Batch, trial: DepthTrial) -> Measured:
    """What perturbations and gradients do in the network as training sees it.

    That is with the statistics of the batch in batch normalisation, and without dropout. The
    network, and torch's generator, are left as they were.

    Returns
    -------
    ``exponent``, ``exponent_error``: λ per step by the surrogate's tangent, and its standard error
    over samples; ``exponent_finite``: between two trajectories, as its penalty has it;
    ``growth_by_layer``: log of the growth of a perturbation from each layer to the next, L - 1
    numbers; of the gradient of the cross-entropy with respect to each weight matrix but the
    readout's ``gradient_by_layer``: its norm, ``largest_by_layer``, ``smallest_by_layer``: its
    singular values, ``condition_by_layer``: their ratio. ``exponent_finite`` is NaN where a network
    that normalises all steps together cannot be taken through them one after the other.
    """
    training = network.training
    network.train()
    sequence = sequence_of(batch.images[:_PERTURBED], trial)
    with torch.no_grad():
        tangent = lyapunov(network, sequence, seed=trial["seed"])
        finite = _finite(network, sequence, trial["seed"])
        growth = depth_growth(network, sequence, seed=trial["seed"]).growth
    weights = driving(network)
    with undisturbed(network):
        outputs = network(as_given(batch.images, trial))
        logits = outputs.mean(0) if outputs.ndim == 3 else outputs
        loss = cross_entropy(logits, batch.labels)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    health = [matrix_health(name, g) for name, g in zip(weights, gradients, strict=True)]
    network.train(training)
    return {
        "exponent": float(tangent.exponent),
        "exponent_error": float(tangent.standard_error[0]),
        "exponent_finite": finite,
        "growth_by_layer": growth.mean(1).tolist(),
        "gradient_by_layer": [one.norm for one in health],
        "largest_by_layer": [one.largest for one in health],
        "smallest_by_layer": [one.smallest for one in health],
        "condition_by_layer": [one.condition for one in health],
    }


def _finite(network: nn.Module, sequence: Tensor, seed: int) -> float:
    whole, sequence = taken(network, sequence)
    if whole.whole:
        return math.nan
    return float(lyapunov(whole, sequence, estimator="finite", seed=seed).exponent)
