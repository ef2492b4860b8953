"""The depth study: shallow spiking networks plateau, deep ones do not train; does controlling λ
make depth pay?

Every depth is trained as it is (vanilla) and with a penalty on its largest Lyapunov exponent
(regularised), from the same initial weights, with the same order of samples and dropout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
import torch
from pydantic import Field, model_validator
from rich.console import RenderableType
from torch import nn

from saltation.data import DATASETS, Dataset, batches, load
from saltation.encoding import direct
from saltation.errors import ConfigError, choose
from saltation.kernels.dispatch import in_words, resolve
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.stability import ESTIMATORS, PENALTIES
from saltation.studies import room
from saltation.studies.bounds import AtLeast0, Count, Finite, Folder, Positive, Seed, Several, Some
from saltation.studies.checkpoints import Checkpoints
from saltation.studies.config import HOW, DataConfig, GradientConfig, names
from saltation.studies.depth_figures import draw_depth
from saltation.studies.depth_report import depth_summary, depth_text, script_epochs
from saltation.studies.depth_trial import network_of, run_trial
from saltation.studies.depth_verdict import health_of
from saltation.studies.files import write_whole
from saltation.studies.progress import BatchProgress
from saltation.studies.runner import Probe, Settings, Study
from saltation.studies.validation import number_held_out
from saltation.training import OPTIMIZERS, SCHEDULES, EpochRecord, Optimisation

Layers = Annotated[int, Field(ge=1, le=1000)]


class DepthConfig(GradientConfig, DataConfig):
    """Whether control of the Lyapunov exponent makes depth pay in spiking networks."""

    dataset: str = Field(
        "cifar100", description=f"{names(DATASETS)}; `saltation data list` shows which are present."
    )
    depths: Annotated[list[Layers], Some, Several] = [4, 8, 12, 16]
    """Layers of neurons. With vgg 4 stages share them equally; up to 4 are stages of one."""
    arch: str = Field("vgg", description=f"Networks: {names(ARCHITECTURES)}.")
    base_channels: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels of the first stage, doubled by every further one up to 512; with mlp, neurons of a
    layer."""
    T: Count = 4
    """Steps for which an image is shown."""
    side: Annotated[int, Field(ge=1, le=1024)] = 32
    """Height and width in pixels that images are resized to."""
    epochs: Count = 100
    """Passes over the training set."""
    lr: Positive = 1e-3
    """Learning rate."""
    optimizer: str = Field("adamw", description=f"{names(OPTIMIZERS)} (with momentum 0.9).")
    weight_decay: AtLeast0 = 1e-4
    """Decay of the weights."""
    schedule: str = Field("cosine", description=f"Of the learning rate: {names(SCHEDULES)}.")
    clip: Positive | None = 10.0
    """Largest norm of the gradient."""
    reg_type: Annotated[
        list[str],
        Field(min_length=1, description=f"Penalties on λ: {names(PENALTIES)}."),
        Several,
    ] = ["squared"]
    estimator: Annotated[
        list[str],
        Field(min_length=1, description=f"How the penalty estimates λ: {names(ESTIMATORS)}."),
        Several,
    ] = ["telescoped"]
    lambda_reg: Positive = 0.3
    """Weight of the penalty in the loss."""
    lambda_target: Finite = -0.1
    """λ per step that squared and adaptive_sigmoid aim at."""
    lyap_threshold: Finite = 2.0
    """λ from which extreme and adaptive_* penalise."""
    lyap_every: Count = 4
    """Training steps from one estimate of λ to the next."""
    lyap_samples: Count = 4
    """Samples of a batch that λ is estimated on; more than there are mean all."""
    warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Epochs over which the weight of the penalty rises to its value."""
    stable_init: bool = False
    """Initial weights half as large."""
    gain: Positive = 1.0
    """Factor on all initial weights but the readout's."""
    seed: Seed | None = None
    """One seed, in place of seeds."""
    seeds: Annotated[list[Seed], Some, Several] = [42]
    """One trial each; weights, order of samples and dropout follow from the seed. Intervals, and a
    verdict, need at least two."""
    data_dir: Folder | None = Path("data")
    """Folder of the data set, searched before $SALTATION_DATA."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        choose("architecture", self.arch, ARCHITECTURES)
        for depth in self.depths:
            ARCHITECTURES[self.arch].check(depth, self.side)
        for penalty in self.reg_type:
            choose("reg_type", penalty, PENALTIES)
        for estimator in self.estimator:
            choose("estimator", estimator, ESTIMATORS)
        if self.seed is not None and self.seeds != [42] and self.seed not in self.seeds:
            raise ConfigError(
                f"give either seed or seeds, got seed={self.seed} and "
                f"seeds={' '.join(map(str, self.seeds))}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _as_recorded(cls, given: Any) -> Any:
        """Progress by the name that the script's config has for its opposite, and the first of the
        seeds once."""
        if isinstance(given, dict) and "no_progress" in given:
            given = dict(given)
            given["progress"] = not given.pop("no_progress")
            if given.get("seeds"):
                given.pop("seed", None)
        return given

    @property
    def all_seeds(self) -> list[int]:
        """The seeds, however they were given."""
        return self.seeds if self.seed is None or self.seeds != [42] else [self.seed]

    def recorded(self) -> dict[str, Any]:
        """All settings, with the names and fields that the script's config has."""
        return self.model_dump(mode="json", exclude=set(HOW)) | {
            "seed": self.all_seeds[0],
            "seeds": self.all_seeds,
            "no_progress": not self.progress,
        }

    @property
    def optimisation(self) -> Optimisation:
        return Optimisation(
            epochs=self.epochs,
            lr=self.lr,
            optimizer=self.optimizer,
            schedule=self.schedule,
            weight_decay=self.weight_decay,
            clip=self.clip,
        )

    def least_memory(self) -> float:
        data = DATASETS[self.dataset]
        pixels = self.side**2
        samples = min(self.limit_train or data.samples, data.samples)
        batch = min(self.batch_size, samples)
        # One byte for every value of the images, and the potentials of one layer at every step.
        images = samples * data.shape[0] * pixels
        sites = 1 if self.arch == "mlp" else pixels // 16
        return images + room.FLOAT * self.T * batch * self.base_channels * max(1, sites)

    def load(self) -> Dataset:
        return load(
            self.dataset,
            self.data_dir,
            side=self.side,
            limit_train=self.limit_train,
            limit_test=self.limit_test,
        )


