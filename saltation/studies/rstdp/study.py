"""The R-STDP study: what a network learns without gradients, at every integration scheme and step.

Two layers of LIF neurons, of which only the output weights learn, from spike counts or spike pairs
and a reward. All trials of a seed start from the same weights, see the samples in the same order
and draw the same input spikes: a pixel spikes in a step with the probability of its intensity,
whatever dt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
import torch
from pydantic import Field, model_validator
from rich.console import RenderableType

from saltation.data import Dataset, spec_of
from saltation.errors import ConfigError, choose
from saltation.kernels.dispatch import in_words, resolve
from saltation.learning import WinnerTakeAllNetwork
from saltation.neurons import LIFNeuron
from saltation.schemes import SCHEMES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import AtLeast0, Count, Positive, Several, Some
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import HOW, DataConfig, names
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.specification import Probe, Settings
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import number_held_out
from saltation.studies.rstdp.report import draw_rstdp, rstdp_tables, rstdp_verdict
from saltation.studies.rstdp.trial import OF_PAIRS, RULES, network_of, run_trial
from saltation.training import EpochRecord

# What a rule depends on beside the settings that every trial has.
_OF_RULES: dict[str, tuple[str, ...]] = {
    "trace_end": (*OF_PAIRS, "tau_eligibility"),
    "trace_online": (*OF_PAIRS, "tau_eligibility"),
    "stdp": OF_PAIRS,
}


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
    epochs: Count = 5
    """Passes over the training set."""
    batch_size: Count = 64
    """Samples per training batch; a last partial one is dropped."""
    test_batch_size: Count = 256
    """Samples per test batch."""
    train_batches: Count = 1000
    """Training batches of an epoch, at most."""
    lr: Positive = 0.05
    """Learning rate."""
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


class RSTDPStudy(Study[RSTDPConfig]):
    """Train by reward at every scheme, dt, number of steps, reward and seed of a grid.

    >>> from saltation.studies import RSTDPStudy
    >>> results = RSTDPStudy(dataset="mnist", dt=[0.5, 0.05], epochs=2).run()
    """

    name = "rstdp"
    question = "What does a network learn from rewards alone, by R-STDP, at each time step?"
    needs: ClassVar = dict.fromkeys(("hidden_rate", "output_rate", "silent_samples"), float)
    config_type = RSTDPConfig

    def trials(self) -> list[Settings]:
        c = self.config
        grid = {"schemes", "dt", "steps", "reward", "seeds"}
        of_rules = {name for some in _OF_RULES.values() for name in some}
        elsewhere = {"validation", "threads", "data_dir", "device", "out_dir", *HOW}
        not_shared = grid | of_rules | elsewhere
        shared = c.model_dump(exclude=not_shared)
        return [
            {"scheme": scheme, "dt": dt, "steps": steps, "reward": reward, "seed": seed}
            | shared
            | c.on_threads
            | c.of_data
            # Only the settings it depends on, so that others may change around it.
            | {name: getattr(c, name) for name in _OF_RULES.get(reward, ())}
            for reward in c.reward
            for scheme in c.schemes
            for steps in c.steps
            for dt in c.dt
            for seed in c.seeds
        ]

    def label(self, trial: Settings) -> str:
        return (
            f"{trial['reward']} {trial['scheme']} dt={trial['dt']:g} T={trial['steps']} "
            f"seed={trial['seed']}"
        )

    def work(self, trial: Settings) -> float:
        return float(trial["steps"])

    def kernels(self, trial: Settings, device: torch.device) -> str:
        layer = network_of(trial, features=1, classes=1).neurons
        probe = torch.zeros(trial["steps"], 1, 1, device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        return data.to(device)

    def network(self, trial: Settings, data: Dataset) -> WinnerTakeAllNetwork:
        return network_of(trial, math.prod(data.shape), data.classes)

    def probe(self, trial: Settings, data: Dataset, samples: int, device: torch.device) -> Probe:
        raise ConfigError(
            "networks of the rstdp study learn without gradients, and their outputs compete within "
            "a step: there are no exponents of them"
        )

    def train(
        self,
        trial: Settings,
        data: Dataset,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        return run_trial(trial, data, device, progress, checkpoints)

    def report(self, records: list[dict[str, Any]]) -> None:
        draw_rstdp(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return rstdp_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return rstdp_tables(results)
