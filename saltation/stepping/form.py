"""How a network takes its input: where samples and steps are in it, and where the loop is.

Nothing of this is asked of the user. The network is called as it is with two and with three samples
and its neurons are listened to: the dimension of the input that changes what they see is that of
the samples, and how often they are called, and with how many steps, says where the loop over time
is. Then the network is taken through the same input step by step, and both passes are compared.
What does not agree is refused, or can be run in one call only.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.layers.recurrent import neuron_layers
from saltation.stepping.ports import LayerPort, RefusedError, State
from saltation.stepping.session import (
    Call,
    Session,
    Slices,
    Stepped,
    Unchanged,
    by_steps,
)

# Currents that differ by more than this, of their size, do not differ by rounding.
_ROUNDING = {torch.float64: 1e-7}
_ROUNDING_OF_OTHERS = 1e-3

# Errors that a module raises for an input of a shape that is not for it.
_MISFITS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)


def stepped(network: nn.Module) -> Stepped:
    """A network of saltation's layers."""
    layers = neuron_layers(network)
    return Stepped(network, [LayerPort(name or "neurons", one) for name, one in layers.items()])


class _Form(NamedTuple):
    """What `settled` found out, without the network."""

    batch_dim: int
    walk: Callable[..., Any] | None
    in_loop: bool = False
    at_once: bool = False
    whole: bool = False
    why: str = ""
    copies: bool = True
    uncalled: tuple[str, ...] = ()


# By network and by what an input is like, so that a penalty does not ask at every step.
_FOUND: WeakKeyDictionary[nn.Module, dict[Any, _Form]] = WeakKeyDictionary()
_MOST = 16  # inputs that are remembered of a network


def settled(network: Stepped, x: Tensor) -> tuple[Stepped, Tensor]:
    """The network as it takes inputs like ``x``, and ``x`` as a sequence where it was one image.

    Raises
    ------
    SaltationError
        If the input is not a floating-point tensor with a dimension for samples, the network cannot
        be called with it, or it cannot be told what in it is time and what are samples.
    """
    if network.settled:
        return network, x
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2 or x.numel() == 0:
        given = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise SaltationError(
            f"the input must be a floating-point tensor [T, B, ...], or what the network takes, "
            f"got {given}"
        )
    broken = int((~torch.isfinite(x)).sum())
    if broken:
        raise SaltationError(
            f"the input must be finite, got NaN or infinity in {broken} of {x.numel()} values"
        )
    if network.batch_dim is not None and not 0 <= network.batch_dim < x.ndim:
        raise SaltationError(
            f"batch_dim must be a dimension of the input {list(x.shape)}, got {network.batch_dim}"
        )
    x = _as_sequence(network.network, x)
    if network.walk is not None:
        batch = 1 if network.batch_dim is None else network.batch_dim
        return replace(network, batch_dim=batch, settled=True), x
    forms = _FOUND.setdefault(network.network, {})
    key = about(network, x)
    if key not in forms:
        while len(forms) >= _MOST:
            forms.pop(next(iter(forms)))
        with torch.no_grad():
            forms[key] = _form(network, x)
        if forms[key].uncalled:
            names = ", ".join(f"'{name}'" for name in forms[key].uncalled)
            warnings.warn(
                f"neurons {names} are in the network, but it did not call them: nothing is said of "
                f"them",
                UserWarning,
                stacklevel=4,
            )
    found = forms[key]._asdict()
    del found["uncalled"]
    return replace(network, **found, settled=True), x


def about(network: Stepped, x: Tensor) -> Any:
    """What the form depends on."""
    modules = tuple((id(module), module.training) for module in network.network.modules())
    return tuple(x.shape), x.dtype, network.batch_dim, modules


def _as_sequence(network: nn.Module, x: Tensor) -> Tensor:
    """``x`` as the sequence that a network of images makes of it."""
    first: Any = network
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    show = getattr(network, "as_sequence", None) or getattr(first, "as_sequence", None)
    return x if show is None else show(x)


def _form(network: Stepped, x: Tensor) -> _Form:
    if len({port.sequences for port in network.outermost}) > 1:
        raise SaltationError(
            "some neurons of the network take one step per call and some take sequences: put all "
            "into one step mode"
        )
    return _of_sequences(network, x) if network.per_sequence else _of_steps(network, x)


# Networks whose neurons take sequences.


def _of_sequences(network: Stepped, x: Tensor) -> _Form:
    found = _samples(network, x)
    batch, (three, calls) = found.batch_dim, found.passes
    if any(call.handed is not None for call in calls):
        return _looped(network, found)
    form = _Form(batch, None, at_once=True, copies=found.copies, uncalled=found.uncalled)
    time = 1 - batch if batch < 2 else 0
    walk = Slices(time)
    if len({call.steps for call in calls}) > 1:
        why = "its neurons see different numbers of steps"
    elif time >= x.ndim or x.shape[time] != calls[0].steps:
        why = f"it shows its input {list(x.shape)} for {calls[0].steps} steps within"
    else:
        why = _unlike_slices(replace(network, batch_dim=batch, walk=walk), three, calls)
    if not why:
        return form._replace(walk=walk)
    for _ in range(2):  # the first may begin anew after the steps before it, the second does not
        again: list[Call] = []
        with _same_draws():
            Session(replace(network, batch_dim=batch), None, again).native(three)
        if not _agree(_paired(calls, again)):
            raise RefusedError(
                "two passes of the network over the same input differ: a module in it keeps a "
                "state that is not a neuron's from call to call"
            )
    return form._replace(whole=True, why=why)


