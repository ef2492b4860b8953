"""Adaptive neurons by scheme and range of a, on three generated tasks: what docs/adlif.md shows.

    python examples/adlif_schemes.py --out runs/adlif

trains every scheme at q 60 and q 120 from the same weights, parameters and order of samples, for
every seed on a task of its own, and writes a line for each network into ``trials.jsonl``. What is
there is not trained again. Then it prints tables and draws ``adlif.png``.
"""

from __future__ import annotations

import argparse
import json
import math
import runpy
import statistics
import time
import warnings
from collections.abc import Iterator
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
NETWORKS = runpy.run_path(str(Path(__file__).with_name("adlif.py")))
BATCH = 32
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
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


@dataclass(frozen=True)
class Bursts:
    """Which class, told at every step of the last fifth: 20 classes, test accuracy in %."""

    updates: int = 1000
    lr: float = 0.1
    measure: str = "test accuracy (%)"
    network: str = "bursts"
    later: int = 160

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``x [T, N, F]`` and labels to train on, and those to test on."""
        made = BurstSequences(seed=seed).dataset(6400, 1600)
        parts = []
        for split in (made.train, made.test):
            parts += [torch.as_tensor(split.images.at(200, 1.0)).clone(), split.labels]
        return parts[0], parts[1], parts[2], parts[3]

    def pick(self, wanted: Tensor, index: Tensor) -> Tensor:
        return wanted[index]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return st.tet_loss(outputs[self.later :], labels)

    def score(self, outputs: Tensor, labels: Tensor) -> float:
        found = outputs[self.later :].mean(0).argmax(1)
        return 100 * float((found == labels).float().mean())


@dataclass(frozen=True)
class Masses:
    """Where four masses will be ten samples later: test error over the variance.

    ``apart`` are the ms between two samples, of which there are 200.
    """

    apart: float
    updates: int = 750
    lr: float = 0.06
    measure: str = "test error / variance"
    network: str = "masses"
    ahead: int = 10
    later: int = 20

    def data(self, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``x [T, N, F]`` and targets ``[T, N, F]`` to train on, and those to test on."""
        # Time runs faster by a factor where springs are stiffer by its square.
        stiff = self.apart**2
        made = SpringMass(stiffness=(500 * stiff, 10_000 * stiff), seed=seed)
        parts = []
        for samples, stream in ((2048, random.TRAIN), (512, random.TEST)):
            motion = made.motion(torch.arange(samples), stream=stream).float().transpose(0, 1)
            parts += [motion[:200].clone(), motion[self.ahead : 200 + self.ahead].clone()]
        return parts[0], parts[1], parts[2], parts[3]

    def pick(self, wanted: Tensor, index: Tensor) -> Tensor:
        return wanted[:, index]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        scale = float(targets.var())
        return st.mse_loss(outputs[self.later :], targets[self.later :], scale=scale)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        return float(self.loss(outputs, targets))


# Samples 2.49 ms apart are those of the authors' configuration; half of that, and twice.
TASKS = {
    "bursts": Bursts(),
    "masses": Masses(2.4876),
    "fast masses": Masses(4.9752),
}


