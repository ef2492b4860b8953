"""The settings of the R-STDP study."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from saltation.data import spec_of
from saltation.errors import ConfigError, choose
from saltation.neurons import LIFNeuron
from saltation.schemes import SCHEMES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import AtLeast0, Count, Positive, Several, Some
from saltation.studies.engine.config import DataConfig, names, setting
from saltation.studies.rstdp.trial import RULES


class RSTDPConfig(DataConfig):
    """What a network learns from reward and spikes alone, at every scheme and time step."""

    schemes: Annotated[
        list[str],
        Field(min_length=1, description=f"Integration schemes: {names(LIFNeuron.schemes)}."),
        Several,
    ] = ["euler", "exponential"]
    dt: Annotated[list[Positive], Some, Several] = [0.5, 0.1, 0.05, 0.01, 0.005]
    """Lengths of a step, in the unit of time of tau."""
    steps: Annotated[list[Count], Some, Several] = [200]
    """Steps of a trial."""
    reward: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"{names(RULES)}: reward on spike counts (pm1, onehot), on spike pairs "
            "(trace_end, trace_online), or pairs without reward (stdp).",
        ),
        Several,
    ] = ["pm1"]
    epochs: Count = setting("epochs", 5)
    batch_size: Count = 64
    """Samples per training batch; a last partial one is dropped."""
    test_batch_size: Count = 256
    """Samples per test batch."""
    train_batches: Count = 1000
    """Training batches of an epoch, at most."""
    lr: Positive = setting("lr", 0.05)
    teach: AtLeast0 = 1.0
    """Current that the label's output gets in training, in the first epoch."""
    teach_decay: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Factor on it from epoch to epoch."""
    hidden: Count = 256
    """Neurons of the hidden layer, whose weights stay as they are drawn."""
    tau: Positive = 2.0
    """Membrane time constant."""
    v_threshold: Positive = 0.3
    """Potential at which a neuron spikes."""
    input_gain: Positive = 5.0
    """Factor on the currents of the hidden layer."""
    output_gain: Positive = 5.0
    """Factor on the currents of the output layer."""
    clip: Positive = 5.0
    """Largest size of an output weight."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction that the output weights lose after every batch."""
    tau_plus: Positive = 2.0
    """Time constant of presynaptic traces."""
    tau_minus: Positive = 2.0
    """Time constant of postsynaptic traces."""
    a_minus: AtLeast0 = 0.1
    """What a pair takes away where the output spikes first; the other way round it adds 1."""
    tau_eligibility: Positive = 100.0
    """Time constant of the eligibility."""
    total: Positive = 10.0
    """Sum that the weights of each output are scaled to, by rules of spike pairs."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for scheme in self.schemes:
            choose("scheme", scheme, SCHEMES)
            LIFNeuron(scheme=scheme)
        found = spec_of(self.dataset)
        if found.dt is not None or found.duration is not None:
            raise ConfigError(
                f"the rstdp study encodes images, and {self.dataset} holds sequences or spikes "
                "(allowed: images [N, C, H, W], or vectors [N, F])"
            )
        for reward in self.reward:
            choose("reward", reward, RULES)
        return self

    def least_memory(self) -> float:
        data = spec_of(self.dataset)
        weights = self.hidden * (math.prod(data.shape) + data.classes)
        batch = min(self.batch_size, self.limit_train or data.samples, data.samples)
        # The rules go along with the steps: one of them at a time.
        return room.FLOAT * (weights + batch * self.hidden)
