"""Figures of stability estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saltation.errors import SaltationError
from saltation.stability.result import Lyapunov

if TYPE_CHECKING:
    from saltation.stability.diagnosis import Diagnosis

_STYLES = ("-", "--", ":", "-.")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; the ending of the path chooses the format."""
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def draw_lyapunov(result: Lyapunov, path: Path) -> Path:
    """Exponents with their standard errors; growth over the horizon; the layers' share in it."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    spectrum, over_time, shares = figure.subplots(1, 3)
    values = result.spectrum.detach().cpu()
    number = torch.arange(1, len(values) + 1)
    errors = result.standard_error.cpu().nan_to_num()
    spectrum.errorbar(number, values, yerr=errors, fmt="ko", markersize=4, capsize=3)
    spectrum.axhline(0, color="0.6", linewidth=1)
    spectrum.set(xlabel="number", ylabel=f"exponent per {result.unit}", title="exponents")
    spectrum.set_xlim(0.5, len(values) + 0.5)
    for axes in (spectrum, over_time, shares):
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)

    time = result.transient + torch.tensor(result.spans).cumsum(0)
    growth = result.growth[:, 0].detach().cpu().cumsum(0)
    mean = growth.mean(1)
    over_time.plot(time, mean, color="k", marker="o" if len(time) < 20 else "")
    if growth.shape[1] > 1:
        spread = growth.std(1)
        over_time.fill_between(time, mean - spread, mean + spread, color="0.85")
    over_time.axhline(0, color="0.6", linewidth=1)
    over_time.set(xlabel="step", ylabel="log growth", title="growth, mean ± 1 s.d. of samples")

    share = result.norms.detach().cpu().mean(2)
    for i, name in enumerate(result.layers):
        grey = str(0.75 * i / max(1, len(result.layers) - 1))
        marker = "o" if len(time) < 20 else ""
        shares.plot(time, share[:, i], _STYLES[i % 4], color=grey, marker=marker, label=name)
    shares.set(xlabel="step", ylabel="norm / norm of all", title="where it is", ylim=(0, 1.02))
    if len(result.layers) <= 12:
        shares.legend(fontsize=7)
    return save(figure, path)


def draw_diagnosis(found: Diagnosis, path: Path) -> Path:
    """Layer by layer: activity, where potentials are, gradients, and growth of a perturbation.

    Raises
    ------
    SaltationError
        If the diagnosis has no layers.
    """
    if not found.layers:
        raise SaltationError("there is no layer to draw: the weights of the network are not finite")
    table = found.table
    number = range(1, len(table) + 1)
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    activity, reach, gradient, growth = figure.subplots(2, 2, sharex=True).flat
    activity.plot(number, table["rate"], "k-o", markersize=4, label="rate per neuron and step")
    activity.plot(number, table["silent"], "s--", color="0.45", markersize=4, label="silent")
    activity.plot(number, table["dead"], "^:", color="0.65", markersize=4, label="dead")
    activity.set(ylabel="spikes, or share of neurons", ylim=(-0.03, 1.03), title="activity")
    activity.set_xlim(0.5, len(table) + 0.5)
    activity.legend(fontsize=7)
    reach.plot(number, table["distance"], "k-o", markersize=4)
    reach.set(
        ylabel="half-widths of the surrogate",
        title="mean distance of potentials from threshold",
    )
    reach.set_ylim(bottom=0)
    _logarithmic(gradient, number, table["gradient"])
    gradient.set(ylabel="norm", title="gradient of the loss at the layer's input")
    _logarithmic(growth, number, table["growth"])
    growth.axhline(1, color="0.6", linewidth=1)
    if len(table) == 1:
        growth.text(0.5, 0.7, "one layer: none before it", ha="center", transform=growth.transAxes)
    growth.set(ylabel="factor", title="growth of a perturbation, from the layer before")
    for axes in (gradient, growth):
        axes.set_xlabel("layer")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return save(figure, path)


def _logarithmic(axes: Axes, number: Iterable[int], values: Iterable[float]) -> None:
    """Values on a logarithmic axis, those that are 0 as crosses at its foot."""
    pairs = list(zip(number, values, strict=True))
    axes.plot(*zip(*((n, v if v > 0 else math.nan) for n, v in pairs), strict=True), "k-o", ms=4)
    if any(v > 0 for _, v in pairs):
        axes.set_yscale("log")
    nothing = [n for n, v in pairs if v == 0]
    if nothing:
        foot = axes.get_ylim()[0]
        axes.plot(nothing, [foot] * len(nothing), "kx", clip_on=False, label="0")
        axes.legend(fontsize=7)
