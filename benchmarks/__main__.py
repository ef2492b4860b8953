"""``python -m benchmarks``: every workload, its tables and figures. `make bench` runs it."""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import (
    converted,
    convolutions,
    deep,
    figures,
    loops,
    memory,
    networks,
    reward,
    roofline,
    sequences,
)
from benchmarks.networks import BY_HAND, IZHIKEVICH, LIF, OURS, Task
from benchmarks.timing import Step, Times, race, table
from saltation.data import load
from saltation.errors import SaltationError

BATCH, SMALL, WIDE = 128, (784, 256, 10), (784, 1024, 1024, 10)
TRAINED, BATCHES = 900, 64  # steps of training, and batches that they go through in turn
BEST = ("plain torch, all at once, torch.compile", "plain torch, all steps at once")


def images(data_dir: str, number: int = BATCH) -> tuple[Tensor, Tensor, str]:
    """Images of MNIST as rates, or random ones of its density, and which."""
    try:
        data = load("mnist", data_dir, limit_train=number)
    except SaltationError:
        noise = torch.Generator().manual_seed(0)
        ink = torch.rand(number, SMALL[0], generator=noise) < 0.19
        x = ink * torch.rand(number, SMALL[0], generator=noise)
        return x, torch.randint(10, (number,), generator=noise), "random images, 19 % ink"
    return data.train.images.flatten(1).float() / 255, data.train.labels, "MNIST"


