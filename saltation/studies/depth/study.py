"""The depth study: shallow spiking networks plateau, deep ones do not train; what makes depth pay?

Every depth is trained by every recipe (surrogate, normalisation, initial weights, loss, remedies),
as it is (vanilla) and with a penalty on its largest Lyapunov exponent or on growth over depth
(regularised), with the same order of samples and dropout, and from the same initial weights but
where a recipe draws others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from rich.console import RenderableType
from torch import nn

from saltation.data import Dataset, batches, spec_of
from saltation.kernels.dispatch import in_words, resolve
from saltation.layers.recurrent import neuron_layers
from saltation.stability import PENALTIES
from saltation.studies.depth.config import DepthConfig, shape_at
from saltation.studies.depth.figures import draw_depth
from saltation.studies.depth.network import (
    GROWTH,
    DepthTrial,
    as_given,
    network_of,
    sequence_of,
)
from saltation.studies.depth.report import depth_summary, depth_text, script_epochs
from saltation.studies.depth.trial import run_trial
from saltation.studies.depth.verdict import health_of, verdict
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.files import write_whole
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Probe
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import held_out, number_held_out
from saltation.studies.given import check_architecture
from saltation.studies.recipes import NONE, Recipe, treated
from saltation.training import EpochRecord


class DepthStudy(Study[DepthConfig, DepthTrial]):
    """Train networks of several depths with and without a penalty on λ.

    >>> from saltation.studies import DepthStudy
    >>> study = DepthStudy(dataset="mnist", depths=[4, 16], base_channels=8, seeds=[0, 1, 2])
    >>> results = study.run()
    """

    name = "depth"
    question = "Does depth pay, and what makes a deep spiking network train?"
    needs: ClassVar = {
        **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "gradient_norm"), float),
        **dict.fromkeys(("lr", "exponent", "exponent_finite"), float),
        **dict.fromkeys(("largest_by_layer", "smallest_by_layer"), list),
        **dict.fromkeys(("gradient_by_layer", "growth_by_layer"), list),
    }
    config_type = DepthConfig
    data_parallel = True

    def trials(self) -> list[DepthTrial]:
        c = self.config
        # A trial has only the settings it depends on, so that others may change around it.
        shared = c.model_dump(
            include={"base_channels", "T", "side", "epochs", "dataset", "limit_train"}
            | {"limit_test", "batch_size", "lr", "optimizer", "weight_decay", "schedule", "clip"}
            | {"stable_init", "gain"}
        )
        shared |= {"T": c.steps} | ({} if c.beta is None else {"beta": c.beta})
        shared = c.of_network | shared
        growth = c.model_dump(include={"lambda_reg", "lyap_every", "lyap_samples", "warmup_epochs"})
        penalised = growth | c.model_dump(include={"lambda_target", "lyap_threshold"})
        modes: list[dict[str, Any]] = [
            {"mode": "vanilla"},
            *(
                {"mode": "regularised", "reg_type": penalty, "estimator": estimator} | penalised
                for penalty in c.reg_type
                if penalty in PENALTIES
                for estimator in c.estimator
            ),
        ]
        if GROWTH in c.reg_type:
            modes.append({"mode": "regularised", "reg_type": GROWTH} | growth)
        return [
            cast(
                DepthTrial,
                {
                    "depth": depth,
                    "seed": seed,
                    **mode,
                    **shared,
                    **recipe.settings,
                    **c.on_threads,
                    **c.of_data,
                },
            )
            for depth in c.depths
            for recipe in c.recipes
            for mode in modes
            for seed in c.all_seeds
        ]

    def label(self, trial: DepthTrial) -> str:
        parts = [str(Recipe.of(trial))]
        if trial["mode"] == "regularised":
            parts.append(" ".join(filter(None, (trial["reg_type"], trial.get("estimator")))))
        how = ", ".join(filter(None, parts)) or "vanilla"
        return f"{trial['arch']} depth={trial['depth']} {how} seed={trial['seed']}"

    def work(self, trial: DepthTrial) -> float:
        if trial["mode"] == "vanilla":
            return float(trial["depth"])
        # An estimate with its gradient costs some three training steps on the samples it looks at.
        samples = min(trial["lyap_samples"], trial["batch_size"])
        return float(trial["depth"] * (1 + 3 * samples / trial["batch_size"] / trial["lyap_every"]))

    def kernels(self, trial: DepthTrial, device: torch.device) -> str:
        spec = spec_of(trial["dataset"])
        shape = shape_at(spec, trial["side"])
        with torch.random.fork_rng(devices=[]):
            slim = network_of(trial | {"base_channels": 1}, shape, spec.classes)
        layer: Any = next(iter(neuron_layers(slim).values()), None)
        if layer is None:
            return "as the network has it"
        probe = torch.zeros(trial["T"], 1, 1, device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        c = self.config
        if c.network is not None:
            images = next(batches(data.train, min(2, len(data.train)))).images
            x_seq = sequence_of(images, self.trials()[0])
            check_architecture(c.network, x_seq, data.classes, c.depths[0])
        return data.to(device)

    def network(self, trial: DepthTrial, data: Dataset) -> nn.Module:
        """As the trial had it when training began: remedies look at samples and initial weights, so
        that both are needed."""
        remedies = Recipe.of(trial).remedies
        if remedies == NONE:
            return network_of(trial, data.shape, data.classes)
        samples = data if len(data.train) else self.config.load()
        seen, _ = held_out(samples, trial.get("validation", 0.0), trial["seed"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial["seed"])
            network = network_of(trial, data.shape, data.classes).to(seen.train.images.device)
            given = partial(as_given, trial=trial)
            return treated(network, remedies, seen, trial["lr"], trial["seed"], given).network

    def probe(self, trial: DepthTrial, data: Dataset, samples: int, device: torch.device) -> Probe:
        batch = next(batches(data.test, min(samples, len(data.test))))
        return Probe(sequence_of(batch.images, trial), batch.labels)

    def train(
        self,
        trial: DepthTrial,
        data: Dataset,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        optimisation = self.config.optimisation
        return run_trial(
            trial,
            optimisation,
            data,
            device,
            progress,
            checkpoints,
            self.ranks,
            self.config.tensorboard,
        )

    def results(self, records: list[Record]) -> Any:
        return script_epochs(records, self.config) | {"trials": records}

    def findings(self, record: Record) -> dict[str, Any]:
        """The best test accuracy beside the last, and what the report says of gradients."""
        scores = [e["test_accuracy"] for e in record["epochs"] if e["test_accuracy"] is not None]
        last = record["epochs"][-1] if record["epochs"] else None
        # With a validation split nothing is chosen on the test set.
        best = {} if self.config.validation else {"best_test_accuracy": max(scores, default=None)}
        recipe = {"recipe": str(Recipe.of(record["settings"]))}
        return recipe | best | health_of(last)

    def report(self, records: list[Record]) -> None:
        write_whole(self.folder / "summary.md", depth_text(self.table(records)))
        draw_depth(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return depth_summary(results)
