"""The R-STDP study: what a network learns without gradients, at every integration scheme and step.

Two layers of LIF neurons, of which only the output weights learn, from spike counts or spike pairs
and a reward. All trials of a seed start from the same weights, see the samples in the same order
and draw the same input spikes: a pixel spikes in a step with the probability of its intensity,
whatever dt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, cast

import pandas as pd
import torch
from rich.console import RenderableType

from saltation.data import Dataset
from saltation.errors import ConfigError
from saltation.kernels.dispatch import in_words, resolve
from saltation.learning import WinnerTakeAllNetwork
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import HOW
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Probe
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import number_held_out
from saltation.studies.rstdp.config import RSTDPConfig
from saltation.studies.rstdp.report import draw_rstdp, rstdp_tables, rstdp_verdict
from saltation.studies.rstdp.trial import OF_PAIRS, RSTDPTrial, network_of, run_trial
from saltation.training import EpochRecord

# What a rule depends on beside the settings that every trial has.
_OF_RULES: dict[str, tuple[str, ...]] = {
    "trace_end": (*OF_PAIRS, "tau_eligibility"),
    "trace_online": (*OF_PAIRS, "tau_eligibility"),
    "stdp": OF_PAIRS,
}


class RSTDPStudy(Study[RSTDPConfig, RSTDPTrial]):
    """Train by reward at every scheme, dt, number of steps, reward and seed of a grid.

    >>> from saltation.studies import RSTDPStudy
    >>> results = RSTDPStudy(dataset="mnist", dt=[0.5, 0.05], epochs=2).run()
    """

    name = "rstdp"
    question = "What does a network learn from rewards alone, by R-STDP, at each time step?"
    needs: ClassVar = dict.fromkeys(("hidden_rate", "output_rate", "silent_samples"), float)
    config_type = RSTDPConfig

    def trials(self) -> list[RSTDPTrial]:
        c = self.config
        grid = {"schemes", "dt", "steps", "reward", "seeds"}
        of_rules = {name for some in _OF_RULES.values() for name in some}
        elsewhere = {"validation", "threads", "data_dir", "device", "out_dir", *HOW}
        not_shared = grid | of_rules | elsewhere
        shared = c.model_dump(exclude=not_shared)
        return [
            cast(
                RSTDPTrial,
                {
                    "scheme": scheme,
                    "dt": dt,
                    "steps": steps,
                    "reward": reward,
                    "seed": seed,
                    **shared,
                    **c.on_threads,
                    **c.of_data,
                    # Only the settings it depends on, so that others may change around it.
                    **{name: getattr(c, name) for name in _OF_RULES.get(reward, ())},
                },
            )
            for reward in c.reward
            for scheme in c.schemes
            for steps in c.steps
            for dt in c.dt
            for seed in c.seeds
        ]

    def label(self, trial: RSTDPTrial) -> str:
        return (
            f"{trial['reward']} {trial['scheme']} dt={trial['dt']:g} T={trial['steps']} "
            f"seed={trial['seed']}"
        )

    def work(self, trial: RSTDPTrial) -> float:
        return float(trial["steps"])

    def kernels(self, trial: RSTDPTrial, device: torch.device) -> str:
        layer = network_of(trial, features=1, classes=1).neurons
        probe = torch.zeros(trial["steps"], 1, 1, device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        return data.to(device)

    def network(self, trial: RSTDPTrial, data: Dataset) -> WinnerTakeAllNetwork:
        return network_of(trial, math.prod(data.shape), data.classes)

    def probe(self, trial: RSTDPTrial, data: Dataset, samples: int, device: torch.device) -> Probe:
        raise ConfigError(
            "networks of the rstdp study learn without gradients, and their outputs compete within "
            "a step: there are no exponents of them"
        )

    def train(
        self,
        trial: RSTDPTrial,
        data: Dataset,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        return run_trial(trial, data, device, progress, checkpoints)

    def report(self, records: list[Record]) -> None:
        draw_rstdp(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return rstdp_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return rstdp_tables(results)
