"""Adaptive neurons by scheme and range of a, on three generated tasks: what docs/adlif.md shows.

    python examples/adlif_schemes.py --out runs/adlif

trains every scheme at q 60 and q 120 from the same weights, parameters and order of samples, for
every seed a network on a task of its own, and writes a line for each into ``trials.jsonl``. What is
there is not trained again. Then it prints tables and draws ``adlif.png``.

The networks of all seeds are trained side by side, as one layer of neurons with weights of each
seed's own: nothing passes from one to another.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import runpy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

import saltation as st
from saltation import random
from saltation.data.sets.bursts import BurstSequences
from saltation.data.sets.spring_mass import SpringMass
from saltation.errors import StabilityWarning
from saltation.neurons import get_neuron
from saltation.studies.report.drawing import STYLE, style_of

SCHEMES = ("exponential_split", "exponential_symplectic", "exponential")
RANGES = (60.0, 120.0)
# What is stable first.
CELLS = sorted(itertools.product(SCHEMES, RANGES), key=lambda one: one == (SCHEMES[0], RANGES[1]))
NETWORKS = runpy.run_path(str(Path(__file__).with_name("adlif.py")))
STEPS, BATCH, HIDDEN = 100, 32, 64
# What each comparison sets beside what: (scheme, q) minus (scheme, q).
SPLIT, SYMPLECTIC, EXACT = SCHEMES
DIFFERENCES = {
    "as published: symplectic at 120 - split at 60": ((SYMPLECTIC, 120.0), (SPLIT, 60.0)),
    "scheme: symplectic - split, both at 60": ((SYMPLECTIC, 60.0), (SPLIT, 60.0)),
    "scheme: exact - split, both at 60": ((EXACT, 60.0), (SPLIT, 60.0)),
    "scheme: exact - symplectic, both at 60": ((EXACT, 60.0), (SYMPLECTIC, 60.0)),
    "scheme: exact - symplectic, both at 120": ((EXACT, 120.0), (SYMPLECTIC, 120.0)),
    "scheme: symplectic - split, both at 120": ((SYMPLECTIC, 120.0), (SPLIT, 120.0)),
    "range: 120 - 60, both symplectic": ((SYMPLECTIC, 120.0), (SYMPLECTIC, 60.0)),
    "range: 120 - 60, both exact": ((EXACT, 120.0), (EXACT, 60.0)),
    "range: 120 - 60, both split": ((SPLIT, 120.0), (SPLIT, 60.0)),
}
# 97.5 % points of Student's t for so many seeds.
STUDENT = {
    2: 12.71,
    3: 4.303,
    4: 3.182,
    5: 2.776,
    6: 2.571,
    7: 2.447,
    8: 2.365,
    9: 2.306,
    10: 2.262,
}


@dataclass(frozen=True)
class Bursts:
    """Which of 10 classes, told at every step of the last fifth: test accuracy in %."""

    updates: int = 300
    lr: float = 0.1
    outputs: int = 10
    inputs: int = 10
    gains: tuple[float, float] = (20.0, 3.0)
    tau: float = 15.0
    later: int = 80
    measure: str = "test accuracy (%)"

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Spikes ``[N, T, F]`` and labels to train on, and those to test on."""
        made = BurstSequences(classes=self.outputs, steps=STEPS, seed=seed)
        parts = []
        for samples, stream in ((4000, random.TRAIN), (1000, random.TEST)):
            index = torch.arange(samples)
            parts += [made.spikes(index, stream=stream), index % self.outputs]
        return parts[0], parts[1], parts[2], parts[3]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum over seeds, of outputs ``[T, B, S, K]`` and labels ``[B, S]``."""
        seeds = labels.shape[1]
        return seeds * st.tet_loss(outputs[self.later :].flatten(1, 2), labels.flatten())

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Of every seed."""
        found = outputs[self.later :].mean(0).argmax(-1)
        return 100 * (found == labels).double().mean(0)


