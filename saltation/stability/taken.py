"""A network as it takes an input, for all that is estimated of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop import adapt
from saltation.stability.duals import differentiable
from saltation.stability.entry import estimate
from saltation.stability.estimators import Tangents
from saltation.stepping import LayerPort, Session, Slices, Stepped, by_steps, settled
from saltation.stepping.form import about
from saltation.stepping.passes import pick

_STEPS = 8  # from which it is seen whether a network is closed
_SAME = 1e-2  # difference of growth, relative to its size or to 1, that is not rounding

# Whether networks were found closed, by what their inputs are like.
_CLOSED: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()


@estimate
def taken(network: nn.Module | Stepped, x: Tensor) -> tuple[Stepped, Tensor]:
    """The network as it takes inputs like ``x``, and ``x``, as a sequence where it was an image.

    Raises
    ------
    SaltationError
        If its neurons are not known, or it cannot be told how it takes the input; see
        `saltation.adapt` and `saltation.stepping.settled`.
    """
    given = network if isinstance(network, Stepped) else adapt(network)
    if given.settled:
        return given, x
    whole, x = settled(given, x)
    if whole.whole or _compared(whole):
        return whole, x
    known = _CLOSED.setdefault(whole.network, {})
    key = about(whole, x), whole.walk
    if key not in known:
        known[key] = _is_closed(whole, x)
    told = given.batch_dim is not None or x.ndim == 2
    if not known[key] and not told and whole.in_loop and whole.batch_dim == 0:
        raise SaltationError(
            f"the input {list(x.shape)} may be samples that the network shows for some steps, or "
            f"steps, in each of which it calls the same neurons for more than one layer: make a "
            f"module for each layer, or say that it is the former with "
            f"st.adapt(network, batch_dim=0)"
        )
    return replace(whole, closed=known[key]), x


def _compared(network: Stepped) -> bool:
    """Whether what it does in one call, where nothing can be handed on but by neurons, was found to
    be what it does step by step."""
    return isinstance(network.walk, Slices) and all(isinstance(p, LayerPort) for p in network.ports)


def need_steps(network: Stepped, what: str) -> None:
    """Refuse a network that cannot be taken through its input step by step, for ``what`` does."""
    if network.whole:
        raise SaltationError(
            f"{what} takes the network through its input step by step, and here it cannot: "
            f"{network.why}. One exponent by estimator 'tangent' or 'telescoped' takes one call"
        )


def need_copies(network: Stepped, what: str) -> None:
    """Refuse a network that treats copies of a sample differently, for ``what`` compares them."""
    if not network.copies:
        raise SaltationError(
            f"{what} runs copies of every sample, and the network draws random numbers for each: "
            f"let it have its input encoded before, or take one exponent by estimator 'tangent' or "
            f"'telescoped'"
        )


def need_closed(network: Stepped, what: str) -> None:
    """Refuse a network that hands on more than its neurons' states, for ``what`` rescales them."""
    if not network.closed:
        raise SaltationError(
            f"{what} rescales perturbations of the neurons' states after every step, but here "
            f"something else is handed on from step to step: spikes fed back by hand, a running "
            f"sum or a recurrent unit. Take estimator='telescoped', which rescales nothing, or "
            f"neurons with the feedback within them (st.Recurrent, RLeaky)"
        )


def _is_closed(network: Stepped, x: Tensor) -> bool:
    """Whether perturbations that are rescaled after every step grow as those that are rescaled
    after every second: they do if the states of the neurons are all that is handed on."""
    few = pick(x, network.batch_dim, 2)  # type: ignore[arg-type]
    if network.walk is by_steps:
        few = few[:_STEPS]
    elif isinstance(network.walk, Slices):
        few = few.narrow(network.walk.time_dim, 0, min(_STEPS, few.shape[network.walk.time_dim]))
    found = []
    for every in (1, 2):
        control = Tangents(1, every, seed=0, scales=False)
        session = Session(network, control)
        with torch.no_grad(), differentiable(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            session.run(few)
            control.finish(session.states)
        floored = torch.stack(control.floored).any()
        if session.steps < 2 or floored:
            return True
        found.append(torch.stack(control.growth).sum(0))
    one, two = found
    same = (one - two).abs() <= _SAME * (1 + one.abs())
    return bool((same | ~torch.isfinite(one - two)).all())
