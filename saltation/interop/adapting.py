"""The way from a user's network to one whose states are in hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from saltation.errors import SaltationError
from saltation.layers.recurrent import neuron_layers
from saltation.stepping import Stepped, Walk, stepped

LIBRARIES = ("snntorch", "spikingjelly", "norse")
UNKNOWN = ("sinabs", "bindsnet", "lava", "braincog")


def adapt(network: nn.Module, *, batch_dim: int | None = None, walk: Walk | None = None) -> Stepped:
    """A network of any known library for `lyapunov`, penalties and `diagnose`.

    snnTorch, SpikingJelly, Norse and saltation are known. The network is not copied or changed. Its
    neurons begin and end every step through hooks while
    an estimate lasts, and their hidden states are given back afterwards. A compiled network is run
    as it was written.

    How the network takes its input is found out by calling it with two and with three samples: a
    sequence ``[T, B, ...]`` or ``[B, T, ...]``, step by step, or an input that it shows for T steps
    within its ``forward``. What is found is checked by a pass step by step, which must do what one
    call does. What cannot be told, or does not agree, is refused.

    Parameters
    ----------
    network : Module
        The network.
    batch_dim : int, optional
        Dimension of the samples in the input, where it cannot be told.
    walk : callable, optional
        ``(network, x, end) -> output`` for a network that is called in another way: takes it
        through all steps of x ``[T, B, ...]`` (or as ``batch_dim`` says), calls ``end()`` after
        each, and returns the output that a loss is computed of; `diagnose` alone needs that.

    Returns
    -------
    Stepped

    Raises
    ------
    SaltationError
        If no neurons of a known library are in it, or of several, or some that cannot be followed.
    """
    if not isinstance(network, nn.Module):
        raise SaltationError(f"a network must be a torch.nn.Module, got {type(network).__name__}")
    if batch_dim is not None and (isinstance(batch_dim, bool) or not isinstance(batch_dim, int)):
        raise SaltationError(f"batch_dim must be an integer, got {batch_dim!r}")
    if walk is not None and not callable(walk):
        raise SaltationError(f"walk must be a function (network, x, end), got {walk!r}")
    original: Any = network
    while hasattr(original, "_orig_mod"):  # made by torch.compile
        original = original._orig_mod
    found = _of_its_library(original)
    return replace(found, batch_dim=batch_dim, walk=walk or found.walk)


def _of_its_library(network: nn.Module) -> Stepped:
    found = {library for m in network.modules() for library in ancestry(m)}
    known = found & set(LIBRARIES)
    if neuron_layers(network):
        known.add("saltation")
    if len(known) != 1 or found & set(UNKNOWN):
        there = sorted(known | found & set(UNKNOWN))
        raise SaltationError(
            f"{type(network).__name__} must hold neurons of one of saltation, snntorch, "
            f"spikingjelly and norse, found {', '.join(there) or 'none'}"
        )
    (library,) = known
    if library == "snntorch":
        from saltation.interop import snntorch

        return snntorch.stepped(network)
    if library == "spikingjelly":
        from saltation.interop import spikingjelly

        return spikingjelly.stepped(network)
    if library == "norse":
        from saltation.interop import norse

        return norse.stepped(network)
    return stepped(network)


def ancestry(module: nn.Module) -> set[str]:
    """The packages that a module's class and the classes it is made from come from."""
    return {kind.__module__.partition(".")[0] for kind in type(module).__mro__}
