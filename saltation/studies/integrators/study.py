"""The integrators study: which scheme and step train a spiking network, and which break it.

The same network is trained with every scheme and dt from the same weights, in the same order of
samples and on the same input spikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pandas as pd
import torch
from rich.console import Group, RenderableType
from torch import Tensor, nn

from saltation.data import Batch, Dataset, batches, spec_of
from saltation.errors import ConfigError
from saltation.kernels.dispatch import in_words, resolve
from saltation.kernels.events import SpikeTensor, dense_of
from saltation.layers.recurrent import neuron_layers
from saltation.neurons import get_neuron
from saltation.random import TEST, TRAIN
from saltation.studies.cost import COUNTED, cost_of
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.passes import passes
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Probe
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import held_out, number_held_out
from saltation.studies.given import Builder
from saltation.studies.integrators.config import INTEGRATOR, IntegratorsConfig
from saltation.studies.integrators.figures import draw_integrators
from saltation.studies.integrators.trial import (
    IntegratorsTrial,
    answered,
    encoded,
    loss_of,
    mask_of,
    network_of,
    neuron_of,
    steps_of_samples,
)
from saltation.studies.integrators.verdict import verdict
from saltation.studies.report.accuracy import accuracy_tables
from saltation.studies.report.tables import integrators_tables
from saltation.surrogate import Sigmoid
from saltation.training import EpochRecord, Task, fit


class IntegratorsStudy(Study[IntegratorsConfig, IntegratorsTrial]):
    """Train one network with every neuron, scheme, dt and seed of a grid.

    >>> from saltation.studies import IntegratorsStudy
    >>> results = IntegratorsStudy(dataset="digits", dt=[0.5, 5.0], epochs=5).run()
    """

    name = "integrators"
    question = "Which integration scheme and time step let a spiking network learn?"
    needs: ClassVar = {"mean_spike_rate": float}
    config_type = IntegratorsConfig
    data_parallel = True

    def trials(self) -> list[IntegratorsTrial]:
        c = self.config
        return [
            {
                "neuron": neuron,
                "scheme": scheme,
                "dt": dt,
                "steps": c.steps_at(dt),
                "readout": INTEGRATOR if spec_of(c.dataset).of_moments else c.readout,
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
                **c.on_threads,
                **c.on_batches,
                **c.of_data,
                **c.of_task,
                **c.of_network,
            }
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

    def label(self, trial: IntegratorsTrial) -> str:
        kind = f" {trial['input']}" if len(self.config.inputs) > 1 else ""
        return f"{trial['neuron']} {trial['scheme']}{kind} dt={trial['dt']:g} seed={trial['seed']}"

    def work(self, trial: IntegratorsTrial) -> float:
        return float(trial["steps"])

    def kernels(self, trial: IntegratorsTrial, device: torch.device) -> str:
        probe = torch.zeros(trial["steps"], 1, 1, device=device)
        return in_words(resolve("auto", neuron_of(trial), Sigmoid(), probe))

    def data(self, device: torch.device) -> Dataset:
        data = self.config.load()
        number_held_out(len(data.train), self.config.validation)
        loss_of(self.trials()[0], data)  # refuses targets that are all the same
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
        Builder.of(trial["network"]).check(
            network,
            x_seq,
            data.classes,
            of_steps=data.of_moments,
            mask=mask_of(batch, steps_of_samples(trial, batch)),
        )

    def network(self, trial: IntegratorsTrial, data: Dataset) -> nn.Module:
        return network_of(trial, data)

    def probe(
        self, trial: IntegratorsTrial, data: Dataset, samples: int, device: torch.device
    ) -> Probe:
        batch = next(batches(data.test, min(samples, len(data.test))))
        x_seq = encoded(trial, batch, epoch=1, stream=TEST)
        x = dense_of(x_seq) if isinstance(x_seq, SpikeTensor) else x_seq
        return Probe(x, batch.labels, loss_of(trial, data) if data.regression else None)

    def train(
        self,
        trial: IntegratorsTrial,
        data: Dataset,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        seed = trial["seed"]
        torch.manual_seed(seed)
        network = self.network(trial, data).to(device)
        data, aside = held_out(data, trial.get("validation", 0.0), seed)
        over = passes(data, aside, trial["batch_size"], seed, self.ranks)

        def logits(model: nn.Module, batch: Batch, epoch: int, training: bool) -> Tensor:
            return answered(model, trial, batch, epoch, TRAIN if training else TEST)

        records = fit(
            network,
            self.config.optimisation,
            Task(over.train, over.test, logits, loss_of(trial, data), over.validation),
            device=device,
            on_batch=lambda done: progress.batch(done, over.batches),
            keeper=checkpoints,
            potentials=self.config.tensorboard,
            ranks=self.ranks,
        )
        for record in records:
            yield self.measured(record, network, trial, data)

    def measured(
        self, record: EpochRecord, network: nn.Module, trial: IntegratorsTrial, data: Dataset
    ) -> EpochRecord:
        """An epoch's record with what else there is to measure: of the last one, what a test
        sample costs."""
        if record.epoch < trial["epochs"]:
            return record
        device = next(network.parameters()).device
        batch = next(batches(data.test, min(COUNTED, len(data.test))))
        mask = steps_of_samples(trial, batch)
        found = cost_of(network, self.probe(trial, data, COUNTED, device).x, mask)
        return replace(record, found={**record.found, **found})

    def findings(self, record: Record) -> dict[str, Any]:
        """Columns ``synops`` and ``energy_nj``: synaptic operations of a test sample, and the
        estimate of their energy and that of the states' updates in nJ."""
        last = record["epochs"][-1] if record["epochs"] else {}
        return {name: last[name] for name in ("synops", "energy_nj") if name in last}

    def report(self, records: list[Record]) -> None:
        draw_integrators(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return Group(integrators_tables(results), accuracy_tables(results))
