"""``python -m benchmarks.gpu``: training steps on a GPU, all contenders in one run.

``--smoke`` takes a step of everything at toy size, on a CPU too. `make bench-gpu` runs it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from benchmarks import figures
from benchmarks.memory import _status
from benchmarks.neurons import NEURONS, differing
from benchmarks.timing import Step, Times, race, table
from saltation.layers import SpikingLayer

DENSITY = 0.05  # of the input spikes where they are made up


class Size(NamedTuple):
    """Of a workload: steps T, batch, and what the workload makes of ``width``."""

    steps: int
    batch: int
    width: int


class Workload(NamedTuple):
    """What is timed, and at which sizes: for the benchmark, and for a smoke run."""

    title: str
    build: Callable[[Callable[[], nn.Module], Size, str], Step]
    sizes: Mapping[str, Size]
    smoke: Size


def _random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _trained(network: nn.Module, x: Tensor, classes: int, device: str) -> Step:
    """A step of training on inputs ``[T, B, ...]``, of a network whose outputs are summed."""
    network, x = network.to(device), x.to(device)
    labels = (torch.arange(x.shape[1]) % classes).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step(_: int) -> None:
        out = network(x)
        loss = cross_entropy(out if out.ndim == 2 else out.sum(0), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _loop(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    """Neurons alone, forward and backward."""
    neurons = make().to(device)
    x = (3 * _random(size.steps, size.batch, size.width)).to(device).requires_grad_()
    g = _random(*x.shape).to(device)

    def step(_: int) -> None:
        x.grad = None
        neurons(x).backward(g)

    return step


def _dense(make: Callable[[], nn.Module], size: Size, device: str, *widths: int) -> Step:
    """Linear layers with neurons between, on spikes that are given."""
    modules: list[nn.Module] = []
    torch.manual_seed(0)
    for one, two in pairwise(widths):
        modules += [nn.Linear(one, two), make()]
    x = (_random(size.steps, size.batch, widths[0]) < DENSITY).float()
    return _trained(nn.Sequential(*modules[:-1]), x, widths[-1], device)


def _notebook(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    return _dense(make, size, device, 784, size.width, 10)


def _shd(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    return _dense(make, size, device, 700, size.width, size.width, 20)


def _open(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    """One linear layer and its neurons, forward and backward."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(size.width, size.width), make()).to(device)
    x = (_random(size.steps, size.batch, size.width) < DENSITY).float().to(device)

    def step(_: int) -> None:
        network.zero_grad()
        network(x).sum().backward()

    return step


