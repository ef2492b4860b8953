"""Figures of stability estimates."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from saltation.stability.result import Lyapunov

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
    for axes in (spectrum, over_time, shares):
        axes.xaxis.get_major_locator().set_params(integer=True)

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
