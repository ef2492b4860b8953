"""Rasters and traces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from saltation.activity.drawing import Drawing

Array = NDArray[Any]
_LINES = ("-", "--", ":", "-.")


def raster(
    layers: list[tuple[str, Array, float | None]],
    ax: Axes | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Spikes ``[T, N]`` of layers, by their names and steps, as dots; of one, into ``ax``."""
    if ax is None:
        size = (6.4, 0.6 + 1.7 * len(layers)) if size is None else size
        figure: Figure = Drawing(figsize=size, layout="constrained")
        panels = list(figure.subplots(len(layers), 1, sharex=_same(layers), squeeze=False)[:, 0])
    else:
        around: Any = ax.get_figure()
        figure, panels = around, [ax]
    for panel, (name, spikes, dt) in zip(panels, layers, strict=True):
        step, neuron = np.nonzero(spikes)
        area = min(12.0, max(0.5, 4000 / max(1, spikes.size)))
        panel.scatter(_times(step, dt), neuron, s=area, c="black", marker="s", linewidths=0)
        panel.set(
            title=f"layer {name}: {spikes.mean():.3g} spikes per neuron and step",
            ylabel="neuron",
            xlim=(0, len(spikes) * (1 if dt is None else dt)),
            ylim=(-0.5, spikes.shape[1] - 0.5),
        )
        panel.title.set_fontsize("medium")
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[-1].set_xlabel(_axis(layers[-1][2]))
    return figure


def _same(layers: list[tuple[str, Array, float | None]]) -> bool:
    return len({(len(spikes), dt) for _, spikes, dt in layers}) == 1


def traces(
    name: str,
    neurons: list[int],
    potentials: Array,
    currents: Array | None,
    spikes: Array,
    threshold: float,
    dt: float | None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Potentials, currents and spikes ``[T, n]`` of some neurons over time."""
    rows = 2 if currents is None else 3
    size = (6.4, 1.3 + 1.9 * (rows - 1)) if size is None else size
    figure = Drawing(figsize=size, layout="constrained")
    heights = [0.14 * max(2, len(neurons)), *([1.6] * (rows - 1))]
    panels = figure.subplots(rows, 1, sharex=True, height_ratios=heights)
    times = _times(np.arange(len(potentials)), dt)
    for place, neuron in enumerate(neurons):
        style = {"ls": _LINES[place % len(_LINES)], "color": f"C{place}", "lw": 1.2}
        panels[1].plot(times, potentials[:, place], label=f"neuron {neuron}", **style)
        fired = times[spikes[:, place] > 0]
        panels[0].eventplot(fired, lineoffsets=place, linelengths=0.8, colors=f"C{place}", lw=1.2)
        if currents is not None:
            panels[2].plot(times, currents[:, place], **style)
    panels[0].set_yticks(range(len(neurons)), [str(neuron) for neuron in neurons], fontsize=7)
    panels[0].set(ylim=(len(neurons) - 0.4, -0.6), ylabel="spikes")
    if not math.isnan(threshold):
        panels[1].axhline(threshold, color="0.5", lw=0.8, label="threshold")
    panels[1].set_ylabel("potential after the step")
    if currents is not None:
        panels[2].set_ylabel("input current")
    panels[-1].set_xlabel(_axis(dt))
    figure.suptitle(f"layer {name}", fontsize="medium")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _times(step: Array, dt: float | None) -> Array:
    """The end of each step."""
    return (step + 1) * (1.0 if dt is None else dt)


def _axis(dt: float | None) -> str:
    return "step" if dt is None else f"time (same unit as tau; a step is {dt:g})"
