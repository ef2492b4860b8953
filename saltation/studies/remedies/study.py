"""The remedies study: which remedy makes which network learn?

Networks with planted faults, or a user's own, are treated with one remedy after the other and go
through the same short training with the same samples, seed by seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from rich.console import RenderableType
from torch import Tensor, nn

from saltation.data import DATASETS, batches, load, spec_of, whole_name
from saltation.data.own import HELP
from saltation.encoding import direct
from saltation.errors import ConfigError, SaltationError, choose
from saltation.kernels.dispatch import in_words, resolve
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.stability import REMEDIES, cure
from saltation.stability.cure_trials import CureTrials
from saltation.stepping import Stepped
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Folder, Positive, Seed, Several, Some
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import StudyConfig, names
from saltation.studies.engine.files import write_whole
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import Probe, Settings
from saltation.studies.engine.study import Study
from saltation.studies.given import (
    Builder,
    Given,
    architecture_of,
    check_architecture,
    takes_nothing,
    whole_source,
)
from saltation.studies.recipes import CURE, NONE, Recipe, remedies_of
from saltation.studies.remedies.faults import FAULTS
from saltation.studies.remedies.report import (
    draw_remedies,
    remedies_table,
    remedies_text,
    remedies_verdict,
)
from saltation.training import EpochRecord, Score

# Recipes of networks that learn, for faults to be planted in; others have what is their own.
_HEALTHY = {"surrogate": "sigmoid:2", "batch_norm": "all"}


class RemediesConfig(StudyConfig):
    """Which remedies make which networks learn: networks, faults and remedies, ranked."""

    networks: Annotated[
        list[str],
        Field(min_length=1, description=f"Networks: {names(ARCHITECTURES)}."),
        Several,
    ] = ["vgg", "mlp"]
    network: str | None = None
    """FILE.py:FUNCTION in place of networks. A function of shape, classes, depth and steps, or some
    of them, returns a module from sequences [T, B, C, H, W] to logits [B, classes] for the data
    set; one that takes nothing returns its own samples too, (network, x, y) or (network, x, y,
    loss), as for `saltation diagnose`."""
    faults: Annotated[
        list[str], Field(min_length=1, description=f"Faults to plant: {names(FAULTS)}."), Several
    ] = ["none", "silent", "steep", "large"]
    remedies: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Remedies to try: none, cure, {names(REMEDIES)}; several in a row are "
            "joined by +. What others are compared with, none, is always there.",
        ),
        Several,
    ] = [NONE, *REMEDIES]
    depth: Annotated[int, Field(ge=1, le=1000)] = 8
    """Layers of neurons of the networks."""
    base_channels: Annotated[int, Field(ge=1, le=512)] = 8
    """Channels of the first stage; with mlp, neurons of a layer."""
    T: Count = 4
    """Steps for which an image is shown."""
    side: Annotated[int, Field(ge=1, le=1024)] = 16
    """Height and width in pixels that images are resized to."""
    dataset: str = Field(
        "digits",
        description=f"{names(DATASETS)}; `saltation data list` shows which are present; {HELP}.",
    )
    data_dir: Folder | None = None
    """Folder of the data set, searched before $SALTATION_DATA."""
    samples: Annotated[int, Field(ge=16, le=1_000_000)] = 800
    """Training samples that are used: three quarters to train on, the rest to judge by."""
    epochs: Count = 5
    """Passes over the samples to train on."""
    batch_size: Count = 32
    """Samples of a step."""
    lr: Positive = 3e-3
    """Learning rate of Adam, with a cosine schedule."""
    seeds: Annotated[list[Seed], Some, Several] = [0, 1, 2]
    """One trial each; weights, split and order of samples follow from the seed. Of a user's
    network the weights follow from torch's generator, which is given the seed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for fault in self.faults:
            choose("fault", fault, FAULTS)
        for remedy in self.remedies:
            for name in remedies_of(remedy):
                choose("remedy", name, (NONE, CURE, *REMEDIES))
        if self.has_samples:
            return self
        data = spec_of(self.dataset)
        if data.dt is not None or data.duration is not None:
            raise ConfigError(
                f"this study shows images, and {data.name} holds sequences or spikes "
                "(allowed: images [N, C, H, W], vectors [N, F], or a network with its own samples)"
            )
        for name in self.tried:
            architecture_of(name).check(self.depth, self.side)
            if not data.is_image and name in ARCHITECTURES and name != "mlp":
                raise ConfigError(
                    f"{data.name} holds vectors of {data.shape[-1]} numbers, and {name} takes "
                    "images (allowed: mlp, or a network of yours)"
                )
        return self

    @field_validator("network")
    @classmethod
    def _network_from_any_folder(cls, source: str | None) -> str | None:
        return whole_source(source)

    @field_validator("dataset")
    @classmethod
    def _dataset_from_any_folder(cls, name: str) -> str:
        return whole_name(name)

    @property
    def has_samples(self) -> bool:
        """Whether a user's function returns samples with its network."""
        return self.network is not None and takes_nothing(self.network)

    @property
    def tried(self) -> list[str]:
        """The networks, by the names of the registry or the user's function."""
        return [self.network] if self.network else self.networks

    def least_memory(self) -> float:
        if self.has_samples:
            return 0.0
        pixels = self.side**2
        images = self.samples * spec_of(self.dataset).shape[0] * pixels
        return images + room.FLOAT * self.T * self.batch_size * self.base_channels