@lru_cache(maxsize=3)
def data_of(name: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a task; all cells of a seed see the same."""
    return TASKS[name].data(seed)


def orders(samples: int, seed: int) -> Iterator[Tensor]:
    """Batches of indices, epoch after epoch."""
    epoch = 0
    while True:
        epoch += 1
        order = random.permutation(samples, seed, epoch)
        yield from (order[i : i + BATCH] for i in range(0, samples - BATCH + 1, BATCH))


def trial(name: str, scheme: str, q: float, seed: int) -> dict[str, Any]:
    """Train one network; its score half way and at the end, and what became of its neurons."""
    task = TASKS[name]
    x, wanted, x_test, wanted_test = data_of(name, seed)
    torch.manual_seed(seed)
    outputs = 20 if name == "bursts" else x.shape[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)  # that is what is looked at
        made = NETWORKS[task.network](x.shape[2], outputs, q, get_neuron("adlif"), scheme, 1.0)
    network = made[:4]  # outputs of every step
    optimizer = torch.optim.Adam(network.parameters(), task.lr)
    schedule = OneCycleLR(optimizer, task.lr, total_steps=task.updates, pct_start=0.1)
    start = time.process_time()
    row: dict[str, Any] = {"task": name, "scheme": scheme, "q": q, "seed": seed}
    for done, index in enumerate(orders(x.shape[1], seed), start=1):
        loss = task.loss(network(x[:, index].contiguous()), task.pick(wanted, index))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if not math.isfinite(float(loss)):
            return row | {"diverged": done}
        if done == task.updates // 2:
            row["half"] = task.score(*tested(network, x_test, wanted_test))
        if done == task.updates:
            break
    row["score"] = task.score(*tested(network, x_test, wanted_test))
    with torch.no_grad():
        row["rate"] = float(torch.as_tensor(network[:2](x_test[:, :256].contiguous())).mean())
        a = torch.as_tensor(network[1].neuron.a)
        row["a above 60"] = float((a > 60).float().mean())
    return row | {"diverged": 0, "seconds": time.process_time() - start}


@torch.no_grad()
def tested(network: nn.Module, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of the whole test set, and what they are to be."""
    parts = [network(part.contiguous()) for part in x.split(256, dim=1)]
    return torch.cat(parts, dim=1), wanted


def scores(rows: list[dict[str, Any]], name: str, scheme: str, q: float) -> dict[int, float]:
    """The last scores of a cell by seed, of those that did not diverge."""
    return {
        r["seed"]: r["score"]
        for r in rows
        if (r["task"], r["scheme"], r["q"]) == (name, scheme, q) and not r["diverged"]
    }


def interval(values: list[float]) -> float:
    """Half of the 95 % interval of a mean."""
    n = len(values)
    return STUDENT.get(n, 1.96) * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.nan


def tell(rows: list[dict[str, Any]]) -> None:
    """Scores of every cell, and paired differences with their 95 % intervals."""
    for name in TASKS:
        print(f"\n{name}: {TASKS[name].measure}")
        for scheme in SCHEMES:
            for q in RANGES:
                found = list(scores(rows, name, scheme, q).values())
                if found:
                    spread = statistics.stdev(found) if len(found) > 1 else math.nan
                    print(
                        f"  {scheme:<24}q {q:<5g}{statistics.fmean(found):9.4f} ± {spread:.4f}"
                        f"  of {len(found)}"
                    )
        for what, (one, other) in DIFFERENCES.items():
            mine, theirs = scores(rows, name, *one), scores(rows, name, *other)
            apart = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
            if apart:
                print(f"  {what:<48}{statistics.fmean(apart):+.4f} ± {interval(apart):.4f}")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Every seed's score less that of the split scheme at q 60, with means and 95 % intervals."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4))
        for axes, (name, task) in zip(figure.subplots(1, len(TASKS)), TASKS.items(), strict=True):
            base = scores(rows, name, SPLIT, 60.0)
            axes.axhline(0, color="0.6", linewidth=0.8)
            for place, scheme in enumerate(SCHEMES):
                style = style_of(place)
                at, means, spans = [], [], []
                for column, q in enumerate(RANGES):
                    found = scores(rows, name, scheme, q)
                    apart = [found[seed] - base[seed] for seed in found if seed in base]
                    x = column + 0.16 * (place - 1)
                    axes.scatter([x + 0.05] * len(apart), apart, s=8, color=style["color"], alpha=0.4)
                    if apart:
                        at.append(x)
                        means.append(statistics.fmean(apart))
                        spans.append(interval(apart))
                axes.errorbar(at, means, yerr=spans, capsize=3, label=scheme, **style)
            axes.set_xticks(range(len(RANGES)), [f"0 to {q:g}" for q in RANGES])
            axes.set_xlim(-0.4, len(RANGES) - 0.6)
            axes.set_xlabel("range of a")
            unit = "points" if name == "bursts" else "of the variance"
            axes.set_ylabel(f"{task.measure.split(' (')[0].split(' /')[0]}, difference ({unit})")
            axes.set_title(name, loc="left", fontweight="bold", fontsize=9)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/adlif"))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"seeds is at least 1, got {options.seeds}")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "trials.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(r["task"], r["scheme"], r["q"], r["seed"]) for r in rows}
    for seed in range(options.seeds):  # all cells of one seed before the next
        for name in TASKS:
            for q in RANGES:
                for scheme in SCHEMES:
                    if (name, scheme, q, seed) in known:
                        continue
                    row = trial(name, scheme, q, seed)
                    rows.append(row)
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)
    tell(rows)
    draw(rows, options.out / "adlif.png")


if __name__ == "__main__":
    main()