def _unlike_slices(network: Stepped, x: Tensor, calls: list[Call]) -> str:
    """Why ``network`` cannot be taken through ``x`` step by step; empty if it can.

    ``calls`` are what it does when it is given all steps at once.
    """
    log: list[Call] = []
    try:
        with _same_draws():
            Session(network, Unchanged(), log).run(x)
    except RefusedError:
        raise
    except _MISFITS as error:
        return f"it cannot be called with one step ({_first_line(error)})"
    order = [call.name for call in calls]
    if [call.name for call in log] != order * calls[0].steps:
        return "its neurons are called otherwise for one step"
    pairs = []
    for i, part in enumerate(log):
        t, place = divmod(i, len(order))
        call = calls[place]
        pairs.append((call.currents[t], call.spikes[t], part.currents[0], part.spikes[0]))
    if _agree(pairs):
        return ""
    return (
        "its neurons get something else when all steps are given at once, because a module in it "
        "looks along time, as batch normalisation over all steps does in training mode"
    )


# Networks whose neurons take one step per call.


def _of_steps(network: Stepped, x: Tensor) -> _Form:
    try:
        found = _samples(network, x)
    except NoSamplesError:
        if network.batch_dim not in (None, 1):
            raise
        return _one_by_one(network, x)
    # Behind one call there is one step; in dimension 1 it is that of a network with a loop within.
    if _most_calls(found.passes[1]) > 1 or found.batch_dim == 1:
        return _looped(network, found)
    return _one_by_one(network, x, _flattened(found.passes[1], x) and network.batch_dim is None)


