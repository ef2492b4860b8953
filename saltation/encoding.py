"""Encoders: an image or any tensor of rates ``[B, ...]`` to a sequence ``[T, B, ...]``.

The random encoders draw from the counter-based generator of `saltation.random`: the train of a
sample is a function of (seed, epoch, sample index) alone, the same in any batch and on any backend.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Protocol, SupportsIndex

import torch
from torch import Tensor

from saltation.errors import (
    Number,
    SaltationError,
    UnitWarning,
    choose,
    count,
    positive,
    tensor,
    whole,
)
from saltation.kernels.dispatch_sampling import active, bernoulli_trains
from saltation.random import TRAIN, check_words, epoch_word, key, words

POISSON_METHODS = ("exact", "linear", "bernoulli")

# A probability may be above 1 by what rounding does.
_ROUNDING = 1e-6
# With so many events in a step and more, 99 steps of 100 have a spike.
_CROWDED = 4.6
# The longest interval that a draw can give is -log(2**-33) = 22.9 of its mean.
_FULL = 23.0
# Intervals of common times in memory at once, unless there are more sites.
_AT_ONCE = 1 << 18


def poisson(
    x: Tensor,
    steps: SupportsIndex,
    dt: Number = 1.0,
    *,
    method: str = "exact",
    index: Tensor | None = None,
    seed: SupportsIndex = 0,
    epoch: SupportsIndex = 0,
    stream: SupportsIndex = TRAIN,
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
        With the index they fix the train. The stream, below 16, keeps training and test apart
        (`saltation.random.TRAIN`, `TEST`).

    Returns
    -------
    Tensor, [T, B, ...], of the dtype of ``x``: 1 where a spike is, else 0.

    Raises
    ------
    SaltationError
        If ``x`` holds no floating-point numbers, rates are negative or not finite, or steps, dt,
        method or what fixes the train are out of range.

    Warns
    -----
    UnitWarning
        If rates are above 1 and so large that a site spikes at nearly every step, as pixels of 0
        to 255 are.
    """
    choose("poisson method", method, POISSON_METHODS)
    given = _checked(x, steps, dt, index, seed, epoch, stream)
    if method == "bernoulli":
        _at_most_one(given, "bernoulli takes probabilities")
    else:
        _warn_if_crowded(given)
    sites = active(given.rates)
    rate = sites.rates
    if method == "exact":
        p = -torch.expm1(-rate * given.dt)
    elif method == "linear":
        p = (rate * given.dt).clamp(max=1)
    else:
        p = rate.clamp(max=1)
    spikes = bernoulli_trains(
        sites,
        (p * 2**32).floor().long(),
        (given.steps, *given.rates.shape),
        given.sample,
        x.dtype,
        **given.draw,
    )
    return spikes if x.ndim == 2 else spikes.view(given.steps, *x.shape)


def common_times(
    x: Tensor,
    steps: SupportsIndex,
    dt: Number = 1.0,
    *,
    index: Tensor | None = None,
    seed: SupportsIndex = 0,
    epoch: SupportsIndex = 0,
    stream: SupportsIndex = TRAIN,
) -> Tensor:
    """Poisson spike trains whose events are drawn in continuous time, then binned to the step.

    Intervals are exponential with rate x; a bin of length dt holds at most one spike. Each bin
    spikes with probability 1 - exp(-x dt), as with ``poisson(method="exact")``, but every dt sees
    the same events: the train at dt is the train at dt/2 with its bins merged in pairs. The cost is
    that of the events, up to 23 in a step; beyond, every bin holds one with certainty.

    Parameters, result, errors and warnings as in `poisson`.
    """
    given = _checked(x, steps, dt, index, seed, epoch, stream)
    _warn_if_crowded(given)
    rate = given.rates.flatten().double()
    spikes = torch.zeros(given.steps, len(rate), dtype=x.dtype, device=x.device)
    full = rate * given.dt > _FULL
    spikes[:, full] = 1
    alive = ((rate > 0) & ~full).nonzero().squeeze(1)
    rate, time, block = rate[alive], torch.zeros_like(rate[alive]), 0
    while len(alive):
        blocks = _blocks(float(((given.steps * given.dt - time) * rate).mean()), len(alive))
        times = _event_times(given, alive, rate, time, block, blocks)
        # Clamped first: a site of tiny rate can wait longer than an int64 has bins.
        bins = (times / given.dt).clamp(max=float(given.steps)).long()
        places = (bins * spikes.shape[1] + alive)[bins < given.steps]
        spikes.view(-1).index_fill_(0, places, 1)
        time, block = times[-1], block + blocks
        waiting = time < given.steps * given.dt
        alive, rate, time = alive[waiting], rate[waiting], time[waiting]
    return spikes.view(given.steps, *x.shape)


