"""A trial of the depth study: its training, and the terms of its loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.data import Augment, Batch, Dataset, batches
from saltation.losses import tet_loss
from saltation.ranks import Ranks
from saltation.stability import DepthPenalty, LyapunovPenalty
from saltation.studies.cost import COUNTED, cost_of
from saltation.studies.depth.measures import GRADED, by_layer, measure, untrained
from saltation.studies.depth.network import (
    GROWTH,
    DepthTrial,
    as_given,
    network_of,
    sequence_of,
)
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.memory import forget_peak, peak
from saltation.studies.engine.passes import passes
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.validation import held_out
from saltation.studies.recipes import Recipe, treated
from saltation.training import EpochRecord, Optimisation, Task, fit


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
    fixed = next(batches(data.train, GRADED))
    counts = (
        {"remedies_applied": made.applied, "remedies_refused": made.refused}
        if "remedies" in recipe.settings
        else {}
    )
    if not checkpoints.epoch:
        before = untrained(network, fixed, trial)
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
