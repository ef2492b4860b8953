"""The settings of the integrators study."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Self, TypedDict

from pydantic import Field, field_validator, model_validator

from saltation.data import spec_of
from saltation.data.sequences import steps_of
from saltation.encoding import ENCODERS
from saltation.errors import ConfigError, choose
from saltation.layers import READOUTS
from saltation.neurons import NEURONS, get_neuron, model_of, whole_name
from saltation.neurons.impulse import INPUTS
from saltation.schemes import SCHEMES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Positive, Several, Some
from saltation.studies.engine.config import DataConfig, GradientConfig, names, setting
from saltation.studies.given import Builder, Source

MOST_STEPS = 1_000_000
# The encoder of sequences: the current that they are, at the steps of the network.
CURRENTS = "currents"
# That of recorded spikes: they are binned to the steps.
EVENTS = "events"
# In place of a readout over time where targets are of every step: see `LeakyIntegrator`.
INTEGRATOR = "integrator"
BIO_TIME = 5.0  # that of the comparison at a fixed time in the notebook


class OwnSettings(TypedDict, total=False):
    """What a trial has only where it was asked for."""

    accumulate: int
    task: str
    own_lengths: bool
    network: str
    code: str  # the fingerprint of the network's file
    # Of the transfer study: where a network is run after it was trained.
    run_dt: list[float]
    run_steps: list[int]


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
    batch_size: Count = 32
    """Samples per batch; a last partial training batch is dropped."""
    lr: Positive = setting("lr", 5e-3)
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
    network: Source | None = None
    """FILE.py:FUNCTION that builds the network in place of the one with hidden layers: of shape,
    classes, neuron, scheme, dt, steps, tau and input it takes those that it names, and returns a
    module from sequences [T, B, *shape] to logits [B, classes]."""

    accumulate: Count = setting("accumulate")
    own_lengths: bool = False
    """Of recorded spikes: whether readouts look at a sample only until its last event, and not
    until that of the longest. Sequences of different lengths are always looked at so."""

    targets: ClassVar = True

    @field_validator("neurons")
    @classmethod
    def _from_any_folder(cls, neurons: list[str]) -> list[str]:
        return [whole_name(neuron) for neuron in neurons]

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
        if data.of_moments and self.readout != own:
            raise ConfigError(
                f"{data.name} has a target at every step, which leaky integrators answer: give no "
                "readout"
            )
        if self.own_lengths and data.duration is None:
            raise ConfigError(f"own_lengths is of recorded spikes, and {data.name} holds none")
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
    def on_batches(self) -> OwnSettings:
        """What accumulation adds to a trial's settings: nothing where there is none."""
        return {} if self.accumulate == 1 else {"accumulate": self.accumulate}

    @property
    def of_task(self) -> OwnSettings:
        """What targets, and samples that end by themselves, add to trials: labels and samples of
        one length add nothing, whose trials are those of studies from before there was a choice."""
        found: OwnSettings = {"task": "regression"} if spec_of(self.dataset).regression else {}
        return {**found, "own_lengths": True} if self.own_lengths else found

    @property
    def of_network(self) -> OwnSettings:
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
