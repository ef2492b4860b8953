"""The remedies study: which remedy makes which network learn?

Networks with planted faults, or a user's own, are treated with one remedy after the other and go
through the same short training with the same samples, seed by seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from rich.console import RenderableType
from torch import nn

from saltation.data import batches, load, spec_of
from saltation.encoding import direct
from saltation.kernels.dispatch import in_words, resolve
from saltation.layers.recurrent import neuron_layers
from saltation.stability.cure_trials import CureTrials
from saltation.stepping import Stepped
from saltation.studies.cost import cost_of
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.files import write_whole
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Probe
from saltation.studies.engine.study import Study
from saltation.studies.given import Builder, Given, check_architecture
from saltation.studies.recipes import CURE, NONE, remedies_of
from saltation.studies.remedies.config import RemediesConfig
from saltation.studies.remedies.faults import FAULTS
from saltation.studies.remedies.report import (
    draw_remedies,
    remedies_table,
    remedies_text,
    remedies_verdict,
)
from saltation.studies.remedies.trial import RemediesTrial, Task, made_of, treated
from saltation.training import EpochRecord, Score


class RemediesStudy(Study[RemediesConfig, RemediesTrial]):
    """Train networks with planted faults after one remedy and another.

    >>> from saltation.studies import RemediesStudy
    >>> results = RemediesStudy(networks=["vgg"], faults=["steep"], seeds=[0, 1]).run()
    """

    name = "remedies"
    question = "Which remedy helps a network that does not learn?"
    needs: ClassVar = {"batch_loss": float, "applied": float, "refused": float}
    config_type = RemediesConfig

    def trials(self) -> list[RemediesTrial]:
        c = self.config
        shared = c.model_dump(include={"batch_size", "lr"}) | {"passes": c.epochs}
        if not c.has_samples:
            shared |= c.model_dump(
                include={"depth", "base_channels", "T", "side", "dataset", "samples"}
            )
            fingerprint = spec_of(c.dataset).fingerprint
            shared |= {"data": fingerprint} if fingerprint else {}
        if c.network is not None:
            shared["code"] = Builder.of(c.network).fingerprint
        tried = list(dict.fromkeys([NONE, *c.remedies]))
        return [
            cast(
                RemediesTrial,
                {
                    "network": network,
                    "fault": fault,
                    "remedy": remedy,
                    "seed": seed,
                    **shared,
                    **c.on_threads,
                },
            )
            for network in c.tried
            for fault in c.faults
            for remedy in tried
            for seed in c.seeds
        ]

    def label(self, trial: RemediesTrial) -> str:
        return (
            f"{trial['network']} fault={trial['fault']} remedy={trial['remedy']} "
            f"seed={trial['seed']}"
        )

    def work(self, trial: RemediesTrial) -> float:
        return 30.0 if CURE in remedies_of(trial["remedy"]) else 1.0

    def kernels(self, trial: RemediesTrial, device: torch.device) -> str:
        if self.config.network is not None:
            return "as the network has it"
        spec = spec_of(trial["dataset"])
        shape = (spec.shape[0], trial["side"], trial["side"]) if spec.is_image else spec.shape
        made = made_of(trial | {"base_channels": 1}, shape, spec.classes)
        layer: Any = next(iter(neuron_layers(made).values()))
        probe = torch.zeros(trial["T"], 1, 1, device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def data(self, device: torch.device) -> Any:
        c = self.config
        if c.has_samples:
            return Given.of(str(c.network))
        side = c.side if spec_of(c.dataset).is_image else None
        data = load(c.dataset, c.data_dir, side=side, limit_train=c.samples)
        if c.network is not None:
            images = next(batches(data.train, min(2, len(data.train)))).images
            check_architecture(c.network, direct(images, c.T), data.classes, c.depth)
        return data.to(device)

    def task(self, trial: RemediesTrial, data: Any) -> Task:
        """What a trial begins with, the fault not yet planted."""
        if isinstance(data, Given):
            return Task(*data.made())
        batch = next(batches(data.train, len(data.train)))
        made = made_of(trial, data.shape, data.classes)
        return Task(made.to(batch.images.device), batch.images, batch.labels, None)

    def network(self, trial: RemediesTrial, data: Any) -> nn.Module:
        made = self.task(trial, data).network
        return made.network if isinstance(made, Stepped) else made

    def probe(self, trial: RemediesTrial, data: Any, samples: int, device: torch.device) -> Probe:
        task = self.task(trial, data)
        return Probe(task.x, task.y, task.loss)

    def train(
        self,
        trial: RemediesTrial,
        data: Any,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        start = time.perf_counter()
        torch.manual_seed(trial["seed"])
        task = self.task(trial, data)
        learnt = len(task.y) - len(task.y) // 4
        steps = trial["passes"] * max(1, learnt // trial["batch_size"])
        trials = CureTrials(
            task.network,
            task.x,
            task.y,
            task.loss,
            trial["lr"],
            steps,
            trial["batch_size"],
            trial["seed"],
        )
        network = trials.whole.network
        FAULTS[trial["fault"]](network, trials.sample)
        network, lr, applied, refused = treated(trials, network, trial, task.loss)
        outcome, network = trials.trained(network, lr)
        seconds = time.perf_counter() - start
        found = {"batch_loss": outcome.batch_loss, "applied": applied, "refused": refused}
        unknown = Score(math.nan, math.nan)
        yield EpochRecord(
            epoch=1,
            train=unknown,
            test=Score(outcome.loss, outcome.accuracy),
            layers={},
            gradient_norm=math.nan,
            lr=lr,
            seconds=seconds,
            found={**found, **cost_of(network, trials.sample)},
        )

    def report(self, records: list[Record]) -> None:
        results = self.table(records)
        write_whole(self.folder / "summary.md", remedies_text(results))
        draw_remedies(results, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return remedies_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return remedies_table(results)