class DepthStudy(Study[DepthConfig]):
    """Train networks of several depths with and without a penalty on λ.

    >>> from saltation.studies import DepthStudy
    >>> study = DepthStudy(dataset="mnist", depths=[4, 16], base_channels=8, seeds=[0, 1, 2])
    >>> results = study.run()
    """

    name = "depth"
    needs: ClassVar = {
        **dict.fromkeys(("train_loss", "train_accuracy", "test_loss", "gradient_norm"), float),
        **dict.fromkeys(("lr", "exponent", "exponent_finite"), float),
        **dict.fromkeys(("largest_by_layer", "smallest_by_layer"), list),
        **dict.fromkeys(("gradient_by_layer", "growth_by_layer"), list),
    }
    config_type = DepthConfig
    data_parallel = True

    def trials(self) -> list[Settings]:
        c = self.config
        # A trial has only the settings it depends on, so that others may change around it.
        shared = c.model_dump(
            include={"arch", "base_channels", "T", "side", "epochs", "dataset", "limit_train"}
            | {"limit_test", "batch_size", "lr", "optimizer", "weight_decay", "schedule", "clip"}
            | {"stable_init", "gain"}
        )
        penalised = c.model_dump(
            include={"lambda_reg", "lambda_target", "lyap_threshold", "lyap_every", "lyap_samples"}
            | {"warmup_epochs"}
        )
        modes = [
            {"mode": "vanilla"},
            *(
                {"mode": "regularised", "reg_type": penalty, "estimator": estimator} | penalised
                for penalty in c.reg_type
                for estimator in c.estimator
            ),
        ]
        return [
            {"depth": depth, "seed": seed} | mode | shared | c.on_threads | c.put_aside
            for depth in c.depths
            for mode in modes
            for seed in c.all_seeds
        ]

    def label(self, trial: Settings) -> str:
        how = trial["mode"]
        if how == "regularised":
            how = f"{trial['reg_type']} {trial['estimator']}"
        return f"{trial['arch']} depth={trial['depth']} {how} seed={trial['seed']}"

    def work(self, trial: Settings) -> float:
        if trial["mode"] == "vanilla":
            return float(trial["depth"])
        # An estimate with its gradient costs some three training steps on the samples it looks at.
        samples = min(trial["lyap_samples"], trial["batch_size"])
        return float(trial["depth"] * (1 + 3 * samples / trial["batch_size"] / trial["lyap_every"]))

    def kernels(self, trial: Settings, device: torch.device) -> str:
        slim = network_of(trial | {"base_channels": 1}, (1, trial["side"], trial["side"]), 2)
        layer: Any = next(iter(neuron_layers(slim).values()))
        probe = torch.zeros(trial["T"], 1, 1, device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        return data.to(device)

    def network(self, trial: Settings, data: Dataset) -> nn.Module:
        return network_of(trial, data.shape, data.classes)

    def probe(self, trial: Settings, data: Dataset, samples: int, device: torch.device) -> Probe:
        batch = next(batches(data.test, min(samples, len(data.test))))
        return Probe(direct(batch.images, trial["T"]), batch.labels)

    def train(
        self,
        trial: Settings,
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

    def results(self, records: list[dict[str, Any]]) -> Any:
        return script_epochs(records, self.config) | {"trials": records}

    def findings(self, record: dict[str, Any]) -> dict[str, Any]:
        """The best test accuracy beside the last, and what the report says of gradients."""
        scores = [e["test_accuracy"] for e in record["epochs"] if e["test_accuracy"] is not None]
        last = record["epochs"][-1] if record["epochs"] else None
        # With a validation split nothing is chosen on the test set.
        best = {} if self.config.validation else {"best_test_accuracy": max(scores, default=None)}
        return best | (health_of(last) if last else {})

    def report(self, records: list[dict[str, Any]]) -> None:
        write_whole(self.folder / "summary.md", depth_text(self.table(records)))
        draw_depth(records, self.folder / "figures")

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return depth_summary(results)
