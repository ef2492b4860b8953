"""Sequences at any time step: a current over time, averaged over each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from saltation.errors import positive


def steps_of(samples: int, sample_dt: float, dt: float) -> int:
    """Steps of ``dt`` that a sequence of so many samples takes; the last may reach beyond it."""
    return max(1, math.ceil(round(samples * sample_dt / dt, 9)))


def at_steps(x: Tensor, sample_dt: float, dt: float) -> Tensor:
    """A sequence as currents at the steps of a network, so that every dt sees the same input.

    Sample k is the current from ``k sample_dt`` to ``(k + 1) sample_dt``, and a step is given its
    mean: the integral over the step divided by dt. Beyond the end the current is 0.

    Parameters
    ----------
    x
        ``[B, T, F]``.
    sample_dt
        The time between samples.
    dt
        Length of a step, in the same unit.

    Returns
    -------
    Tensor ``[steps, B, F]`` with ``steps = ceil(T sample_dt / dt)``, of the dtype of ``x``.

    Raises
    ------
    SaltationError
        If a time is not positive.
    """
    positive("sample_dt", sample_dt)
    positive("dt", dt)
    if sample_dt == dt:
        return x.transpose(0, 1).contiguous()
    samples = x.shape[1]
    steps = steps_of(samples, sample_dt, dt)
    # The integral from 0 to the end of each sample, in double precision: it is differenced.
    total = torch.nn.functional.pad(x.double().cumsum(1), (0, 0, 1, 0))
    place = torch.arange(steps + 1, dtype=torch.float64, device=x.device) * (dt / sample_dt)
    place = place.clamp(max=samples)
    low = place.floor().clamp(max=samples - 1).long()
    part = (place - low).unsqueeze(-1)
    integral = total[:, low] * (1 - part) + total[:, low + 1] * part
    return (integral.diff(dim=1) * (sample_dt / dt)).to(x.dtype).transpose(0, 1).contiguous()
