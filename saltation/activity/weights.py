"""Figures of a network's weights."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from saltation.activity.drawing import Drawing
from saltation.errors import SaltationError, choose

_BINS = 60


def weights(
    network: nn.Module, layers: list[str] | None = None, *, size: tuple[float, float] | None = None
) -> Figure:
    """Every weight matrix of a network: how its values are distributed, and the matrix itself.

    A convolution's weights are the matrix out x (in·k·k). Red excites, blue inhibits, on a scale of
    the matrix' own that leaves out the outermost thousandth of values.

    Parameters
    ----------
    network : Module
        Of any library.
    layers : list of str, optional
        Names of parameters as ``network.named_parameters()`` has them; all that are matrices or
        kernels unless given.
    size : (float, float), optional
        Width and height in inches; 6.4 by 2 for every matrix unless given.

    Returns
    -------
    The figure; ``savefig`` of it writes PDF, SVG or PNG by the ending of the name.

    Raises
    ------
    SaltationError
        If there is no such matrix, or one holds values that are not finite.

    Examples
    --------
    >>> from saltation.activity import weights
    >>> weights(st.spiking_mlp((784, 256, 10))).savefig("weights.pdf")
    """
    found = {
        name: p.detach().flatten(1).double().cpu()
        for name, p in network.named_parameters()
        if p.ndim > 1 and p.numel()
    }
    if not found:
        raise SaltationError("there is nothing to draw: the network has no weight matrix")
    chosen = [choose("weights", name, found) for name in layers] if layers else list(found)
    for name in chosen:
        if not found[name].isfinite().all():
            raise SaltationError(f"the weights {name} hold values that are not finite")
    size = (6.4, 0.3 + 2.0 * len(chosen)) if size is None else size
    figure = Drawing(figsize=size, layout="constrained")
    panels = figure.subplots(len(chosen), 2, squeeze=False, width_ratios=[1, 1.2])
    for (histogram, picture), name in zip(panels, chosen, strict=True):
        matrix = found[name].numpy()
        counts, edges = np.histogram(matrix, bins=_BINS)
        histogram.stairs(counts, edges, color="0.2", fill=True, alpha=0.35)
        histogram.stairs(counts, edges, color="0.2", linewidth=1)
        histogram.axvline(0, color="0.5", linewidth=0.8, zorder=0)
        spread = float(torch.std(found[name], correction=0))
        histogram.set_title(
            f"{name}\nmean {matrix.mean():.2g}, s.d. {spread:.2g}", fontsize=8, loc="left"
        )
        histogram.set(xlabel="weight", ylabel="number")
        reach = float(np.quantile(np.abs(matrix), 0.999)) or 1.0
        shown = picture.imshow(
            matrix, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest"
        )
        picture.set(xlabel="input", ylabel="output")
        for axis in (picture.xaxis, picture.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        picture.set_title(f"{matrix.shape[0]} x {matrix.shape[1]}", fontsize=8, loc="left")
        figure.colorbar(shown, ax=picture, label="weight")
    return figure
