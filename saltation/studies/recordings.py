"""Figures of what trained networks of a study do on a test sample: spikes, and some potentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from saltation.activity.recording import LayerRecord, record
from saltation.errors import SaltationError
from saltation.studies.engine.records import contents
from saltation.studies.engine.rows import FINISHED, Record
from saltation.studies.engine.study import Study
from saltation.studies.networks import checkpoint_of, trained
from saltation.studies.report.drawing import COLOURS, STYLE, note, save

# Trials that are drawn; layers, neurons of a raster and of potentials in each figure; and spikes
# from which dots are an image, which is then smaller than they are.
_TRIALS, _LAYERS, _NEURONS, _TRACES, _DOTS = 4, 3, 60, 3, 1500
_DASHES = ("-", "--", ":")


def draw_recordings(study: Study[Any], data: Any, folder: Path) -> tuple[list[Path], list[str]]:
    """Draw the first test sample in networks of the first seed, of trials evenly over the grid.

    Those of trials that are not drawn any more are taken away.

    Parameters
    ----------
    study, data
        As `study_of` gives it, and what its ``data`` gave.
    folder
        Of the figures.

    Returns
    -------
    The figures, and a line for each trial of which there is none.
    """
    done = [one for one in contents(study).asked if one["status"] == FINISHED]
    first = [one for one in done if one["settings"]["seed"] == done[0]["settings"]["seed"]]
    for old in folder.glob("recording-*.*"):
        old.unlink()
    paths, left = [], []
    for one in _spread(first, _TRIALS):
        try:
            paths += _drawn(study, data, one, folder)
        except SaltationError as error:
            left.append(f"no recording of {study.label(one['settings'])}: {error}")
    return paths, left


def _drawn(study: Study[Any], data: Any, one: Record, folder: Path) -> list[Path]:
    (found,) = trained(study, data, checkpoint_of(study, one))
    x = study.probe(found.settings, data, 1, torch.device("cpu")).x
    layers = record(found.network, x).layers
    names = list(layers)
    shown = [
        names[i] for i in np.unique(np.linspace(0, len(names) - 1, _LAYERS).round().astype(int))
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.6 + 1.15 * len(shown)), layout="constrained")
        panels = figure.subplots(len(shown) + 1, 1, sharex=True)
        for axes, name in zip(panels, shown, strict=False):
            _raster(axes, name, layers[name])
        _potentials(panels[-1], shown[0], layers[shown[0]])
        dt = layers[shown[0]].dt
        end = len(layers[shown[0]].spikes) * (1.0 if dt is None else dt)
        panels[-1].set_xlim(0, 1.01 * end)
        panels[-1].xaxis.set_major_locator(MaxNLocator("auto", integer=dt is None))
        panels[-1].set_xlabel("step" if dt is None else f"time, in the unit of tau (dt = {dt:g})")
        note(figure, f"{study.label(found.settings)}: first test sample, after epoch {found.epoch}")
        return save(figure, folder, f"recording-{one['id']}")


def _spread(values: list[Any], most: int) -> list[Any]:
    """So many of them, evenly, with the first and the last."""
    places = np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))
    return [values[place] for place in places] if values else []


def _raster(axes: Axes, name: str, layer: LayerRecord) -> None:
    spikes = layer.spikes[:, 0].reshape(len(layer.spikes), -1)
    every = -(-spikes.shape[1] // _NEURONS)
    steps, neurons = np.nonzero(spikes[:, ::every])
    axes.plot(
        _ends(layer, steps),
        neurons * every,
        "|k",
        markersize=3,
        markeredgewidth=0.8,
        rasterized=len(steps) > _DOTS,
    )
    axes.set(ylabel="neuron", ylim=(-1, spikes.shape[1]))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    some = "" if every == 1 else f", one neuron in {every} shown"
    rate = f"{spikes.mean():.3g} spikes per neuron and step"
    axes.set_title(f"layer {name}: {rate}{some}", loc="left", fontsize=8)


def _potentials(axes: Axes, name: str, layer: LayerRecord) -> None:
    """Of the neurons that spike most."""
    spikes, potentials = (
        part[:, 0].reshape(len(part), -1) for part in (layer.spikes, layer.potentials)
    )
    most = np.argsort(-spikes.sum(0), kind="stable")[:_TRACES]
    times = _ends(layer, np.arange(len(potentials)))
    for place, neuron in enumerate(most):
        style: dict[str, Any] = {
            "color": COLOURS[place],
            "linestyle": _DASHES[place],
            "linewidth": 1.2,
        }
        axes.plot(times, potentials[:, neuron], label=f"neuron {neuron}", **style)
    if np.isfinite(layer.threshold):
        axes.axhline(layer.threshold, color="#777777", linewidth=0.8, label="threshold")
    axes.set_ylabel("potential")
    axes.set_title(f"layer {name}: after each step", loc="left", fontsize=8)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7)


def _ends(layer: LayerRecord, steps: Any) -> Any:
    """When steps end."""
    return (steps + 1) * (1.0 if layer.dt is None else layer.dt)
