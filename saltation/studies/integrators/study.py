"""The integrators study: which scheme and step train a spiking network, and which break it.

The same network is trained with every scheme and dt from the same weights, in the same order of
samples and on the same input spikes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from rich.console import Group, RenderableType
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.data import Batch, Dataset, at_steps, batches, spec_of
from saltation.data.sequences import steps_of
from saltation.encoding import ENCODERS
from saltation.errors import ConfigError, choose
from saltation.kernels.dispatch import in_words, resolve
from saltation.kernels.events import SpikeTensor, dense_of
from saltation.layers import READOUTS, LeakyIntegrator
from saltation.layers.recurrent import neuron_layers
from saltation.losses import mse_loss
from saltation.models import spiking_mlp
from saltation.models.mlp import SpikingMLP
from saltation.neurons import (
    NEURONS,
    Neuron,
    get_neuron,
    known_parameters,
    model_of,
    whole_name,
)
from saltation.neurons.impulse import INPUTS
from saltation.random import TEST, TRAIN
from saltation.schemes import SCHEMES
from saltation.studies.cost import COUNTED, cost_of
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Positive, Several, Some
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import DataConfig, GradientConfig, names
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import Probe, Settings
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import held_out, number_held_out, validation_batches
from saltation.studies.given import Builder, whole_source
from saltation.studies.integrators.figures import draw_integrators
from saltation.studies.integrators.verdict import verdict
from saltation.studies.report.accuracy import accuracy_tables
from saltation.studies.report.tables import integrators_tables
from saltation.surrogate import Sigmoid
from saltation.training import EpochRecord, Optimisation, fit

MOST_STEPS = 1_000_000
# The encoder of sequences: the current that they are, at the steps of the network.
CURRENTS = "currents"
# That of recorded spikes: they are binned to the steps.
EVENTS = "events"
# In place of a readout over time where targets are of every step: see `LeakyIntegrator`.
INTEGRATOR = "integrator"
BIO_TIME = 5.0  # that of the comparison at a fixed time in the notebook


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
    bio_time: Positive | None = None
    """Simulated time of every trial: steps = bio_time / dt, at least 1. Without steps, 5."""
    steps: Count | None = None
    """Steps of every trial, whatever its dt, in place of bio_time."""
    input: Annotated[
        list[str],
        Field(
            description="What a spike is to a neuron: impulse, a jump of the same charge at every "
            "dt, or held, a current for the step that it is in, whose charge grows with dt. "
            "Default: impulse with bio_time, held with steps; both side by side: impulse held.",
        ),
        Several,
    ] = []
    readout: str = Field("max", description=f"Of the output layer over time: {names(READOUTS)}.")
    hidden: Annotated[list[Count], Field(min_length=1, max_length=100)] = [256]
    """Neurons of each hidden layer."""
    tau: Positive = 2.0
    """Membrane time constant of the models that have a ``tau``."""
    encoder: str | None = Field(
        None,
        description=f"From images to spikes: {names(ENCODERS)}. Without it: common_times (the same "
        "events for every dt) with bio_time, exact with steps. Sequences are currents, averaged "
        "over each step.",
    )
    network: str | None = None
    """FILE.py:FUNCTION that builds the network in place of the one with hidden layers: of shape,
    classes, neuron, scheme, dt, steps, tau and input it takes those that it names, and returns a
    module from sequences [T, B, *shape] to logits [B, classes]."""

    accumulate: Count = 1
    """Batches whose mean gradient one change of the weights follows: as a batch that many times as
    large, in the memory of one."""

    @field_validator("neurons")
    @classmethod
    def _from_any_folder(cls, neurons: list[str]) -> list[str]:
        return [whole_name(neuron) for neuron in neurons]

    @field_validator("network")
    @classmethod
    def _network_from_any_folder(cls, source: str | None) -> str | None:
        return whole_source(source)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for neuron in self.neurons:
            get_neuron(neuron)
        for kind in self.input:
            choose("input", kind, INPUTS)
        if "impulse" in self.inputs and self._takes_currents:
            raise ConfigError(
                "input 'impulse' is of spikes into neurons that are told so: not of sequences, nor "
                "of a network whose function does not take input (allowed: held)"
            )
        for neuron in self.neurons if "impulse" in self.inputs else ():
            model_of(neuron, input="impulse")  # one that has none says so
        for scheme in self.schemes:
            choose("scheme", scheme, SCHEMES)
        choose("readout", self.readout, READOUTS)
        if self.encoder is not None:
            choose("encoder", self.encoder, ENCODERS)
        own = type(self).model_fields["readout"].default
        if self.network is not None and (self.hidden != [256] or self.readout != own):
            raise ConfigError(
                f"{self.network} builds the whole network: give neither hidden nor readout"
            )
        data = spec_of(self.dataset)
        if data.regression and self.readout != own:
            raise ConfigError(
                f"{data.name} has a target at every step, which leaky integrators answer: give no "
                "readout"
            )
        if data.duration is not None and self.encoder is not None:
            raise ConfigError(f"{data.name} holds spikes, which are not encoded: give no encoder")
        for name in ("steps", "bio_time", "encoder") if data.dt is not None else ():
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"{data.name} holds sequences of {data.shape[0]} samples, {data.dt:g} apart: "
                    f"they say how long trials are and what neurons are given; give no {name}"
                )
        if self.steps is not None and self.bio_time is not None:
            raise ConfigError(
                f"give either steps or bio_time, got steps={self.steps} and "
                f"bio_time={self.bio_time:g}"
            )
        for dt in self.dt:
            if self.steps_at(dt) > MOST_STEPS:
                raise ConfigError(
                    f"{'steps' if self.steps else 'bio_time / dt'} must be at most {MOST_STEPS} "
                    f"steps, got {self.steps_at(dt)} with dt={dt:g}"
                )
        for neuron in self.neurons:
            if not set(self.schemes) & set(get_neuron(neuron).schemes):
                raise ConfigError(
                    f"schemes: {get_neuron(neuron).title} has none of {', '.join(self.schemes)} "
                    f"(allowed: {', '.join(get_neuron(neuron).schemes)})"
                )
        return self

    @property
    def time(self) -> float:
        """Simulated time of a trial, where it is the same for every dt."""
        return BIO_TIME if self.bio_time is None else self.bio_time

    @property
    def inputs(self) -> list[str]:
        """What a spike is to a neuron, in each of the trials' conventions."""
        return self.input or ["held" if self.steps or self._takes_currents else "impulse"]

    @property
    def _takes_currents(self) -> bool:
        """Whether neurons cannot be given impulses: of sequences, and in a user's network that does
        not ask for the convention."""
        own = self.network is not None and "input" not in Builder.of(self.network).names
        return own or spec_of(self.dataset).dt is not None

    def steps_at(self, dt: float) -> int:
        """Number of steps of a trial with this dt."""
        data = spec_of(self.dataset)
        if data.dt is not None:
            return steps_of(data.shape[0], data.dt, dt)
        if data.duration is not None and self.bio_time is None:
            return self.steps or steps_of(1, data.duration, dt)
        return self.steps or max(1, round(self.time / dt))

    @property
    def encoding(self) -> str:
        """From samples to what the network is given."""
        if spec_of(self.dataset).dt is not None:
            return CURRENTS
        if spec_of(self.dataset).duration is not None:
            return EVENTS
        return self.encoder or ("exact" if self.steps else "common_times")

    @property
    def optimisation(self) -> Optimisation:
        return replace(super().optimisation, accumulate=self.accumulate)

    @property
    def on_batches(self) -> dict[str, int]:
        """What accumulation adds to a trial's settings: nothing where there is none."""
        return {} if self.accumulate == 1 else {"accumulate": self.accumulate}

    @property
    def of_task(self) -> dict[str, str]:
        """What a set of targets adds to trials: nothing is added by one of labels, whose trials are
        those of studies from before there was a choice."""
        return {"task": "regression"} if spec_of(self.dataset).regression else {}

    @property
    def of_network(self) -> dict[str, Any]:
        """Settings that a network of the user's adds to trials: where it is, and what it is."""
        if self.network is None:
            return {}
        return {"network": self.network, "code": Builder.of(self.network).fingerprint}

    def least_memory(self) -> float:
        data = spec_of(self.dataset)
        features = math.prod(data.shape) if data.dt is None else data.shape[1]
        widths = [features, *self.hidden, data.classes]
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
    question = "Which integration scheme and time step let a spiking network learn?"
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
                "readout": INTEGRATOR if c.of_task else c.readout,
                "seed": seed,
                "epochs": c.epochs,
                "dataset": c.dataset,
                "limit_train": c.limit_train,
                "limit_test": c.limit_test,
                "hidden": list(c.hidden),
                "tau": c.tau,
                "input": kind,
                "encoder": c.encoding,
                "batch_size": c.batch_size,
                "lr": c.lr,
                "optimizer": c.optimizer,
                "schedule": c.schedule,
                "clip": c.clip,
            }
            | c.on_threads
            | c.on_batches
            | c.of_data
            | c.of_task
            | c.of_network
            for kind in c.inputs
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
        kind = f" {trial['input']}" if len(self.config.inputs) > 1 else ""
        return f"{trial['neuron']} {trial['scheme']}{kind} dt={trial['dt']:g} seed={trial['seed']}"

    def work(self, trial: Settings) -> float:
        return float(trial["steps"])

    def kernels(self, trial: Settings, device: torch.device) -> str:
        probe = torch.zeros(trial["steps"], 1, 1, device=device)
        return in_words(resolve("auto", neuron_of(trial), Sigmoid(), probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        if self.config.network is not None:
            self._check_network(data)
        return data.to(device)

    def _check_network(self, data: Dataset) -> None:
        """See that a user's network can be trained, before the first trial."""
        trial = self.trials()[0]
        with torch.random.fork_rng(devices=[]):
            network = self.network(trial, data)
        if not neuron_layers(network):
            raise ConfigError(
                f"{self.config.network}: the network has no neuron layers of saltation, whose "
                "scheme and dt this study compares"
            )
        batch = next(batches(data.train, 2))
        x_seq = encoded(trial, batch, epoch=1, stream=TRAIN)
        Builder.of(trial["network"]).check(network, x_seq, data.classes, of_steps=data.regression)

    def network(self, trial: Settings, data: Dataset) -> nn.Module:
        return network_of(trial, data)

    def probe(self, trial: Settings, data: Dataset, samples: int, device: torch.device) -> Probe:
        batch = next(batches(data.test, min(samples, len(data.test))))
        x_seq = encoded(trial, batch, epoch=1, stream=TEST)
        x = dense_of(x_seq) if isinstance(x_seq, SpikeTensor) else x_seq
        return Probe(x, batch.labels, loss_of(trial, data) if data.regression else None)

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

        records = fit(
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
            loss=loss_of(trial, data),
            device=device,
            on_batch=lambda done: progress.batch(done, per_epoch),
            keeper=checkpoints,
            potentials=self.config.tensorboard,
            ranks=self.ranks,
        )
        for record in records:
            yield self.measured(record, network, trial, data)

    def measured(
        self, record: EpochRecord, network: nn.Module, trial: Settings, data: Dataset
    ) -> EpochRecord:
        """An epoch's record with what else there is to measure: of the last one, what a test
        sample costs."""
        if record.epoch < trial["epochs"]:
            return record
        device = next(network.parameters()).device
        found = cost_of(network, self.probe(trial, data, COUNTED, device).x)
        return replace(record, found={**record.found, **found})

    def findings(self, record: dict[str, Any]) -> dict[str, Any]:
        """Columns ``synops`` and ``energy_nj``: synaptic operations of a test sample, and the
        estimate of their energy and that of the states' updates in nJ."""
        last = record["epochs"][-1] if record["epochs"] else {}
        return {name: last[name] for name in ("synops", "energy_nj") if name in last}

    def report(self, records: list[dict[str, Any]]) -> None:
        draw_integrators(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return Group(integrators_tables(results), accuracy_tables(results))


def neuron_of(trial: Settings) -> Neuron:
    """The neuron of a trial."""
    return model_of(trial["neuron"], **_of_neuron(trial))


def _of_neuron(trial: Settings) -> dict[str, Any]:
    # What was recorded before there was a choice was held.
    return {k: trial[k] for k in ("tau", "dt", "scheme")} | {"input": trial.get("input", "held")}


def encoded(trial: Settings, batch: Batch, epoch: int, stream: int) -> Tensor:
    """A batch as spikes ``[T, B, F]``, for a user's network ``[T, B, *shape]``; or sequences as
    currents."""
    if trial["encoder"] == CURRENTS:
        return at_steps(batch.images, spec_of(trial["dataset"]).dt or 1.0, trial["dt"])
    if trial["encoder"] == EVENTS:
        trains: Any = batch.images
        spikes: Tensor = trains.at(trial["steps"], trial["dt"])
        return spikes.view(*spikes.shape[:2], *trains.shape[1:]) if "network" in trial else spikes
    is_image = "network" in trial and batch.images.shape[1:3] != (1, 1)
    return ENCODERS[trial["encoder"]](
        batch.images if is_image else batch.images.flatten(1),
        trial["steps"],
        trial["dt"],
        index=batch.index,
        seed=trial["seed"],
        epoch=epoch,
        stream=stream,
    )


def loss_of(trial: Settings, data: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy; of targets the mean squared error of every step over the variance of those of
    the training set, which is 1 for who always answers with their mean.

    Targets are brought to the steps of the network as inputs are; a last step that reaches beyond
    the sequence counts for the part that is in it.

    Raises
    ------
    ConfigError
        If all targets are the same.
    """
    if not data.regression:
        return cross_entropy
    targets = data.train.labels.double()
    variance = float((targets - targets.mean((0, 1))).square().mean())
    if not variance > 0:
        raise ConfigError(f"{data.name}: all targets are the same, so there is nothing to learn")

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        found, here = (
            at_steps(x, data.dt or 1.0, trial["dt"])
            for x in (labels, torch.ones_like(labels[:, :, :1]))
        )
        # What a step that is cut short lacks is not the target's fault.
        return mse_loss(outputs, found / here, mask=here[..., 0], scale=variance)

    return loss


def network_of(trial: Settings, data: Dataset) -> nn.Module:
    """The network of a trial, with the weights that torch's generator gives now."""
    if "network" in trial:
        known = {name: trial[name] for name in ("scheme", "dt", "steps", "tau", "input")}
        return Builder.of(trial["network"]).build(
            shape=data.sample_shape,
            classes=data.classes,
            neuron=get_neuron(trial["neuron"]),
            **known,
        )
    sizes = (math.prod(data.shape), *trial["hidden"], data.classes)
    parameters = known_parameters(trial["neuron"], **_of_neuron(trial))
    if trial["readout"] != INTEGRATOR:
        return spiking_mlp(sizes, neuron=trial["neuron"], readout=trial["readout"], **parameters)
    chain = spiking_mlp(sizes, neuron=trial["neuron"], readout="last", **parameters)
    return SpikingMLP(*list(chain)[:-1], LeakyIntegrator(trial["tau"], trial["dt"]))
