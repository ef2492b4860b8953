"""Encoders: an image or any tensor of rates ``[B, ...]`` to a sequence ``[T, B, ...]``.

The random encoders draw from the counter-based generator of `saltation.random`: the train of a
sample is a function of (seed, epoch, sample index) alone, the same in any batch and on any backend.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from saltation.errors import SaltationError, choose, positive
from saltation.kernels.dispatch import active, bernoulli_trains
from saltation.random import TRAIN, words

POISSON_METHODS = ("exact", "linear", "bernoulli")


def poisson(
    x: Tensor,
    steps: int,
    dt: float = 1.0,
    *,
    method: str = "exact",
    index: Tensor | None = None,
    seed: int = 0,
    epoch: int = 0,
    stream: int = TRAIN,
) -> Tensor:
    """Poisson spike trains, drawn step by step.

    Parameters
    ----------
    x : Tensor, [B, ...]
        Rates, at least 0, in spikes per unit of time.
    steps : int
        Number of steps T.
    dt : float, default 1
        Length of a step.
    method : str, default "exact"
        Probability p of a spike in a step: ``exact`` 1 - exp(-x dt), the probability that a
        Poisson process has an event in the step; ``linear`` x dt, at most 1; ``bernoulli`` x,
        whatever dt, with x in [0, 1].
    index : Tensor of int64, [B], optional
        Number of each sample in its data set; default 0 ... B-1.
    seed, epoch, stream : int, default 0
        With the index they fix the train. The stream keeps training and test apart
        (`saltation.random.TRAIN`, `TEST`).

    Returns
    -------
    Tensor, [T, B, ...], of the dtype of ``x``: 1 where a spike is, else 0.

    Raises
    ------
    SaltationError
        If rates are negative or not finite, or steps, dt or method are out of range.
    """
    choose("poisson method", method, POISSON_METHODS)
    flat, index = _checked(x, steps, dt, index)
    if method == "bernoulli":
        _at_most_one(flat, "bernoulli takes probabilities")
    sites = active(flat)
    rate = sites.rates
    if method == "exact":
        p = -torch.expm1(-rate * dt)
    elif method == "linear":
        p = (rate * dt).clamp(max=1)
    else:
        p = rate
    spikes = bernoulli_trains(
        sites,
        (p * 2**32).floor().long(),
        (steps, *flat.shape),
        index,
        x.dtype,
        seed=seed,
        epoch=epoch,
        stream=stream,
    )
    return spikes if x.ndim == 2 else spikes.view(steps, *x.shape)


def common_times(
    x: Tensor,
    steps: int,
    dt: float = 1.0,
    *,
    index: Tensor | None = None,
    seed: int = 0,
    epoch: int = 0,
    stream: int = TRAIN,
) -> Tensor:
    """Poisson spike trains whose events are drawn in continuous time, then binned to the step.

    Intervals are exponential with rate x; a bin of length dt holds at most one spike. Each bin
    spikes with probability 1 - exp(-x dt), as with ``poisson(method="exact")``, but every dt sees
    the same events: the train at dt is the train at dt/2 with its bins merged in pairs.

    Parameters, result and errors as in `poisson`.
    """
    flat, index = _checked(x, steps, dt, index)
    batch, sites = flat.shape
    spikes = torch.zeros(steps, batch * sites, dtype=x.dtype, device=x.device)
    alive = flat.flatten().nonzero().squeeze(1)
    rate = flat.flatten()[alive].double()
    time = torch.zeros_like(rate)
    block = 0
    while len(alive):
        sample, site = index[alive // sites], alive % sites
        for draw in words(block, site, sample, seed=seed, epoch=epoch, stream=stream):
            time = time - torch.log((draw.double() + 0.5) / 2**32) / rate
            # Clamped first: a site of tiny rate can wait longer than an int64 has bins.
            bins = (time / dt).clamp(max=float(steps)).long()
            inside = bins < steps
            spikes[bins[inside], alive[inside]] = 1
        waiting = time < steps * dt
        alive, rate, time = alive[waiting], rate[waiting], time[waiting]
        block += 1
    return spikes.view(steps, *x.shape)


def latency(x: Tensor, steps: int) -> Tensor:
    """One spike per site, the earlier the larger ``x``: at step ``round((T - 1) (1 - x))``.

    Parameters
    ----------
    x : Tensor, [B, ...]
        Intensities in [0, 1]; sites with 0 never spike.
    steps : int
        Number of steps T.

    Returns
    -------
    Tensor, [T, B, ...], of the dtype of ``x``.
    """
    _checked(x, steps, 1.0, None)
    _at_most_one(x, "latency takes intensities")
    when = ((steps - 1) * (1 - x.double())).round().long()
    spikes = torch.zeros(steps, *x.shape, dtype=x.dtype, device=x.device)
    return spikes.scatter_(0, when.unsqueeze(0), (x > 0).to(x.dtype).unsqueeze(0))


def direct(x: Tensor, steps: int) -> Tensor:
    """``x`` at every step: ``[B, ...]`` to ``[T, B, ...]``, a view that copies nothing."""
    _checked_steps(steps)
    return x.unsqueeze(0).expand(steps, *x.shape)


class Encoder(Protocol):
    """Any encoder with the arguments of all; those it has no use for are ignored."""

    def __call__(
        self, x: Tensor, steps: int, dt: float, *, index: Tensor, seed: int, epoch: int, stream: int
    ) -> Tensor: ...


def _poisson_encoder(method: str) -> Encoder:
    def encode(
        x: Tensor, steps: int, dt: float, *, index: Tensor, seed: int, epoch: int, stream: int
    ) -> Tensor:
        return poisson(
            x, steps, dt, method=method, index=index, seed=seed, epoch=epoch, stream=stream
        )

    return encode


# The encoders by the names that studies use.
ENCODERS: dict[str, Encoder] = {
    **{method: _poisson_encoder(method) for method in POISSON_METHODS},
    "common_times": common_times,
    "latency": lambda x, steps, dt, *, index, seed, epoch, stream: latency(x, steps),
    "direct": lambda x, steps, dt, *, index, seed, epoch, stream: direct(x, steps),
}


def _checked_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise SaltationError(f"steps must be an integer of at least 1, got {steps!r}")


def _checked(x: Tensor, steps: int, dt: float, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """``x`` as ``[B, F]`` and the index as int64 ``[B]``."""
    _checked_steps(steps)
    positive("dt", dt)
    if not x.is_floating_point() or x.ndim < 1:
        raise SaltationError(
            f"an encoder takes a floating-point tensor [B, ...], got {x.dtype} {list(x.shape)}"
        )
    low, high = _range(x)
    if not (low >= 0 and high < float("inf")):
        raise SaltationError(
            f"rates must be finite and at least 0, got values from {low:g} to {high:g}"
        )
    flat = x.reshape(len(x), x.shape[1:].numel())
    if index is None:
        return flat, torch.arange(len(x), device=x.device)
    if index.shape != x.shape[:1] or index.is_floating_point() or index.dtype == torch.bool:
        raise SaltationError(
            f"index must hold one integer per sample, shape [{len(x)}], "
            f"got {index.dtype} {list(index.shape)}"
        )
    low, high = _range(index)
    if not (low >= 0 and high < 2**32):
        raise SaltationError(f"sample indices must be in [0, 2**32), got {low} to {high}")
    return flat, index.to(x.device, torch.int64)


def _range(x: Tensor) -> tuple[Any, Any]:
    """Smallest and largest number, NaN where one is; 0 and 0 if there are none."""
    if not x.numel():
        return 0, 0
    low, high = x.detach().aminmax()
    return low.item(), high.item()


def _at_most_one(x: Tensor, what: str) -> None:
    if x.numel() and x.max() > 1:
        raise SaltationError(f"{what} in [0, 1], got values up to {x.max():g}")
