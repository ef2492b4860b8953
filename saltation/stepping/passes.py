"""Passes of a network as it is, with its neurons listened to, and what follows from their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from saltation.errors import SaltationError
from saltation.stepping.ports import RefusedError, State
from saltation.stepping.session import Call, Session, Stepped

# Currents that differ by more than this, of their size, do not differ by rounding.
_ROUNDING = {torch.float64: 1e-7}
_ROUNDING_OF_OTHERS = 1e-3

# Errors that a module raises for an input of a shape that is not for it.
MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


class NoSamplesError(SaltationError):
    """No dimension of the input changes the number of samples that neurons see."""


class Passes(NamedTuple):
    """The dimension of the samples, an input with three of them, and the calls it led to; whether
    copies of a sample are treated alike, and which neurons were not called."""

    batch_dim: int
    passes: tuple[Tensor, list[Call]]
    copies: bool
    uncalled: tuple[str, ...]


UNCALLED = "no neurons were called: the network does not use the ones it has"


def samples_of(network: Stepped, x: Tensor) -> Passes:
    """Which dimension of ``x`` are the samples, from passes of the network as it is.

    Raises
    ------
    NoSamplesError
        If none is.
    SaltationError
        If no neurons are called.
    """
    candidates = (1, 0) if network.batch_dim is None else (network.batch_dim,)
    reasons: list[str] = []
    for dimension in candidates:
        logs: list[list[Call]] = []
        inputs = two_and_three(x, dimension)
        probe = replace(network, batch_dim=dimension)
        try:
            for one in inputs:
                log: list[Call] = []
                with same_draws():
                    Session(probe, None, log).native(one)
                logs.append(log)
        except RefusedError:
            raise
        except MISFITS as error:
            reasons.append(first_line(error))
            continue
        if not logs[0]:
            raise SaltationError(UNCALLED)
        alike = [without_samples(log) for log in logs]
        misread = [unlike(log, samples) for log, samples in zip(logs, (2, 3), strict=True)]
        if any(misread) or alike[0] != alike[1]:
            reasons.append(next(filter(None, misread), "their number changes the steps"))
            continue
        axis = int(network.per_sequence)
        copies, uncalled = copied(logs[0], axis), uncalled_of(network, logs[0])
        return Passes(dimension, (inputs[1], logs[1]), copies, uncalled)
    told = "; ".join(
        f"with dimension {dimension} as the samples: {reason}"
        for dimension, reason in zip(candidates, reasons, strict=True)
    )
    raise NoSamplesError(
        f"the network cannot take the input {list(x.shape)}, which should be [T, B, ...] or what "
        f"its forward takes (to show one input for T steps give st.direct(x, T)): {told}"
    )


@contextmanager
def same_draws() -> Iterator[None]:
    """Within the block a network that draws random numbers draws the same in every pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def copied(calls: list[Call], axis: int) -> bool:
    """Whether neurons were given the same for both of two equal samples."""
    pairs = []
    for call in calls:
        (one, other), (a, b) = call.currents.unbind(axis), call.spikes.unbind(axis)
        pairs.append((one, a, other, b))
    return agree(pairs)


def uncalled_of(network: Stepped, calls: list[Call]) -> tuple[str, ...]:
    called = {call.name for call in calls}
    return tuple(port.name for port in network.outermost if port.name not in called)


def without_samples(calls: list[Call]) -> list[tuple[str, int]]:
    return [(call.name, call.steps) for call in calls]


def unlike(calls: list[Call], samples: int) -> str:
    """Which neurons see another number of samples; empty if none do."""
    for call in calls:
        if call.samples != samples:
            return f"of {samples} samples neurons '{call.name}' see {call.samples}"
    return ""


def most_calls(calls: list[Call]) -> int:
    return max(Counter(call.name for call in calls).values())


def flattened(calls: list[Call], x: Tensor) -> bool:
    """Whether neurons see rows of numbers of an input that has more dimensions."""
    return calls[0].currents.ndim == 2 < x.ndim - 1


def two_and_three(x: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Inputs with twice the same sample, and with three samples."""
    return pick(pick(x, dimension, 1), dimension, 2), pick(x, dimension, 3)


def pick(x: Tensor, dimension: int, samples: int) -> Tensor:
    """So many ``samples`` of the samples; the first again where there are not so many."""
    chosen = torch.arange(samples, device=x.device) % x.shape[dimension]
    return x.index_select(dimension, chosen)


def compare_calls(plain: list[Call], controlled: list[Call]) -> None:
    """Refuse a network that does not do under control what it does by itself."""
    same = without_samples(plain) == without_samples(controlled)
    if not same or not agree(paired(plain, controlled)):
        raise SaltationError(
            "the network does something else when its neurons are given the states they had: it "
            "keeps a state that saltation does not see (a neuron or unit of its own, spikes that "
            "are fed back by hand), or changes states between the steps"
        )


def paired(plain: list[Call], others: list[Call]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    both = zip(plain, others, strict=True)
    return [(a.currents, a.spikes, b.currents, b.spikes) for a, b in both]


def agree(pairs: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> bool:
    """Whether two passes see the same: currents and spikes of both, in the order of their causes.

    A spike at threshold may be lost in rounding; what comes after it is not compared.
    """
    for currents, spikes, others, other_spikes in pairs:
        tolerance = _ROUNDING.get(currents.dtype, _ROUNDING_OF_OTHERS)
        finite = currents[torch.isfinite(currents)].abs()
        size = float(finite.max()) if finite.numel() else 0.0
        if currents.shape != others.shape or spikes.shape != other_spikes.shape:
            return False
        if not torch.allclose(currents, others, rtol=0, atol=tolerance * size, equal_nan=True):
            return False
        if not torch.equal(spikes, other_spikes):
            return True
    return True


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def check_once(calls: list[Call]) -> None:
    """Refuse neurons that are called more than once among the calls of a step."""
    counts = Counter(call.name for call in calls)
    for name, count in counts.items():
        if count > 1:
            raise RefusedError(
                f"neurons '{name}' are called {count} times in one step: one module cannot be two "
                f"layers, because it keeps one state; make a module for each"
            )


def period_of(names: list[str]) -> int:
    """After how many calls their order begins anew."""
    for period in range(1, len(names) + 1):
        whole, rest = divmod(len(names), period)
        if rest == 0 and names == names[:period] * whole:
            return period
    return len(names)


def check_chain(calls: list[Call]) -> None:
    """Refuse neurons that are handed another state than the one they returned last."""
    last: dict[str, State] = {}
    for call in calls:
        before = last.get(call.name)
        if before is not None and call.handed is not None:
            same = all(
                a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
                for a, b in zip(before, call.handed, strict=True)
            )
            if not same:
                raise SaltationError(
                    f"neurons '{call.name}' are given a state that is not the one they returned "
                    f"last: the module serves as two layers, or its state is changed outside; make "
                    f"a module for each layer"
                )
        if call.returned is not None:
            last[call.name] = call.returned
