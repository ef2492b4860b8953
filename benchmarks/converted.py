"""A training step of a tutorial's network and of what saltation makes of it."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch
from torch import Tensor

import saltation as st
from benchmarks.timing import Step, Times, race
from benchmarks.tutorials import TUTORIALS

ORIGINAL, CONVERTED, SPIKES = "original", "converted", "converted, without states"
# How wide hidden layers are, of the tutorial's, and the batch: a step within seconds on two cores.
SIZES = {
    "dense": (1.0, 128), "convolutional": (1.0, 8), "events": (1.0, 8), "regression": (1.0, 32),
    "recurrent": (1.0, 64), "synaptic": (1.0, 64), "lif_fc_mnist": (1.0, 64),
    "csnn": (0.25, 8), "gestures": (0.125, 1), "parametric": (0.25, 4), "sew": (0.5, 4),
}  # fmt: skip


def step_of(name: str, contender: str) -> Step:
    """Forward, backward and Adam's step on one batch; the loss is the mean square of the output."""
    tutorial = TUTORIALS[name]
    scale, batch = SIZES[name]
    torch.manual_seed(0)
    network: Any = tutorial.make(scale)
    x = tutorial.input(batch)
    run = partial(tutorial.run, network)
    if contender != ORIGINAL:
        if tutorial.library == "snntorch":
            network = st.from_snntorch(network, states=contender == CONVERTED)
        else:
            network = st.from_spikingjelly(network)
        run = network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step(_: int) -> None:
        out = run(x)
        parts: tuple[Tensor, ...] = out if isinstance(out, tuple) else (out,)
        optimizer.zero_grad()
        sum((part**2).mean() for part in parts).backward()  # type: ignore[union-attr]
        optimizer.step()

    return step


def contenders(name: str) -> list[str]:
    """The original, the converted network, and where it returns states too, one without them."""
    more = [SPIKES] if name in ("dense", "convolutional", "events") else []
    return [ORIGINAL, CONVERTED, *more]


def raced(name: str, rounds: int) -> dict[str, Times]:
    """Times of a step of every contender."""
    return race({who: partial(step_of, name, who) for who in contenders(name)}, rounds, 2)


def row(name: str, times: dict[str, Times]) -> str:
    """A line of the table: medians, and the median of the ratios of the same turns."""
    tutorial, (scale, batch) = TUTORIALS[name], SIZES[name]
    cells = [tutorial.library, f"{tutorial.source}, {scale:g} x wide, batch {batch}"]
    cells.append(f"{times[ORIGINAL].median:.0f}")
    for who in (CONVERTED, SPIKES):
        if who not in times:
            cells.append("")
            continue
        pairs = zip(times[ORIGINAL].ms, times[who].ms, strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        cells.append(f"{times[who].median:.0f} ({ratio:.1f} x)")
    return f"| {' | '.join(cells)} |"


HEAD = (
    "### (g) A training step of tutorials' networks, converted (ms)\n\n"
    "| library | network | original | converted | converted, spikes alone |\n"
    "| --- | --- | ---: | ---: | ---: |"
)
