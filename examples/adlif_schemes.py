"""Adaptive neurons by scheme and range of a, on two generated tasks: what docs/adlif.md shows.

    python examples/adlif_schemes.py --out runs/adlif

trains every scheme at q 60 and q 120 from the same weights, parameters and order of samples, a
network for each seed, and writes a line for each into ``trials.jsonl``. What is there is not
trained again. Then it prints a table and draws ``adlif.png``.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.data import Batch, Dataset, batches
from saltation.data.sets.bursts import BurstSequences
from saltation.data.sets.spring_mass import SpringMass
from saltation.errors import StabilityWarning
from saltation.neurons import get_neuron
from saltation.studies.report.drawing import STYLE, style_of
from saltation.training import Diverged, Optimisation, fit

SCHEMES = ("exponential_split", "exponential_symplectic", "exponential")
RANGES = (60.0, 120.0)
NETWORKS = runpy.run_path(str(Path(__file__).with_name("adlif.py")))


class Task(NamedTuple):
    """Data, how they are learned, and what is measured: in percent, or over the variance."""

    data: Dataset
    epochs: int
    batch: int
    measure: str

    def input(self, batch: Batch) -> Tensor:
        """``[T, B, F]``, at steps of 1 ms."""
        x: Any = batch.images
        return x.transpose(0, 1).contiguous() if self.data.regression else x.at(200, 1.0)


def tasks(share: float) -> dict[str, Task]:
    """Both tasks, with that part of the samples and epochs."""
    of = partial(_part, share)
    bursts = BurstSequences(classes=10).dataset(of(2000), of(1000))
    masses = SpringMass().dataset(of(1024), of(256))
    return {
        "bursts": Task(bursts, of(10), 64, "test accuracy (%)"),
        "masses": Task(masses, of(10), 32, "test error / variance"),
    }


def _part(share: float, whole: int) -> int:
    return max(1, round(share * whole))


def trial(name: str, task: Task, scheme: str, q: float, seed: int) -> dict[str, Any]:
    """Train one network; the last score, and the epoch at which it diverged, if it did."""
    torch.manual_seed(seed)
    features, outputs = task.data.shape[-1], task.data.classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StabilityWarning)  # that is what is looked at
        network = NETWORKS[name](features, outputs, q, get_neuron("adlif"), scheme, 1.0)
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    if task.data.regression:
        scale = float(task.data.train.labels.var())
        loss = lambda y, t: st.mse_loss(y, t.transpose(0, 1), scale=scale)  # noqa: E731
    start, found = time.process_time(), {"diverged": 0}
    try:
        for record in fit(
            network,
            Optimisation(epochs=task.epochs, lr=0.03),
            train=lambda epoch: batches(
                task.data.train, task.batch, seed=seed, epoch=epoch, shuffle=True, drop_last=True
            ),
            # All of them in the last epoch alone.
            test=lambda epoch: itertools.islice(
                batches(task.data.test, 256), None if epoch == task.epochs else 1
            ),
            logits=lambda net, batch, epoch, training: net(task.input(batch)),
            loss=loss,
            device=torch.device("cpu"),
        ):
            score = record.test.loss if task.data.regression else record.test.accuracy
            found |= {"score": score, "rate": record.spikes.mean_spike_rate}
    except Diverged as error:
        found["diverged"] = error.epoch
    return found | {"seconds": time.process_time() - start}


def summary(rows: list[dict[str, Any]], name: str, scheme: str, q: float) -> str:
    """Mean and standard deviation over seeds, and how many diverged."""
    here = [r for r in rows if (r["task"], r["scheme"], r["q"]) == (name, scheme, q)]
    scores = [r["score"] for r in here if not r["diverged"]]
    text = f"{statistics.fmean(scores):.3f}" if scores else "none"
    if len(scores) > 1:
        text += f" ± {statistics.stdev(scores):.3f}"
    lost = len(here) - len(scores)
    return f"{text} of {len(scores)}" + (f", {lost} diverged" if lost else "")


def draw(rows: list[dict[str, Any]], shown: dict[str, str], path: Path) -> None:
    """Scores of every seed, with means and standard deviations, against the range of a."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.3))
        for axes, (name, label) in zip(figure.subplots(1, 2), shown.items(), strict=True):
            for place, scheme in enumerate(SCHEMES):
                style = style_of(place)
                means, spreads, at = [], [], []
                for column, q in enumerate(RANGES):
                    scores = [
                        r["score"]
                        for r in rows
                        if (r["task"], r["scheme"], r["q"]) == (name, scheme, q)
                        and not r["diverged"]
                    ]
                    x = column + 0.12 * (place - 1)
                    axes.scatter([x] * len(scores), scores, s=9, color=style["color"], alpha=0.4)
                    if scores:
                        at.append(x)
                        means.append(statistics.fmean(scores))
                        spreads.append(statistics.stdev(scores) if len(scores) > 1 else 0.0)
                axes.errorbar(at, means, yerr=spreads, capsize=3, label=scheme, **style)
            axes.set_xticks(range(len(RANGES)), [f"0 to {q:g}" for q in RANGES])
            axes.set_xlim(-0.4, len(RANGES) - 0.6)
            axes.set_xlabel("range of a")
            axes.set_ylabel(label)
            axes.set_title(name, loc="left", fontweight="bold", fontsize=9)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/adlif"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="Of samples, and of epochs.")
    options = parser.parse_args()
    if not 0 < options.share <= 1 or options.seeds < 1:
        parser.error(f"share is in (0, 1] and seeds at least 1, got {options}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "trials.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(r["task"], r["scheme"], r["q"], r["seed"], r["share"]) for r in rows}
    made = tasks(options.share)
    for seed in range(options.seeds):  # all cells of one seed before the next
        for name, task in made.items():
            for q in RANGES:
                for scheme in SCHEMES:
                    if (name, scheme, q, seed, options.share) in known:
                        continue
                    row = {"task": name, "scheme": scheme, "q": q, "seed": seed}
                    row |= {"share": options.share} | trial(name, task, scheme, q, seed)
                    rows.append(row)
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)
    rows = [r for r in rows if r["share"] == options.share and math.isfinite(r["score"])]
    for name in made:
        for scheme in SCHEMES:
            cells = (f"q {q:g}: {summary(rows, name, scheme, q)}" for q in RANGES)
            print(f"{name:<8}{scheme:<24}{'   '.join(cells)}")
    draw(rows, {name: task.measure for name, task in made.items()}, options.out / "adlif.png")


if __name__ == "__main__":
    main()