class Task(NamedTuple):
    """What a network is to learn.

    Attributes
    ----------
    network
        As it is before any fault; weights are what torch's generator gives.
    x, y
        Samples and labels, to learn from and to be judged by.
    loss
        ``(output, y) -> scalar``, None for the default.
    """

    network: nn.Module | Stepped
    x: Tensor
    y: Tensor
    loss: Any


class RemediesStudy(Study[RemediesConfig]):
    """Train networks with planted faults after one remedy and another.

    >>> from saltation.studies import RemediesStudy
    >>> results = RemediesStudy(networks=["vgg"], faults=["steep"], seeds=[0, 1]).run()
    """

    name = "remedies"
    question = "Which remedy helps a network that does not learn?"
    needs: ClassVar = {"batch_loss": float, "applied": float, "refused": float}
    config_type = RemediesConfig

    def trials(self) -> list[Settings]:
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
            {"network": network, "fault": fault, "remedy": remedy, "seed": seed}
            | shared
            | c.on_threads
            for network in c.tried
            for fault in c.faults
            for remedy in tried
            for seed in c.seeds
        ]

    def label(self, trial: Settings) -> str:
        return (
            f"{trial['network']} fault={trial['fault']} remedy={trial['remedy']} "
            f"seed={trial['seed']}"
        )

    def work(self, trial: Settings) -> float:
        return 30.0 if CURE in remedies_of(trial["remedy"]) else 1.0

    def kernels(self, trial: Settings, device: torch.device) -> str:
        if self.config.network is not None:
            return "as the network has it"
        spec = spec_of(trial["dataset"])
        shape = (spec.shape[0], trial["side"], trial["side"]) if spec.is_image else spec.shape
        made = _of_architecture(trial | {"base_channels": 1}, shape, spec.classes)
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

    def task(self, trial: Settings, data: Any) -> Task:
        """What a trial begins with, the fault not yet planted."""
        if isinstance(data, Given):
            return Task(*data.made())
        batch = next(batches(data.train, len(data.train)))
        made = _of_architecture(trial, data.shape, data.classes)
        return Task(made.to(batch.images.device), batch.images, batch.labels, None)

    def network(self, trial: Settings, data: Any) -> nn.Module:
        made = self.task(trial, data).network
        return made.network if isinstance(made, Stepped) else made

    def probe(self, trial: Settings, data: Any, samples: int, device: torch.device) -> Probe:
        task = self.task(trial, data)
        return Probe(task.x, task.y, task.loss)

    def train(
        self,
        trial: Settings,
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
        network, lr, applied, refused = _treated(trials, network, trial, task.loss)
        outcome = trials.of(network, lr)
        unknown = Score(math.nan, math.nan)
        yield EpochRecord(
            epoch=1,
            train=unknown,
            test=Score(outcome.loss, outcome.accuracy),
            layers={},
            gradient_norm=math.nan,
            lr=lr,
            seconds=time.perf_counter() - start,
            found={"batch_loss": outcome.batch_loss, "applied": applied, "refused": refused},
        )

    def report(self, records: list[dict[str, Any]]) -> None:
        results = self.table(records)
        write_whole(self.folder / "summary.md", remedies_text(results))
        draw_remedies(results, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return remedies_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return remedies_table(results)


def _of_architecture(trial: Settings, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network that learns, of those that can be made to any depth."""
    kind = architecture_of(trial["network"])
    recipe = Recipe(**{name: value for name, value in _HEALTHY.items() if name in kind.takes})
    return kind.build(
        shape,
        classes,
        trial["depth"],
        base_channels=trial["base_channels"],
        steps=trial["T"],
        init="kaiming",
        **recipe.options,
    )


def _treated(
    trials: CureTrials, network: nn.Module, trial: Settings, loss: Any
) -> tuple[nn.Module, float, int, int]:
    """The network with its remedies, the learning rate, and how many were applied and refused."""
    lr, applied, refused = trial["lr"], 0, 0
    for name in remedies_of(trial["remedy"]):
        if name == NONE:
            continue
        adapted = trials.adapted(network)
        try:
            if name == CURE:
                x, y = trials.learnt
                cured = cure(adapted, x, y, loss=loss, lr=lr, seed=trial["seed"])
                network, lr = cured.network, cured.lr
                applied += len(cured.treatments)
            else:
                REMEDIES[name]().apply(adapted, trials.sample)
                applied += 1
        except SaltationError:
            refused += 1
    return network, lr, applied, refused
