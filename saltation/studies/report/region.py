"""The figure of stability away from rest: states, inputs, and where the one-step map leads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from saltation.errors import SaltationError
from saltation.neurons import Neuron
from saltation.numerics.region import bifurcation, overflows, radius_region
from saltation.reference import simulate
from saltation.studies.report.drawing import DT, STYLE, save

_SCHEMES = ("euler", "exponential", "symplectic", "symplectic_v", "rk4")
_MOST, _MOST_VARIABLES = 4, 3
_DTS, _POTENTIALS, _INPUTS = 50, 61, 49
_REACH = 3.0  # potentials and inputs go so many times as far as the threshold from rest


def draw_region(folder: Path, model: Neuron, current: float) -> list[Path]:
    """Draw, for up to four schemes of a neuron, three panels over dt.

    Where one step multiplies perturbations by more than one, over the potential; which constant
    inputs make the state overflow; and the potentials that the map visits under an
    inhibitory one.

    Parameters
    ----------
    folder
        Of the figure.
    model
        The neuron; its dt is marked.
    current
        Constant input whose exact potentials are marked; inhibition goes to eight times as far
        below zero.

    Returns
    -------
    Paths of the PNG and the SVG.

    Raises
    ------
    SaltationError
        If the model has more than three variables, or no resting state.
    """
    if len(model.State._fields) > _MOST_VARIABLES:
        raise SaltationError(
            f"stability away from rest is drawn of at most {_MOST_VARIABLES} variables, and "
            f"{model.title} has {len(model.State._fields)}"
        )
    schemes = [name for name in _SCHEMES if name in model.schemes][:_MOST]
    limits = [_with(model, s).dt_limit for s in schemes]
    reach = 1.35 * max([model.dt, *(limit for limit in limits if math.isfinite(limit))])
    dts = np.linspace(reach / _DTS, reach, _DTS)
    rest, top = float(model.fixed_point[0]), float(model.threshold(*model.fixed_point))
    deep = rest - _REACH * (top - rest)
    potentials = np.linspace(deep, top, _POTENTIALS)
    inputs = np.linspace(-8 * _REACH * abs(current), _REACH * abs(current), _INPUTS)
    inhibition = float(f"{inputs[0] / 4:.2g}")
    visited, low = _visited(model, current), rest
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(1.3 + 2.35 * len(schemes), 7.2))
        panels = figure.subplots(3, len(schemes), sharex=True, sharey="row", squeeze=False)
        for column, (scheme, limit) in enumerate(zip(schemes, limits, strict=True)):
            one = _with(model, scheme)
            top_panel, middle, bottom = panels[:, column]
            _radii(top_panel, dts, potentials, radius_region(one, dts, potentials), visited)
            _inputs(middle, dts, inputs, overflows(one, dts, inputs))
            visits = bifurcation(one, dts, inhibition)
            low = min(low, float(np.nan_to_num(visits[0]).min()))
            _visits(bottom, dts, visits)
            for axes in (top_panel, middle, bottom):
                axes.axvline(model.dt, color="black", linewidth=0.8)
                if math.isfinite(limit) and limit < reach:
                    axes.axvline(limit, color="#777777", linewidth=1, linestyle=(0, (2, 2)))
            top_panel.set_title(scheme, loc="left", fontweight="bold")
            bottom.set_xlabel(DT)
        panels[0][0].set_ylabel("potential v")
        panels[1][0].set_ylabel("constant input x")
        # Where overshoots go is far away; what they leave is near the potential that holds still.
        panels[2][0].set_ylim(rest + 4 * (low - rest), top + (top - low))
        panels[2][0].set_ylabel(f"potentials under x = {inhibition:.3g}")
        figure.suptitle(
            f"{model.title}. Top: white where a step damps perturbations, grey where they grow; "
            "hatched: potentials of the exact solution.\nMiddle: black where the state overflows "
            "within 50 steps. Bottom: where 300 steps lead.\nLines: dt, and the limit at rest "
            "(dashed).",
            x=0.01,
            ha="left",
            fontsize=8,
            color="#555555",
        )
        return save(figure, folder, f"region-{model.name}")


def _with(model: Neuron, scheme: str) -> Neuron:
    make: Any = type(model)
    made: Neuron = make(**{n: getattr(model, n) for n in model.parameters()} | {"scheme": scheme})
    return made


def _visited(model: Neuron, current: float) -> tuple[float, float] | None:
    """The lowest and highest potential of the exact solution under the current."""
    slow = 1 / np.abs(np.linalg.eigvals(model.jacobian).real).min()
    try:
        potentials = simulate(model, current, 10 * slow).states[:, 0]
    except SaltationError:  # none without a step
        return None
    return float(potentials.min()), float(potentials.max())


def _radii(axes: Axes, dts: Any, potentials: Any, radii: Any, visited: Any) -> None:
    grown = np.log2(np.clip(radii.T, 2.0**-3, 2.0**3))
    axes.contourf(dts, potentials, grown, levels=[0, 0.5, 1, 2, 3], cmap="Greys", extend="max")
    axes.contour(dts, potentials, grown, levels=[0], colors="black", linewidths=1.2)
    if visited is not None:
        axes.axhspan(*visited, facecolor="none", edgecolor="#0072B2", hatch="//", linewidth=0.4)


def _inputs(axes: Axes, dts: Any, inputs: Any, beyond: Any) -> None:
    axes.contourf(dts, inputs, beyond.T.astype(float), levels=[0.5, 1.5], colors=["black"])
    axes.axhline(0, color="#aaaaaa", linewidth=0.6)


def _visits(axes: Axes, dts: Any, visits: Any) -> None:
    axes.plot(np.repeat(dts, visits.shape[1]), visits.ravel(), ".", markersize=1.2, color="black")
    lost = np.isnan(visits).all(1)
    if lost.any():
        axes.axvspan(
            float(dts[lost.argmax()]), float(dts[-1]), color="#D55E00", alpha=0.25, linewidth=0
        )
