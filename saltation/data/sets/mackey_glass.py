"""`mackey_glass`: a chaotic series some time ahead (Mackey & Glass, "Oscillation and chaos in
physiological control systems", Science, 1977)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltation import random
from saltation.data.dataset import Split
from saltation.data.generated import Generated
from saltation.data.registry import Spec, register
from saltation.errors import count

_FINE = 5  # Runge-Kutta steps in a unit of time
_SETTLED = 300  # units of time until the start is forgotten


@dataclass(frozen=True)
class MackeyGlass(Generated):
    """``dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x``, to be known ``ahead``.

    Chaotic with a delay of 17. Every sample starts from another constant history, drawn uniformly
    in (0.5, 1.5), and is taken 300 units of time later; fourth-order Runge-Kutta steps of 0.2, the
    delayed value between two steps being their cubic interpolation. Input and target are the
    distance from the fixed point at 1.

    Parameters
    ----------
    steps, ahead, delay : int
        Duration, how far ahead the target is, and the delay, in units of time.
    seed : int
        Of the samples.

    Raises
    ------
    SaltationError
        If a number is below 1.
    """

    steps: int = 500
    ahead: int = 15
    delay: int = 17
    seed: int = 0

    name = "mackey_glass"
    title = "Mackey-Glass series 15 ahead, generated"
    sizes = (1_024, 256)

    def __post_init__(self) -> None:
        for name in ("steps", "ahead", "delay"):
            count(name, getattr(self, name))

    def series(self, index: Tensor, *, stream: int = random.TRAIN) -> Tensor:
        """x at every unit of time, float64 ``[B, steps + ahead]``."""
        history = 0.5 + self.uniform(0, 0, index, stream)[0].numpy()
        lag, step = self.delay * _FINE, 1 / _FINE
        total = (_SETTLED + self.steps + self.ahead) * _FINE
        x = np.empty((lag + 1 + total, len(index)))
        x[: lag + 1] = history
        for now in range(lag, lag + total):
            then, soon = x[now - lag], x[now - lag + 1]
            # Of the cubic through four values around it; before the start all are the same.
            middle = (9 * (then + soon) - x[max(now - lag - 1, 0)] - x[now - lag + 2]) / 16
            fed = [_fed(value) for value in (then, middle, soon)]
            here = x[now]
            k1 = fed[0] - 0.1 * here
            k2 = fed[1] - 0.1 * (here + step / 2 * k1)
            k3 = fed[1] - 0.1 * (here + step / 2 * k2)
            k4 = fed[2] - 0.1 * (here + step * k3)
            x[now + 1] = here + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found = x[lag + _SETTLED * _FINE :: _FINE][: self.steps + self.ahead]
        return torch.from_numpy(found.T.copy())

    def split(self, samples: int, *, stream: int = random.TRAIN) -> Split:
        series = (self.series(torch.arange(samples), stream=stream) - 1).float()[..., None]
        return Split(series[:, : self.steps].contiguous(), series[:, self.ahead :].contiguous())

    def spec(self) -> Spec:
        return Spec(
            name=self.name,
            title=self.title,
            classes=1,
            shape=(self.steps, 1),
            samples=self.sizes[0],
            read=self.read,
            bundled=True,
            dt=1.0,
            regression=True,
            of_moments=True,
        )


def _fed(delayed: NDArray[np.float64]) -> NDArray[np.float64]:
    """``0.2 x / (1 + x^10)``, by products: a power of an array takes far longer."""
    square = delayed * delayed
    fourth = square * square
    return 0.2 * delayed / (1 + fourth * fourth * square)


register(MackeyGlass().spec())
