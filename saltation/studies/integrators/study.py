"""The integrators study: which scheme and step train a spiking network, and which break it.

The same network is trained with every scheme and dt from the same weights, in the same order of
samples and on the same input spikes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from rich.console import Group, RenderableType
from torch import Tensor, nn

from saltation.data import DATASETS, Batch, Dataset, batches
from saltation.encoding import ENCODERS
from saltation.errors import ConfigError, choose
from saltation.kernels.dispatch import in_words, resolve
from saltation.kernels.events import SpikeTensor, dense_of
from saltation.layers import READOUTS
from saltation.models import spiking_mlp
from saltation.neurons import (
    NEURONS,
    Neuron,
    get_neuron,
    known_parameters,
    model_of,
    whole_name,
)
from saltation.random import TEST, TRAIN
from saltation.schemes import SCHEMES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Positive, Several, Some
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import DataConfig, GradientConfig, names
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import Probe, Settings
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import held_out, number_held_out, validation_batches
from saltation.studies.integrators.figures import draw_integrators
from saltation.studies.report.accuracy import accuracy_tables
from saltation.studies.report.tables import integrators_tables
from saltation.surrogate import Sigmoid
from saltation.training import EpochRecord, fit

MOST_STEPS = 1_000_000


class IntegratorsConfig(GradientConfig, DataConfig):
    """Which integrator and time step train a spiking network, and which break it."""

    neurons: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Neuron models: {names(NEURONS)}, or of a file, as in my.py:AdEx.",
        ),
        Several,
    ] = ["lif", "izhikevich"]
    schemes: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Integration schemes: {names(SCHEMES)}. Those a neuron does not have are "
            "left out.",
        ),
        Several,
    ] = ["euler", "exponential", "symplectic", "symplectic_v"]
    dt: Annotated[list[Positive], Some, Several] = [0.05, 0.5, 2.0, 5.0]
    """Lengths of a step, in the unit of time of tau."""
    steps: Count | None = None
    """Steps of every trial. Default 50, if bio_time is not given."""
    bio_time: Positive | None = None
    """Simulated time of every trial, in place of steps: steps = bio_time / dt, at least 1."""
    readout: str = Field("max", description=f"Of the output layer over time: {names(READOUTS)}.")
    hidden: Annotated[list[Count], Field(min_length=1, max_length=100)] = [256]
    """Neurons of each hidden layer."""
    tau: Positive = 2.0
    """Membrane time constant of the models that have a ``tau``."""
    encoder: str | None = Field(
        None,
        description=f"From images to spikes: {names(ENCODERS)}. Without it: exact with steps, "
        "common_times (the same events for every dt) with bio_time.",
    )

    @field_validator("neurons")
    @classmethod
    def _from_any_folder(cls, neurons: list[str]) -> list[str]:
        return [whole_name(neuron) for neuron in neurons]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for neuron in self.neurons:
            get_neuron(neuron)
        for scheme in self.schemes:
            choose("scheme", scheme, SCHEMES)
        choose("readout", self.readout, READOUTS)
        if self.encoder is not None:
            choose("encoder", self.encoder, ENCODERS)
        if self.steps is not None and self.bio_time is not None:
            raise ConfigError(
                f"give either steps or bio_time, got steps={self.steps} and "
                f"bio_time={self.bio_time:g}"
            )
        for dt in self.dt:
            if self.steps_at(dt) > MOST_STEPS:
                raise ConfigError(
                    f"bio_time / dt must be at most {MOST_STEPS} steps, got {self.bio_time:g} / "
                    f"{dt:g}"
                )
        for neuron in self.neurons:
            if not set(self.schemes) & set(get_neuron(neuron).schemes):
                raise ConfigError(
                    f"schemes: {get_neuron(neuron).title} has none of {', '.join(self.schemes)} "
                    f"(allowed: {', '.join(get_neuron(neuron).schemes)})"
                )
        return self

    def steps_at(self, dt: float) -> int:
        """Number of steps of a trial with this dt."""
        if self.bio_time is None:
            return self.steps or 50
        return max(1, round(self.bio_time / dt))

    def least_memory(self) -> float:
        data = DATASETS[self.dataset]
        widths = [math.prod(data.shape), *self.hidden, data.classes]
        weights = sum(a * b for a, b in itertools.pairwise(widths))
        batch = min(self.batch_size, self.limit_train or data.samples, data.samples)
        # Backpropagation needs every potential of every step.
        steps = max(map(self.steps_at, self.dt))
        return room.LEARNED * weights + room.FLOAT * steps * batch * sum(self.hidden)


class IntegratorsStudy(Study[IntegratorsConfig]):
    """Train one network with every neuron, scheme, dt and seed of a grid.

    >>> from saltation.studies import IntegratorsStudy
    >>> results = IntegratorsStudy(dataset="digits", dt=[0.5, 5.0], epochs=5).run()
    """

    name = "integrators"
    needs: ClassVar = {"mean_spike_rate": float}
    config_type = IntegratorsConfig
    data_parallel = True

    def trials(self) -> list[Settings]:
        c = self.config
        return [
            {
                "neuron": neuron,
                "scheme": scheme,
                "dt": dt,
                "steps": c.steps_at(dt),
                "readout": c.readout,
                "seed": seed,
                "epochs": c.epochs,
                "dataset": c.dataset,
                "limit_train": c.limit_train,
                "limit_test": c.limit_test,
                "hidden": list(c.hidden),
                "tau": c.tau,
                "encoder": c.encoder or ("exact" if c.bio_time is None else "common_times"),
                "batch_size": c.batch_size,
                "lr": c.lr,
                "optimizer": c.optimizer,
                "schedule": c.schedule,
                "clip": c.clip,
            }
            | c.on_threads
            | c.put_aside
            for neuron in c.neurons
            for scheme in c.schemes
            if scheme in get_neuron(neuron).schemes
            for dt in c.dt
            for seed in c.seeds
        ]

    def notes(self) -> str:
        """One line on schemes that a neuron does not have; empty if there are none."""
        gaps = []
        for neuron in self.config.neurons:
            missing = [s for s in self.config.schemes if s not in get_neuron(neuron).schemes]
            if missing:
                gaps.append(f"{get_neuron(neuron).title} has no {', '.join(missing)}")
        return f"left out: {'; '.join(gaps)}" if gaps else ""

    def label(self, trial: Settings) -> str:
        return f"{trial['neuron']} {trial['scheme']} dt={trial['dt']:g} seed={trial['seed']}"

    def work(self, trial: Settings) -> float:
        return float(trial["steps"])

    def kernels(self, trial: Settings, device: torch.device) -> str:
        probe = torch.zeros(trial["steps"], 1, 1, device=device)
        return in_words(resolve("auto", neuron_of(trial), Sigmoid(), probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        return data.to(device)

    def network(self, trial: Settings, data: Dataset) -> nn.Sequential:
        return network_of(trial, data)

    def probe(self, trial: Settings, data: Dataset, samples: int, device: torch.device) -> Probe:
        batch = next(batches(data.test, min(samples, len(data.test))))
        x_seq = encoded(trial, batch, epoch=1, stream=TEST)
        return Probe(dense_of(x_seq) if isinstance(x_seq, SpikeTensor) else x_seq, batch.labels)

    def train(
        self,
        trial: Settings,
        data: Dataset,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        seed, size = trial["seed"], trial["batch_size"]
        torch.manual_seed(seed)
        network = self.network(trial, data).to(device)
        data, aside = held_out(data, trial.get("validation", 0.0), seed)
        whole_batches = len(data.train) >= size
        part = self.ranks.part if self.ranks else (0, 1)
        tests = -(-len(data.test) // size) + -(-len(aside) // size)
        per_epoch = (len(data.train) // size if whole_batches else 1) + tests

        def logits(model: nn.Module, batch: Batch, epoch: int, training: bool) -> Tensor:
            outputs: Tensor = model(encoded(trial, batch, epoch, TRAIN if training else TEST))
            return outputs

        return fit(
            network,
            self.config.optimisation,
            train=lambda epoch: batches(
                data.train,
                size,
                seed=seed,
                epoch=epoch,
                shuffle=True,
                drop_last=whole_batches,
                part=part,
            ),
            test=lambda epoch: batches(data.test, size, part=part),
            validation=(lambda _: validation_batches(aside, size, part)) if len(aside) else None,
            logits=logits,
            device=device,
            on_batch=lambda done: progress.batch(done, per_epoch),
            keeper=checkpoints,
            potentials=self.config.tensorboard,
            ranks=self.ranks,
        )

    def report(self, records: list[dict[str, Any]]) -> None:
        draw_integrators(records, self.folder / "figures")

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return Group(integrators_tables(results), accuracy_tables(results))


def neuron_of(trial: Settings) -> Neuron:
    """The neuron of a trial."""
    return model_of(trial["neuron"], tau=trial["tau"], dt=trial["dt"], scheme=trial["scheme"])


def encoded(trial: Settings, batch: Batch, epoch: int, stream: int) -> Tensor:
    """A batch as spikes ``[T, B, F]``."""
    return ENCODERS[trial["encoder"]](
        batch.images.flatten(1),
        trial["steps"],
        trial["dt"],
        index=batch.index,
        seed=trial["seed"],
        epoch=epoch,
        stream=stream,
    )


def network_of(trial: Settings, data: Dataset) -> nn.Sequential:
    """The network of a trial, with the weights that torch's generator gives now."""
    features = data.channels * data.side * data.side
    return spiking_mlp(
        (features, *trial["hidden"], data.classes),
        neuron=trial["neuron"],
        readout=trial["readout"],
        **known_parameters(
            trial["neuron"], tau=trial["tau"], dt=trial["dt"], scheme=trial["scheme"]
        ),
    )
