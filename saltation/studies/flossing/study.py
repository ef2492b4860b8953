"""The flossing study: do Lyapunov exponents near zero help to learn over long delays?

The same recurrent network is trained on tasks over a delay as it is drawn, after flossing (its
leading exponents are driven towards zero before it sees the task's loss), and with flossing going
on during training. (Engelken, "Gradient flossing", NeurIPS 2023, arXiv:2312.17306; Engelken &
Abbott, "Surrogate gradient flossing", NeurIPS 2024.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from rich.console import RenderableType
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.kernels.dispatch import in_words, resolve
from saltation.random import TEST, TRAIN
from saltation.studies.cost import COUNTED, cost_of
from saltation.studies.engine.checkpoints import Checkpoints
from saltation.studies.engine.config import HOW
from saltation.studies.engine.progress import BatchProgress
from saltation.studies.engine.rows import Record
from saltation.studies.engine.specification import Probe
from saltation.studies.engine.study import Study
from saltation.studies.engine.validation import number_held_out
from saltation.studies.flossing.config import FlossingConfig
from saltation.studies.flossing.delayed import Trials
from saltation.studies.flossing.report import draw_flossing, flossing_table, flossing_verdict
from saltation.studies.flossing.trial import (
    Flossing,
    FlossingTrial,
    answer,
    measure,
    network_of,
    neurons_of,
    task_of,
    untrained,
)
from saltation.training import EpochRecord, Task, evaluate, fit


class FlossingStudy(Study[FlossingConfig, FlossingTrial]):
    """Train a network on every task and delay of a grid without flossing, after it, and with it.

    >>> from saltation.studies import FlossingStudy
    >>> results = FlossingStudy(tasks=["xor"], delays=[10, 20], seeds=[0]).run()
    """

    name = "flossing"
    question = "Does flossing let a recurrent network learn over longer delays?"
    needs: ClassVar = {"exponent": float, "spectrum": list, "gradient_by_distance": list}
    config_type = FlossingConfig

    def trials(self) -> list[FlossingTrial]:
        c = self.config
        grid = {"tasks", "delays", "modes", "seeds", "success_at", "validation"}
        shared = c.model_dump(exclude=grid | {"device", "out_dir", "threads", *HOW})
        unused = {name for name in shared if name.startswith("floss_")} | {"qr_every"}
        during = {"floss_every", "floss_weight"}
        # A trial has only the settings it depends on, so that others may change around it.
        left_out = {"none": unused, "before": during, "both": set()}
        return [
            cast(
                FlossingTrial,
                {
                    "task": task,
                    "delay": delay,
                    "mode": mode,
                    "seed": seed,
                    **{name: value for name, value in shared.items() if name not in left_out[mode]},
                    **c.on_threads,
                    **({"validation": c.validation} if c.validation else {}),
                },
            )
            for task in c.tasks
            for delay in c.delays
            for mode in c.modes
            for seed in c.seeds
        ]

    def label(self, trial: FlossingTrial) -> str:
        return f"{trial['task']} delay={trial['delay']} {trial['mode']} seed={trial['seed']}"

    def work(self, trial: FlossingTrial) -> float:
        # In ms, roughly, on one thread: a step of training takes 2 and a bit for every step of a
        # trial, an estimate of exponents 2 for every step, and one with its gradient 3.
        steps = task_of(trial).steps
        training = trial["epochs"] * math.ceil(trial["train_samples"] / trial["batch_size"])
        flossings = 0.0 if trial["mode"] == "none" else float(trial["floss_steps"])
        if trial["mode"] == "both":
            flossings += training / trial["floss_every"]
        measuring = 2 * steps * (trial["epochs"] + 2)
        flossing = 3 * flossings * min(steps, trial.get("floss_window", 0))
        return float(training * (2 + 0.03 * steps) + measuring + flossing)

    def kernels(self, trial: FlossingTrial, device: torch.device) -> str:
        layer = neurons_of(trial)
        probe = torch.zeros(task_of(trial).steps, 1, trial["hidden"], device=device)
        return in_words(resolve("auto", layer.neuron, layer.surrogate, probe))

    def network(self, trial: FlossingTrial, data: Any) -> nn.Sequential:
        return network_of(trial)

    def probe(self, trial: FlossingTrial, data: Any, samples: int, device: torch.device) -> Probe:
        index = torch.arange(samples, device=device)
        x, y = task_of(trial).draw(index, seed=trial["seed"], epoch=0, stream=TEST)
        return Probe(x, y, lambda outputs, labels: cross_entropy(answer(outputs, trial), labels))

    def train(
        self,
        trial: FlossingTrial,
        data: Any,
        device: torch.device,
        progress: BatchProgress,
        checkpoints: Checkpoints,
    ) -> Iterator[EpochRecord]:
        seed, task = trial["seed"], task_of(trial)
        aside = number_held_out(trial["train_samples"], trial.get("validation", 0.0))
        torch.manual_seed(seed)
        network = self.network(trial, data).to(device)

        def test(_: int) -> Iterator[Trials]:
            return task.batches(
                trial["test_samples"],
                trial["batch_size"],
                seed=seed,
                epoch=0,
                stream=TEST,
                device=device,
            )

        def logits(model: nn.Module, batch: Trials) -> Tensor:
            return answer(model(batch.spikes), trial)

        if not checkpoints.epoch:
            yield untrained(
                network,
                trial,
                device,
                lambda: evaluate(network, test(0), lambda batch: logits(network, batch)),
            )
        # The last of the training samples are put aside: their spikes are those of epoch 0, which
        # no training sample has.
        trained = trial["train_samples"] - aside
        batches = [
            math.ceil(n / trial["batch_size"]) for n in (trained, trial["test_samples"], aside)
        ]

        def validation(_: int) -> Iterator[Trials]:
            return task.batches(
                aside,
                trial["batch_size"],
                first=trained,
                seed=seed,
                epoch=0,
                stream=TRAIN,
                device=device,
            )

        def train(epoch: int) -> Iterator[Trials]:
            return task.batches(
                trained,
                trial["batch_size"],
                seed=seed,
                epoch=epoch,
                stream=TRAIN,
                device=device,
            )

        for record in fit(
            network,
            self.config.optimisation,
            Task(
                train,
                test,
                lambda model, batch, epoch, training: logits(model, batch),
                validation=validation if aside else None,
                terms=[Flossing(trial)] if trial["mode"] == "both" else [],
            ),
            device=device,
            on_batch=lambda done: progress.batch(done, sum(batches)),
            keeper=checkpoints,
            potentials=self.config.tensorboard,
        ):
            found: dict[str, Any] = {**measure(network, trial, device)}
            if record.epoch == trial["epochs"]:
                found |= cost_of(network, self.probe(trial, None, COUNTED, device).x)
            yield replace(record, found=found)

    def findings(self, record: Record) -> dict[str, Any]:
        """Whether the trial was solved, and λ1 as drawn, before and after training."""
        epochs = record["epochs"]
        first, last = (epochs[0], epochs[-1]) if epochs else ({}, {})
        accuracy = last.get("test_accuracy")
        finished = record["status"] == "finished"
        return {
            "success": finished and accuracy is not None and accuracy >= self.config.success_at,
            "exponent_drawn": first.get("exponent_drawn"),
            "exponent_before": first.get("exponent"),
            "exponent_after": last.get("exponent") if finished else None,
        }

    def report(self, records: list[Record]) -> None:
        draw_flossing(records, self.folder / "figures", self.config.success_at)

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return flossing_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return flossing_table(results, self.config.success_at)
