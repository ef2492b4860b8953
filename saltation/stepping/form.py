"""How a network takes its input: where samples and steps are in it, and where the loop is.

Nothing of this is asked of the user. The network is called as it is with two and with three samples
and its neurons are listened to: the dimension of the input that changes what they see is that of
the samples, and how often they are called, and with how many steps, says where the loop over time
is. Then the network is taken through the same input step by step, and both passes are compared.
What does not agree is refused, or can be run in one call only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.layers.recurrent import neuron_layers
from saltation.stepping.passes import (
    MISFITS,
    UNCALLED,
    NoSamplesError,
    Passes,
    agree,
    check_chain,
    check_once,
    compare_calls,
    copied,
    first_line,
    flattened,
    most_calls,
    paired,
    period_of,
    same_draws,
    samples_of,
    two_and_three,
    uncalled_of,
    unlike,
)
from saltation.stepping.ports import LayerPort, RefusedError
from saltation.stepping.session import (
    Call,
    Session,
    Slices,
    Stepped,
    Unchanged,
    by_steps,
)


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
    found = samples_of(network, x)
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
        with same_draws():
            Session(replace(network, batch_dim=batch), None, again).native(three)
        if not agree(paired(calls, again)):
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
        with same_draws():
            Session(network, Unchanged(), log).run(x)
    except RefusedError:
        raise
    except MISFITS as error:
        return f"it cannot be called with one step ({first_line(error)})"
    order = [call.name for call in calls]
    if [call.name for call in log] != order * calls[0].steps:
        return "its neurons are called otherwise for one step"
    pairs = []
    for i, part in enumerate(log):
        t, place = divmod(i, len(order))
        call = calls[place]
        pairs.append((call.currents[t], call.spikes[t], part.currents[0], part.spikes[0]))
    if agree(pairs):
        return ""
    return (
        "its neurons get something else when all steps are given at once, because a module in it "
        "looks along time, as batch normalisation over all steps does in training mode"
    )


# Networks whose neurons take one step per call.


def _of_steps(network: Stepped, x: Tensor) -> _Form:
    try:
        found = samples_of(network, x)
    except NoSamplesError:
        if network.batch_dim not in (None, 1):
            raise
        return _one_by_one(network, x)
    # Behind one call there is one step; in dimension 1 it is that of a network with a loop within.
    if most_calls(found.passes[1]) > 1 or found.batch_dim == 1:
        return _looped(network, found)
    return _one_by_one(network, x, flattened(found.passes[1], x) and network.batch_dim is None)


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
    two, three = two_and_three(x[:_ENOUGH], 1)
    for given, control in ((two, None), (three, None), (three, Unchanged())):
        log: list[Call] = []
        session, samples = Session(probe, control, log), given.shape[1]
        try:
            with same_draws():
                session.run(given)
        except RefusedError:
            raise
        except MISFITS as error:
            raise SaltationError(f"{wanted} ({first_line(error)})") from None
        if any(call.samples != samples for call in log):
            raise SaltationError(f"{wanted} ({unlike(log, samples)})")
        logs.append(log)
    if not logs[0]:
        raise SaltationError(UNCALLED)
    if read_as_batch and x.shape[1] == 1:
        raise SaltationError(
            f"the input {list(x.shape)} can be read as {x.shape[0]} samples and as {x.shape[0]} "
            f"steps of one: give [T, B, ...] by st.direct(x, T), or say that it is the latter with "
            f"st.adapt(network, batch_dim=1)"
        )
    steps = min(len(x), _ENOUGH)
    check_once(logs[1][: len(logs[1]) // steps])
    compare_calls(logs[1], logs[2])
    return _Form(1, by_steps, copies=copied(logs[0], 0), uncalled=uncalled_of(probe, logs[0]))


_ENOUGH = 8  # steps from which it is seen how a network takes them


def _looped(network: Stepped, found: Passes) -> _Form:
    """The form of a network that has the loop over the steps within it."""
    three, calls = found.passes
    check_once(calls[: period_of([call.name for call in calls])])
    check_chain(calls)
    log: list[Call] = []
    probe = replace(network, batch_dim=found.batch_dim, walk=None, in_loop=True)
    with same_draws():
        Session(probe, Unchanged(), log).run(three)
    compare_calls(calls, log)
    return _Form(found.batch_dim, None, in_loop=True, copies=found.copies, uncalled=found.uncalled)