@dataclass(frozen=True)
class Masses:
    """Where four masses will be ten samples later: test error over the variance.

    ``apart`` are the ms between two samples, of which there are 100.
    """

    apart: float
    updates: int = 400
    lr: float = 0.1
    outputs: int = 4
    inputs: int = 4
    gains: tuple[float, float] = (20.0, 1.0)
    tau: float = 5.0
    later: int = 20
    ahead: int = 10
    measure: str = "test error / variance"

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Displacements ``[N, T, F]`` and those to come to train on, and those to test on."""
        # Time runs faster by a factor where springs are stiffer by its square.
        stiff = self.apart**2
        made = SpringMass(stiffness=(500 * stiff, 10_000 * stiff), seed=seed)
        parts = []
        for samples, stream in ((2048, random.TRAIN), (512, random.TEST)):
            motion = made.motion(torch.arange(samples), stream=stream).float()
            parts += [motion[:, :STEPS], motion[:, self.ahead : STEPS + self.ahead]]
        return parts[0], parts[1], parts[2], parts[3]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over seeds, of outputs ``[T, B, S, K]`` and targets ``[B, S, T, K]``."""
        return self.score(outputs, targets).sum()

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of every seed."""
        wanted = targets.permute(2, 0, 1, 3)[self.later :]
        errors = (outputs[self.later :] - wanted).square().mean((0, 1, 3))
        return errors / wanted.var((0, 1, 3))


# Samples 2.49 ms apart are those of the authors' configuration; half of that, and twice.
TASKS = {
    "masses": Masses(2.4876),
    "fast masses": Masses(4.9752),
    "bursts": Bursts(),
}


class SideBySide(nn.Module):
    """Networks of several seeds, which share nothing but the call: ``[T, B, S, F]`` to ``[T, B, S,
    K]``."""

    def __init__(self, seeds: int, task: Bursts | Masses, scheme: str, q: float) -> None:
        super().__init__()
        first, last = task.gains
        f, k = task.inputs, task.outputs
        self.inputs = nn.Parameter(first * uniform(seeds, f, HIDDEN) / math.sqrt(f))
        self.bias = nn.Parameter(torch.zeros(seeds, HIDDEN))
        self.outputs = nn.Parameter(last * uniform(seeds, HIDDEN, k) / math.sqrt(HIDDEN))
        self.neurons = NETWORKS["adaptive"](seeds * HIDDEN, q, get_neuron("adlif"), scheme, 1.0)
        self.integrator = st.LeakyIntegrator(task.tau)

    def spikes(self, x: Tensor) -> Tensor:
        """``[T, B, S, H]``."""
        currents = torch.einsum("tbsf,sfh->tbsh", x, self.inputs) + self.bias
        found = torch.as_tensor(self.neurons(currents.flatten(2)))
        return found.unflatten(2, (-1, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        currents = torch.einsum("tbsh,shk->tbsk", self.spikes(x), self.outputs)
        return self.integrator(currents)


def uniform(*shape: int) -> Tensor:
    """Numbers in (-1, 1)."""
    return 2 * torch.rand(*shape) - 1


@lru_cache(maxsize=1)
def data_of(name: str, seeds: int) -> list[Tensor]:
    """Of a task, for all seeds: ``[N, S, ...]``; all cells see the same."""
    every = [TASKS[name].data(seed) for seed in range(seeds)]
    return [torch.stack(parts, dim=1) for parts in zip(*every, strict=True)]


def orders(samples: int) -> Iterator[Tensor]:
    """Batches of indices, epoch after epoch."""
    for epoch in itertools.count(1):
        order = random.permutation(samples, 0, epoch)
        yield from (order[i : i + BATCH] for i in range(0, samples - BATCH + 1, BATCH))


def seen(x: Tensor, index: Tensor) -> Tensor:
    """Samples ``[N, S, T, F]`` as ``[T, B, S, F]``."""
    return x[index].permute(2, 0, 1, 3).float().contiguous()


def cell(name: str, scheme: str, q: float, seeds: int, factor: float) -> list[dict[str, Any]]:
    """Train a network for every seed; their scores half way and at the end."""
    task = TASKS[name]
    lr = factor * task.lr
    x, wanted, x_test, wanted_test = data_of(name, seeds)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)  # that is what is looked at
        networks = SideBySide(seeds, task, scheme, q)
    optimizer = torch.optim.Adam(networks.parameters(), lr)
    schedule = OneCycleLR(optimizer, lr, total_steps=task.updates, pct_start=0.1)
    start, half = time.process_time(), torch.zeros(seeds)
    for done, index in enumerate(itertools.islice(orders(len(x)), task.updates), start=1):
        loss = task.loss(networks(seen(x, index)), wanted[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if done == task.updates // 2:
            half = tested(task, networks, x_test, wanted_test)
    score = tested(task, networks, x_test, wanted_test)
    with torch.no_grad():
        rate = networks.spikes(seen(x_test, torch.arange(128))).float().mean((0, 1, 3))
        a = torch.as_tensor(networks.neurons.neuron.a).view(seeds, HIDDEN)
    seconds = time.process_time() - start
    return [
        {
            **{"task": name, "scheme": scheme, "q": q, "seed": seed, "score": float(score[seed])},
            **{"half": float(half[seed]), "rate": float(rate[seed])},
            **{"a": float(a[seed].mean()), "seconds": seconds / seeds},
        }
        for seed in range(seeds)
    ]


@torch.no_grad()
def tested(task: Bursts | Masses, networks: nn.Module, x: Tensor, wanted: Tensor) -> Tensor:
    """Scores on the whole test set, of every seed."""
    outputs = [networks(seen(x, index)) for index in torch.arange(len(x)).split(128)]
    return task.score(torch.cat(outputs, dim=1), wanted)


def scores(rows: list[dict[str, Any]], name: str, scheme: str, q: float) -> dict[int, float]:
    """The last scores of a cell by seed, of those that are finite."""
    return {
        r["seed"]: r["score"]
        for r in rows
        if (r["task"], r["scheme"], r["q"]) == (name, scheme, q) and math.isfinite(r["score"])
    }


def interval(values: list[float]) -> float:
    """Half of the 95 % interval of a mean."""
    n = len(values)
    return STUDENT.get(n, 1.96) * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.nan


def apart(mine: dict[int, float], theirs: dict[int, float], is_error: bool) -> list[float]:
    """Paired differences over seeds: points of accuracy, or logarithms of the ratio of errors."""
    both = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
    return [math.log(a / b) if is_error else a - b for a, b in both]


def in_percent(logarithm: float) -> float:
    """The change of an error by a factor."""
    return 100 * math.expm1(logarithm)


def tell(rows: list[dict[str, Any]]) -> None:
    """Scores of every cell, and paired differences with their 95 % intervals."""
    for name, task in TASKS.items():
        is_error = isinstance(task, Masses)
        print(f"\n{name}: {task.measure}")
        for scheme, q in itertools.product(SCHEMES, RANGES):
            found = list(scores(rows, name, scheme, q).values())
            if found:
                spread = statistics.stdev(found) if len(found) > 1 else math.nan
                mean = statistics.fmean(found)
                print(f"  {scheme:<24}q {q:<5g}{mean:9.4f} ± {spread:.4f}  of {len(found)}")
        for what, (one, other) in DIFFERENCES.items():
            found = apart(scores(rows, name, *one), scores(rows, name, *other), is_error)
            if not found:
                continue
            mean, half = statistics.fmean(found), interval(found)
            said = f"{mean:+.2f} ± {half:.2f} points"
            if is_error:
                low, high = in_percent(mean - half), in_percent(mean + half)
                said = f"{in_percent(mean):+.1f} % ({low:+.1f} to {high:+.1f})"
            print(f"  {what:<48}{said}")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """What every seed gains on the split scheme at q 60, with means and 95 % intervals."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.6))
        for axes, (name, task) in zip(figure.subplots(1, len(TASKS)), TASKS.items(), strict=True):
            is_error = isinstance(task, Masses)
            base = scores(rows, name, SPLIT, 60.0)
            axes.axhline(0, color="0.6", linewidth=0.8, zorder=0)
            shown: Callable[[float], float] = in_percent if is_error else float
            for place, scheme in enumerate(SCHEMES):
                style = style_of(place)
                for column, q in enumerate(RANGES):
                    found = apart(scores(rows, name, scheme, q), base, is_error)
                    x = column + 0.24 * (place - 1)
                    if not found or (scheme, q) == (SPLIT, 60.0):
                        continue
                    points = [shown(one) for one in found]
                    beside = [x + 0.07] * len(points)
                    axes.scatter(beside, points, s=9, color=style["color"], alpha=0.45, linewidth=0)
                    mean, half = statistics.fmean(found), interval(found)
                    ends = [shown(mean) - shown(mean - half), shown(mean + half) - shown(mean)]
                    one = style | {"linestyle": "none"}
                    axes.errorbar(x, shown(mean), yerr=[[e] for e in ends], capsize=3, **one)
            axes.set_xticks(range(len(RANGES)), [f"0 to {q:g}" for q in RANGES])
            axes.set_xlim(-0.5, len(RANGES) - 0.5)
            axes.set_xlabel("range of a")
            axes.set_ylabel(
                "test error, change (%)" if is_error else "test accuracy, change (points)"
            )
            axes.set_title(name, loc="left", fontweight="bold", fontsize=9)
        for place, scheme in enumerate(SCHEMES):
            figure.axes[0].plot([], [], label=scheme, **style_of(place) | {"linestyle": "none"})
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.suptitle("beside the split scheme with a from 0 to 60", fontsize=9)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/adlif"))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--factor", type=float, default=1.0, help="Of the learning rates.")
    options = parser.parse_args()
    if options.seeds < 1 or not 0 < options.factor < math.inf:
        parser.error(f"seeds is at least 1 and factor above 0, got {options}")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "trials.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(r["task"], r["scheme"], r["q"]) for r in rows}
    for name, (scheme, q) in itertools.product(options.tasks, CELLS):
        if (name, scheme, q) in known:
            continue
        found = cell(name, scheme, q, options.seeds, options.factor)
        rows += found
        with path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)
        print(*found, sep="\n", flush=True)
    tell(rows)
    draw(rows, options.out / "adlif.png")


if __name__ == "__main__":
    main()