def _blocks(expected: float, sites: int) -> int:
    """How many blocks of four intervals to draw for sites that are expected to have as many
    events to come, on average."""
    return max(1, min(int(expected / 4), _AT_ONCE // (4 * sites)))


def _event_times(
    given: _Given, alive: Tensor, rate: Tensor, time: Tensor, block: int, blocks: int
) -> Tensor:
    """float64 ``[4 blocks, N]``: the times of the next events of N sites, after ``time``."""
    sites = given.rates.shape[1]
    which = torch.arange(block, block + blocks, device=alive.device).unsqueeze(1)
    drawn = words(which, alive % sites, given.sample[alive // sites], **given.draw)
    waits = torch.log((torch.stack(drawn, 1).flatten(0, 1).double() + 0.5) / 2**32) / -rate
    # The time so far comes first, so that sums are taken in the order of the events.
    return torch.cat([time.unsqueeze(0), waits]).cumsum(0)[1:]


def latency(x: Tensor, steps: SupportsIndex) -> Tensor:
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

    Raises
    ------
    SaltationError
        If ``x`` holds no floating-point numbers in [0, 1] or steps is not a positive integer.
    """
    given = _checked(x, steps, 1.0, None)
    _at_most_one(given, "latency takes intensities")
    when = ((given.steps - 1) * (1 - x.double()).clamp(min=0)).round().long()
    spikes = torch.zeros(given.steps, *x.shape, dtype=x.dtype, device=x.device)
    return spikes.scatter_(0, when.unsqueeze(0), (x > 0).to(x.dtype).unsqueeze(0))


def direct(x: Tensor, steps: SupportsIndex) -> Tensor:
    """``x`` at every step: ``[B, ...]`` to ``[T, B, ...]``, a view that copies nothing."""
    steps = count("steps", steps)
    return tensor("x", x).unsqueeze(0).expand(steps, *x.shape)


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


class _Given(NamedTuple):
    """What an encoder was given, checked.

    Attributes
    ----------
    rates
        ``x`` as ``[B, F]``.
    high
        The largest of them.
    sample
        int64 ``[B]``: the index of each.
    draw
        Seed, epoch and stream.
    """

    rates: Tensor
    high: float
    steps: int
    dt: float
    sample: Tensor
    draw: dict[str, int]


def _checked(
    x: Tensor,
    steps: SupportsIndex,
    dt: Number,
    index: Tensor | None,
    seed: SupportsIndex = 0,
    epoch: SupportsIndex = 0,
    stream: SupportsIndex = TRAIN,
) -> _Given:
    steps, dt = count("steps", steps), positive("dt", dt)
    tensor("x", x)
    if not x.is_floating_point() or x.ndim < 1:
        pixels = "" if x.dtype in _NO_PIXELS or x.is_floating_point() else _PIXELS
        raise SaltationError(
            f"an encoder takes a floating-point tensor [B, ...], got {x.dtype} {list(x.shape)}"
            f"{pixels}"
        )
    if x.requires_grad and torch.is_grad_enabled():
        raise SaltationError("an encoder's spikes have no gradient with respect to x: detach it")
    x = x.detach()
    low, high = _range(x)
    if not (low >= 0 and high < float("inf")):
        raise SaltationError(
            f"rates must be finite and at least 0, got values from {low:g} to {high:g}"
        )
    # Now rather than when they are first used, which they are not where there is nothing to draw.
    key(seed)
    epoch_word(epoch, stream)
    draw = {"seed": whole(seed), "epoch": whole(epoch), "stream": whole(stream)}
    flat = x.reshape(len(x), x.shape[1:].numel())
    if index is None:
        index = torch.arange(len(x), device=x.device)
    elif tensor("index", index).shape != x.shape[:1] or index.dtype == torch.bool:
        raise SaltationError(
            f"index must hold one integer per sample, shape [{len(x)}], "
            f"got {index.dtype} {list(index.shape)}"
        )
    check_words("sample indices", index)
    return _Given(flat, high, steps, dt, index.to(x.device, torch.int64), draw)  # type: ignore[arg-type]  # integers, or refused above


_NO_PIXELS = (torch.bool, torch.complex64, torch.complex128)
_PIXELS = "; divide pixels of 0 to 255 by 255"


def _range(x: Tensor) -> tuple[Any, Any]:
    """Smallest and largest number, NaN where one is; 0 and 0 if there are none."""
    if not x.numel():
        return 0, 0
    low, high = x.aminmax()
    return low.item(), high.item()


def _at_most_one(given: _Given, what: str) -> None:
    """Refuse what is above 1 by more than rounding."""
    if given.high > 1 + max(_ROUNDING, torch.finfo(given.rates.dtype).eps):
        pixels = _PIXELS if given.high > 2 else ""
        raise SaltationError(f"{what} in [0, 1], got values up to {given.high!r}{pixels}")


def _warn_if_crowded(given: _Given) -> None:
    """Rates of at most 1 are left alone: whoever takes long steps with them means it."""
    if given.high > 1 and given.high * given.dt > _CROWDED:
        warnings.warn(
            f"rates up to {given.high:g} spikes per unit of time at dt = {given.dt:g} are "
            f"{given.high * given.dt:.4g} events in a step, so that nearly every step has a spike; "
            "divide pixels of 0 to 255 by 255, and give rates in the unit of dt",
            UnitWarning,
            stacklevel=3,
        )