def _one_by_one(network: Stepped, x: Tensor, read_as_batch: bool = False) -> _Form:
    """The form of a network that takes one step per call: x is [T, B, ...]."""
    batch = 1 if network.batch_dim is None else network.batch_dim
    wanted = (
        f"a network that takes one step per call needs the input [T, B, ...], got {list(x.shape)}; "
        f"to show one input for T steps give st.direct(x, T)"
    )
    if x.ndim < 3 or batch != 1:
        raise SaltationError(wanted)
    probe = replace(network, batch_dim=1, walk=by_steps)
    logs: list[list[Call]] = []
    two, three = _two_and_three(x[:_ENOUGH], 1)
    for given, control in ((two, None), (three, None), (three, Unchanged())):
        log: list[Call] = []
        session, samples = Session(probe, control, log), given.shape[1]
        try:
            with _same_draws():
                session.run(given)
        except RefusedError:
            raise
        except _MISFITS as error:
            raise SaltationError(f"{wanted} ({_first_line(error)})") from None
        if any(call.samples != samples for call in log):
            raise SaltationError(f"{wanted} ({_unlike(log, samples)})")
        logs.append(log)
    if not logs[0]:
        raise SaltationError(_UNCALLED)
    if read_as_batch and x.shape[1] == 1:
        raise SaltationError(
            f"the input {list(x.shape)} can be read as {x.shape[0]} samples and as {x.shape[0]} "
            f"steps of one: give [T, B, ...] by st.direct(x, T), or say that it is the latter with "
            f"st.adapt(network, batch_dim=1)"
        )
    steps = min(len(x), _ENOUGH)
    _check_once(logs[1][: len(logs[1]) // steps])
    _compare_calls(logs[1], logs[2])
    return _Form(1, by_steps, copies=_copied(logs[0], 0), uncalled=_uncalled(probe, logs[0]))


_ENOUGH = 8  # steps from which it is seen how a network takes them


def _looped(network: Stepped, found: _Passes) -> _Form:
    """The form of a network that has the loop over the steps within it."""
    three, calls = found.passes
    _check_once(calls[: _period([call.name for call in calls])])
    _check_chain(calls)
    log: list[Call] = []
    probe = replace(network, batch_dim=found.batch_dim, walk=None, in_loop=True)
    with _same_draws():
        Session(probe, Unchanged(), log).run(three)
    _compare_calls(calls, log)
    return _Form(found.batch_dim, None, in_loop=True, copies=found.copies, uncalled=found.uncalled)


def _check_once(calls: list[Call]) -> None:
    """Refuse neurons that are called more than once among the calls of a step."""
    counts = Counter(call.name for call in calls)
    for name, count in counts.items():
        if count > 1:
            raise RefusedError(
                f"neurons '{name}' are called {count} times in one step: one module cannot be two "
                f"layers, because it keeps one state; make a module for each"
            )


def _period(names: list[str]) -> int:
    """After how many calls their order begins anew."""
    for period in range(1, len(names) + 1):
        whole, rest = divmod(len(names), period)
        if rest == 0 and names == names[:period] * whole:
            return period
    return len(names)


def _check_chain(calls: list[Call]) -> None:
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


# What was seen.


class NoSamplesError(SaltationError):
    """No dimension of the input changes the number of samples that neurons see."""


class _Passes(NamedTuple):
    """The dimension of the samples, an input with three of them, and the calls it led to; whether
    copies of a sample are treated alike, and which neurons were not called."""

    batch_dim: int
    passes: tuple[Tensor, list[Call]]
    copies: bool
    uncalled: tuple[str, ...]


_UNCALLED = "no neurons were called: the network does not use the ones it has"


def _samples(network: Stepped, x: Tensor) -> _Passes:
    """Which dimension of ``x`` are the samples, from passes of the network as it is.

    Raises
    ------
    NoSamplesError
        If none is.
    SaltationError
        If neurons are not called, or draw random numbers.
    """
    candidates = (1, 0) if network.batch_dim is None else (network.batch_dim,)
    reasons: list[str] = []
    for dimension in candidates:
        logs: list[list[Call]] = []
        inputs = _two_and_three(x, dimension)
        probe = replace(network, batch_dim=dimension)
        try:
            for one in inputs:
                log: list[Call] = []
                with _same_draws():
                    Session(probe, None, log).native(one)
                logs.append(log)
        except RefusedError:
            raise
        except _MISFITS as error:
            reasons.append(_first_line(error))
            continue
        if not logs[0]:
            raise SaltationError(_UNCALLED)
        alike = [_without_samples(log) for log in logs]
        unlike = [_unlike(log, samples) for log, samples in zip(logs, (2, 3), strict=True)]
        if any(unlike) or alike[0] != alike[1]:
            reasons.append(next(filter(None, unlike), "their number changes the steps"))
            continue
        axis = int(network.per_sequence)
        copies, uncalled = _copied(logs[0], axis), _uncalled(network, logs[0])
        return _Passes(dimension, (inputs[1], logs[1]), copies, uncalled)
    told = "; ".join(
        f"with dimension {dimension} as the samples: {reason}"
        for dimension, reason in zip(candidates, reasons, strict=True)
    )
    raise NoSamplesError(
        f"the network cannot take the input {list(x.shape)}, which should be [T, B, ...] or what "
        f"its forward takes (to show one input for T steps give st.direct(x, T)): {told}"
    )


@contextmanager
def _same_draws() -> Iterator[None]:
    """Within the block a network that draws random numbers draws the same in every pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _copied(calls: list[Call], axis: int) -> bool:
    """Whether neurons were given the same for both of two equal samples."""
    pairs = []
    for call in calls:
        (one, other), (a, b) = call.currents.unbind(axis), call.spikes.unbind(axis)
        pairs.append((one, a, other, b))
    return _agree(pairs)


def _uncalled(network: Stepped, calls: list[Call]) -> tuple[str, ...]:
    called = {call.name for call in calls}
    return tuple(port.name for port in network.outermost if port.name not in called)


def _without_samples(calls: list[Call]) -> list[tuple[str, int]]:
    return [(call.name, call.steps) for call in calls]


def _unlike(calls: list[Call], samples: int) -> str:
    """Which neurons see another number of samples; empty if none do."""
    for call in calls:
        if call.samples != samples:
            return f"of {samples} samples neurons '{call.name}' see {call.samples}"
    return ""


def _most_calls(calls: list[Call]) -> int:
    return max(Counter(call.name for call in calls).values())


def _flattened(calls: list[Call], x: Tensor) -> bool:
    """Whether neurons see rows of numbers of an input that has more dimensions."""
    return calls[0].currents.ndim == 2 < x.ndim - 1


def _two_and_three(x: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Inputs with twice the same sample, and with three samples."""
    return pick(pick(x, dimension, 1), dimension, 2), pick(x, dimension, 3)


def pick(x: Tensor, dimension: int, samples: int) -> Tensor:
    """So many ``samples`` of the samples; the first again where there are not so many."""
    chosen = torch.arange(samples, device=x.device) % x.shape[dimension]
    return x.index_select(dimension, chosen)


def _compare_calls(plain: list[Call], controlled: list[Call]) -> None:
    """Refuse a network that does not do under control what it does by itself."""
    same = _without_samples(plain) == _without_samples(controlled)
    if not same or not _agree(_paired(plain, controlled)):
        raise SaltationError(
            "the network does something else when its neurons are given the states they had: it "
            "keeps a state that saltation does not see (a neuron or unit of its own, spikes that "
            "are fed back by hand), or changes states between the steps"
        )


def _paired(plain: list[Call], others: list[Call]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    both = zip(plain, others, strict=True)
    return [(a.currents, a.spikes, b.currents, b.spikes) for a, b in both]


def _agree(pairs: list[tuple[Tensor, Tensor, Tensor, Tensor]]) -> bool:
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


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