def bound(neuron: str, names: Iterable[str], task: Task) -> dict[str, Callable[[], Step]]:
    """Builders of contenders that know their task."""
    return {name: partial(networks.made, neuron, name, task) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--workloads", nargs="+", default=list("abcdefgh"), choices=list("abcdefgh")
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--data-dir", default="../shared/data")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--dt", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--deep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    x, labels, what = images(options.data_dir)

    def task(dt: float, sizes: tuple[int, ...] = SMALL, steps: int = 50, rates: Tensor = x) -> Task:
        return Task(rates, labels, sizes, steps, dt)

    if options.memory_of:
        name = options.memory_of
        print(
            memory.measure(deep.DEEP[name], deep.batch())
            if options.deep
            else memory.measure(LIF[name], task(options.dt))
        )
        return
    options.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    raw: dict[str, Any] = {"threads": torch.get_num_threads(), "images": what}

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    def run(title: str, results: dict[str, dict[str, Times]]) -> None:
        raw[title] = {c: {n: t.ms for n, t in r.items()} for c, r in results.items()}
        say(table(title, results))

    rounds = options.rounds
    say(f"{torch.get_num_threads()} threads, {rounds} rounds, batch {BATCH}, {what}.\n")
    if "a" in options.workloads:
        columns = {f"dt = {dt:g}": dt for dt in (0.05, 0.5, 1.0, 5.0)}
        lif = {c: race(bound("lif", LIF, task(dt)), rounds, 4) for c, dt in columns.items()}
        run("(a) LIF, 784-256-10, T = 50", lif)
        figures.bars(lif, options.out / "performance.png")
        many, of_many, _ = images(options.data_dir, BATCHES * BATCH)
        after = {
            column: networks.trained(Task(many, of_many, SMALL, 50, dt, BATCH), TRAINED)
            for column, dt in columns.items()
        }
        names = (OURS, BY_HAND, *BEST, "SpikingJelly 2.0, multi-step, torch.compile")
        run(
            f"(a) LIF, 784-256-10, T = 50, after {TRAINED} steps of training",
            {c: race(bound("lif", names, one), rounds, 4) for c, one in after.items()},
        )
        run(
            "(a) Izhikevich, 784-256-10, T = 50",
            {
                c: race(bound("izhikevich", IZHIKEVICH, task(dt)), max(5, rounds // 3), 2)
                for c, dt in columns.items()
            },
        )
        found = memory.measure_all(list(LIF))
        raw["memory"] = found
        say("### (a) Peak memory of a step, dt = 1 (MiB)\n\n| | MiB |\n| --- | ---: |")
        say("\n".join(f"| {name} | {mib:.1f} |" for name, mib in found.items()) + "\n")
        rates = roofline.machine()
        say(
            f"### Roofline\n\nMemory {rates.memory:.0f} GB/s, cache {rates.cache:.0f} GB/s, "
            f"products {rates.products:.0f} GFLOP/s.\n\n| dt | input spikes | bound by rows and "
            "states (ms) | saltation (ms) | dense products alone (ms) |\n"
            "| ---: | ---: | ---: | ---: | ---: |"
        )
        for column, dt in columns.items():
            work = roofline.work(task(dt))
            say(
                f"| {dt:g} | {work.spikes:,} | {work.bound(rates):.2f} | "
                f"{lif[column][OURS].median:.1f} | {work.dense_bound(rates):.1f} |"
            )
        say("")
    if "b" in options.workloads:
        names = (OURS, *BEST, "SpikingJelly 2.0, multi-step", "snnTorch 1.0, products at once")
        run(
            "(b) LIF, 784-1024-1024-10, T = 100",
            {
                f"dt = {dt:g}": race(
                    bound("lif", names, task(dt, WIDE, 100)), max(5, rounds // 5), 2
                )
                for dt in (0.5, 1.0)
            },
        )
    if "c" in options.workloads:
        batch = race(
            {n: partial(build, (x[:64], labels[:64])) for n, build in reward.REWARD.items()},
            rounds,
            3,
        )
        run("(c) R-STDP, T = 200, batch 64", {"a training batch": batch})
    if "d" in options.workloads:
        run(
            "(d) LIF loop, forward and backward, [T, 32, 64, 32, 32]",
            {
                f"T = {t}": race(
                    {name: partial(loops.made, name, t) for name in loops.LOOPS},
                    max(5, rounds // 5),
                    2,
                )
                for t in (4, 16)
            },
        )
    if "e" in options.workloads:
        scaling(task, x, rounds, run, say, options.out)
    if "f" in options.workloads:
        raw["deep memory"] = deep_networks(max(5, rounds // 5), run, say)
    if "g" in options.workloads:
        say(converted.HEAD)
        for name in converted.SIZES:
            times = converted.raced(name, max(5, rounds // 2))
            raw[f"(g) {name}"] = {who: t.ms for who, t in times.items()}
            say(converted.row(name, times))
        say("")
    if "h" in options.workloads:
        run(
            "(h) recorded spikes, 700-256-20, T = 100, batch 64, density 0.11",
            {
                column: race(
                    {name: partial(sequences.made, name, recurrent) for name in sequences.NAMES},
                    rounds,
                    2,
                )
                for column, recurrent in (("feed-forward", False), ("recurrent", True))
            },
        )
    (options.out / "benchmarks.md").write_text("\n".join(lines), encoding="utf-8")
    (options.out / "timings.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    print(f"written: {options.out}")


def deep_networks(
    rounds: int,
    run: Callable[[str, dict[str, dict[str, Times]]], None],
    say: Callable[[str], None],
) -> dict[str, float]:
    """Workload (f): convolutional networks, vanilla and regularised; returns peak memories."""
    images = deep.batch()

    def raced(names: tuple[str, ...], times: int) -> dict[str, Times]:
        builders = {name: partial(deep.repeated, name, images, times) for name in names}
        return race(builders, rounds, 1)

    vanilla = raced((OURS, deep.RECOMPUTED, deep.PEER), 1)
    run("(f) VGG, depth 8, batch 32, T = 4", {"a step": vanilla})
    # Every fourth step has an estimate of λ.
    regularised = raced((deep.REGULARISED, deep.PEER_REGULARISED), 4)
    run("(f) the same regularised", {"four steps": regularised})
    for two, one in ((deep.PEER, OURS), (deep.PEER_REGULARISED, deep.REGULARISED)):
        both = vanilla | regularised
        ratio = statistics.median(a / b for a, b in zip(both[two].ms, both[one].ms, strict=True))
        say(f"{two} / {one}: median ratio {ratio:.2f}\n")
    for channels, side in ((64, 32), (256, 8)):
        columns = {
            f"{density:g}": race(
                {
                    name: partial(convolutions.made, name, density, channels, side)
                    for name in convolutions.CONVOLUTIONS
                },
                rounds,
                1,
            )
            for density in convolutions.DENSITIES
        }
        run(f"(f) a convolution, {channels} channels, {side} x {side}, by density", columns)
    found = memory.measure_all(list(deep.DEEP), deep=True)
    say("### (f) Peak memory of a step (MiB)\n\n| | MiB |\n| --- | ---: |")
    say("\n".join(f"| {name} | {mib:.0f} |" for name, mib in found.items()) + "\n")
    return found


def scaling(
    task: Callable[..., Task],
    x: Tensor,
    rounds: int,
    run: Callable[[str, dict[str, dict[str, Times]]], None],
    say: Callable[[str], None],
    out: Path,
) -> None:
    """Workload (e): time against steps, density and threads."""
    pair = (OURS, BEST[1])
    few = max(5, rounds // 3)
    by_steps = {
        f"T = {steps}": race(bound("lif", pair, task(1.0, steps=steps)), few, 2)
        for steps in (25, 50, 100, 200, 400, 800)
    }
    run("(e) steps, dt = 1", by_steps)
    # Every pixel has the same rate, and a part of them is black, so that p dt stays moderate.
    curves: dict[str, dict[float, Times]] = {name: {} for name in pair}
    columns: dict[str, dict[str, Times]] = {}
    for density in (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5):
        rates = torch.full_like(x, -float(torch.log1p(torch.tensor(-density))))
        columns[f"{density:g}"] = race(bound("lif", pair, task(1.0, rates=rates)), few, 2)
        for name, times in columns[f"{density:g}"].items():
            curves[name][density] = times
    idle = race(bound("lif", pair, task(1.0, rates=torch.zeros_like(x))), few, 2)
    columns["idle"] = idle
    run("(e) density of the input spikes", columns)
    figures.densities(curves, idle, out / "density.png")
    small = race(
        {
            "dt = 0.01": partial(networks.ours, task(0.01)),
            "idle": partial(networks.ours, task(0.01, rates=torch.zeros_like(x))),
        },
        rounds,
        4,
    )
    ratio = statistics.median(
        a / b for a, b in zip(small["dt = 0.01"].ms, small["idle"].ms, strict=True)
    )
    say(
        f"MNIST at dt = 0.01: {small['dt = 0.01'].median:.2f} ms, idle: "
        f"{small['idle'].median:.2f} ms; median ratio {ratio:.2f}\n"
    )
    threads = torch.get_num_threads()
    by_threads = {}
    for number in range(1, threads + 1):
        torch.set_num_threads(number)
        by_threads[f"{number} threads"] = race(bound("lif", pair, task(1.0)), few, 2)
    torch.set_num_threads(threads)
    run("(e) threads, dt = 1", by_threads)


if __name__ == "__main__":
    main()
