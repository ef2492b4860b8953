"""The figures of the benchmarks, readable in grey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.networks import OURS
from benchmarks.timing import Times


def bars(results: Mapping[str, Mapping[str, Times]], path: Path) -> None:
    """Workload (a): a panel for every dt, a bar with its quartiles for every contender."""
    figure, axes = pyplot.subplots(
        1,
        len(results),
        figsize=(2.2 + 2.4 * len(results), 4.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (column, times) in zip(axes[0], results.items(), strict=True):
        names = list(reversed(times))
        widest = max(t.quartiles[1] for t in times.values())
        for place, name in enumerate(names):
            median, (low, high) = times[name].median, times[name].quartiles
            axis.barh(
                place,
                median,
                color="#1b4f8f" if name == OURS else "#c2c2c2",
                edgecolor="black",
                linewidth=0.6,
                xerr=[[median - low], [high - median]],
                error_kw={"linewidth": 0.8, "capsize": 2},
            )
            axis.text(high + 0.02 * widest, place, f"{median:.1f}", va="center", fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_title(column, fontsize=9)
        axis.set_xlim(right=1.22 * widest)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("one training step (ms; median and quartiles)", fontsize=9)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def densities(
    results: Mapping[str, Mapping[float, Times]], idle: Mapping[str, Times], path: Path
) -> None:
    """Time against the density of the input spikes; dashed, that of an idle network."""
    figure, axis = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    styles = iter([("o-", "#1b4f8f"), ("s-", "#777777"), ("^-", "#aaaaaa")])
    for name, times in results.items():
        style, color = next(styles)
        places = list(times)
        medians = [times[p].median for p in places]
        low, high = zip(*(times[p].quartiles for p in places), strict=True)
        axis.plot(places, medians, style, color=color, label=name, markersize=5)
        axis.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
        axis.axhline(
            idle[name].median, color=color, linestyle="--", linewidth=1, label=f"{name}, idle"
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("input spikes per pixel and step")
    axis.set_ylabel("one training step (ms)")
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
