"""Neurons under constant current: when they spike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from saltation.layers import SpikingLayer


def trains(
    layer: SpikingLayer, currents: Sequence[float], time: float
) -> list[NDArray[np.float64]]:
    """Times of the spikes of neurons that start at rest, each under its current."""
    dt = layer.neuron.dt
    x = torch.tensor(currents, dtype=torch.float32).expand(round(time / dt), 1, len(currents))
    spikes = layer(x)[:, 0]
    return [(column.nonzero()[:, 0].numpy() + 1.0) * dt for column in spikes.unbind(1)]


def intervals(train: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between spikes, of which there must be some."""
    assert len(train) > 3
    return np.diff(train)
