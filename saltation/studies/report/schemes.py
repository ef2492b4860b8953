"""What every scheme of a neuron does to a small perturbation of rest: table and figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from saltation.errors import choose
from saltation.neurons import Neuron, get_neuron
from saltation.schemes import SCHEMES
from saltation.studies.report.drawing import DT, STYLE, save, scheme_style


def scheme_table(neuron: str, **parameters: Any) -> pd.DataFrame:
    """Every scheme of a neuron at given parameters.

    Parameters
    ----------
    neuron : str
        Name of the model.
    **parameters
        Of the model; ``dt`` among them.

    Returns
    -------
    DataFrame indexed by scheme, with columns ``order``; ``exact``, whether the scheme solves this
    neuron without error between spikes; ``dt_limit`` (inf if there is none);
    ``stable`` (at this dt); ``growth``, the factor by which one step multiplies the size of the
    least damped perturbation of rest; ``exact_growth``, the same for the equations themselves.

    Raises
    ------
    SaltationError
        If the neuron or a parameter is not allowed.
    """
    rows = {}
    for model in _models(neuron, parameters):
        scheme = model.stability_scheme
        slowest = np.linalg.eigvals(model.jacobian).real.max()
        rows[scheme.name] = {
            "order": scheme.order,
            "exact": scheme.exact_if_linear and model.linear,
            "dt_limit": model.dt_limit,
            "stable": model.is_stable,
            "growth": float(scheme.radius(model.jacobian, model.dt)),
            "exact_growth": math.exp(slowest * model.dt),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("scheme")


def draw_schemes(folder: Path, neuron: str, **parameters: Any) -> list[Path]:
    """Draw growth per step against dt for every scheme, with the limit one and the dt asked for.

    Returns
    -------
    Paths of the PNG and the SVG.
    """
    models = _models(neuron, parameters)
    finite = [m.dt_limit for m in models if math.isfinite(m.dt_limit)]
    reach = 1.35 * max([models[0].dt, *finite])
    grid = np.linspace(reach / 400, reach, 400)
    jacobian = models[0].jacobian
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.8))
        axes = figure.subplots()
        axes.axhspan(1, 2, color="#f0f0f0", zorder=0)
        axes.text(0.01 * reach, 1.02, "perturbations of rest grow", fontsize=8, color="#555555")
        exact = np.exp(np.linalg.eigvals(jacobian).real.max() * grid)
        axes.plot(grid, exact, color="black", linewidth=4, alpha=0.15, label="exact")
        for place, model in enumerate(models):
            scheme = model.stability_scheme
            style = scheme_style(scheme.name)
            # Markers at staggered places tell curves that coincide apart.
            growth = scheme.radius(jacobian, grid)
            axes.plot(grid, growth, label=scheme.name, markevery=(9 * place + 20, 75), **style)
        axes.axvline(models[0].dt, color="black", linewidth=0.8)
        axes.annotate(
            f"dt = {models[0].dt:g}",
            (models[0].dt, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
        axes.set(
            xlim=(0, reach),
            ylim=(0, 2),
            xlabel=DT,
            ylabel="growth per step of the least damped mode",
        )
        axes.set_title(f"{models[0].title} at rest", loc="left", fontweight="bold")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        return save(figure, folder, f"stability-{models[0].name}")


def _models(neuron: str, parameters: dict[str, Any]) -> list[Neuron]:
    model: Any = get_neuron(neuron)
    for name in parameters:
        choose(f"{model.title} parameter", name, model.parameters())
    return [model(**parameters, scheme=scheme) for scheme in SCHEMES if scheme in model.schemes]