def _with(network: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    """The network with other neurons in place of ours."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SpikingLayer):
                setattr(module, name, make())
    return network


def _images(network: nn.Module, make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    x = _random(size.batch, 3, 32, 32).expand(size.steps, -1, -1, -1, -1)
    return _trained(_with(network, make), x, 10, device)


def _vgg(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    network = st.spiking_vgg(3, 10, 32, base_channels=size.width, steps=size.steps)
    return _images(network, make, size, device)


def _sew(make: Callable[[], nn.Module], size: Size, device: str) -> Step:
    counts = (2, 2, 2) if size.width > 8 else (1, 1, 1)
    network = st.models.sew_resnet("basic", counts, 3, 10, width=size.width, steps=size.steps)
    return _images(network, make, size, device)


WORKLOADS = {
    "loop": Workload(
        "Neurons alone, forward and backward, by steps x neurons",
        _loop,
        {
            f"{t} x {n}": Size(t, 64, int(n) // 64)
            for t, n in ((4, 2**16), (4, 2**22), (64, 2**16), (64, 2**20), (512, 2**16))
        },
        Size(5, 2, 16),
    ),
    "notebook": Workload(
        "784-256-10, T = 50", _notebook, {"batch 128": Size(50, 128, 256)}, Size(5, 2, 8)
    ),
    "vgg": Workload("VGG, depth 8, T = 4", _vgg, {"batch 128": Size(4, 128, 64)}, Size(2, 2, 2)),
    "sew": Workload(
        "SEW-ResNet of 2, 2, 2 blocks, T = 4", _sew, {"batch 128": Size(4, 128, 64)}, Size(2, 2, 4)
    ),
    "shd": Workload(
        "SHD's shapes, 700-128-128-20, T = 256, spikes at 5 %",
        _shd,
        {"batch 256": Size(256, 256, 128)},
        Size(6, 2, 8),
    ),
    "open": Workload(
        "A linear layer and its neurons, T = 500, batch 16, spikes at 5 %",
        _open,
        {f"{n:,} neurons": Size(500, 16, n) for n in (1024, 4096, 16384)},
        Size(6, 2, 16),
    ),
}


def made(workload: str, size: Size, name: str, device: str) -> Step:
    """A step that has ended when it returns; a function that can be sent to another process."""
    step = WORKLOADS[workload].build(NEURONS[name], size, device)
    if device == "cpu":
        return step

    def synchronised(number: int) -> None:
        step(number)
        torch.cuda.synchronize()

    return synchronised


def _peak(pipe: Any, tiny: Callable[[], Step], build: Callable[[], Step], device: str) -> None:
    warnings.simplefilter("ignore")
    try:
        tiny()(0)  # libraries and compiled kernels are in memory then
        step = build()
        if device == "cpu":
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
            before = _status("VmRSS")
        for number in range(3):
            step(number)
        if device == "cpu":
            pipe.send(_status("VmHWM") - before)
        else:
            pipe.send(torch.cuda.max_memory_allocated() / 2**20)
    except Exception:  # the race has said why
        pipe.send(None)


def memory(workload: str, size: Size, name: str, device: str) -> float | None:
    """MiB at the peak of a step: on a GPU of all that is allocated, on a CPU above what network and
    inputs take."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    build = partial(made, workload, size, name, device)
    tiny = partial(made, workload, size._replace(steps=2, batch=2), name, device)
    process = context.Process(target=_peak, args=(theirs, tiny, build, device), daemon=True)
    process.start()
    theirs.close()
    try:
        found: float | None = ours.recv()
    except EOFError:
        found = None
    process.join()
    return found


def _once(builders: Mapping[str, Callable[[], Step]]) -> dict[str, Times]:
    """A few steps of each contender in this process, which says that they run and no more."""
    found: dict[str, Times] = {}
    for name, build in builders.items():
        step, ms = build(), []
        for number in range(3):
            start = time.perf_counter()
            step(number)
            ms.append(1e3 * (time.perf_counter() - start))
        found[name] = Times(ms[1:])
    return found


def machine(device: str) -> str:
    """What it ran on."""
    if device == "cpu":
        return f"a CPU, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name()


def _memories(found: Mapping[str, Mapping[str, float | None]]) -> str:
    columns = list(found)
    names = list(dict.fromkeys(name for column in found.values() for name in column))
    lines = ["| peak MiB | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name in names:
        cells = ("" if (mib := found[c].get(name)) is None else f"{mib:.0f}" for c in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--neurons", nargs="+", choices=list(NEURONS))
    parser.add_argument("--sizes", nargs="+", help="some of the sizes of the workloads")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--smoke", action="store_true", help="toy sizes, and a CPU will do")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks-gpu"))
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    device = options.device if torch.cuda.is_available() or not options.smoke else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here: --smoke or --device cpu runs without one")
    # What torch.compile takes minutes for is no part of a smoke run.
    quick = [name for name in NEURONS if "compile" not in name]
    names = options.neurons or (quick if options.smoke else list(NEURONS))
    options.out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    raw: dict[str, Any] = {"machine": machine(device), "torch": torch.__version__}

    def say(text: str) -> None:
        print(text, flush=True)
        lines.append(text)

    say(f"{machine(device)}, torch {torch.__version__}, saltation {st.__version__}.\n")
    for name in names:
        say(f"- {name}: {differing(name, device):.2%} of its spikes are not those of plain torch")
    say("")
    for name in options.workloads:
        workload = WORKLOADS[name]
        sizes = {"smoke": workload.smoke} if options.smoke else workload.sizes
        results: dict[str, dict[str, Times]] = {}
        peaks: dict[str, dict[str, float | None]] = {}
        for column, size in sizes.items():
            if options.sizes and column not in options.sizes and not options.smoke:
                continue
            build = {n: partial(made, name, size, n, device) for n in names}
            results[column] = _once(build) if options.smoke else race(build, options.rounds, 3)
            peaks[column] = {
                n: None if options.smoke else memory(name, size, n, device) for n in results[column]
            }
        raw[name] = {
            c: {n: {"ms": t.ms, "mib": peaks[c][n]} for n, t in r.items()}
            for c, r in results.items()
        }
        say(table(workload.title, results))
        figures.bars(results, options.out / f"gpu-{name}.png")
        if not options.smoke:
            say(_memories(peaks))
    (options.out / "gpu.md").write_text("\n".join(lines), encoding="utf-8")
    (options.out / "timings.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
