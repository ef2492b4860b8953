"""The way from a user's network to one whose states are in hand."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.layers.recurrent import neuron_layers
from saltation.layers.stepping import Stepped, stepped

Walk = Callable[[nn.Module, Tensor, Callable[[], None]], None]


def adapt(network: nn.Module, *, batch_dim: int | None = None, walk: Walk | None = None) -> Stepped:
    """A network of snnTorch, SpikingJelly or saltation for `lyapunov`, penalties and `diagnose`.

    The network is not copied or changed. Its neurons begin and end every step through hooks while
    an estimate lasts, and their hidden states are given back afterwards.

    *snnTorch*: networks of neurons with ``init_hidden=True`` take one step per call, and the input
    is ``[T, B, ...]``. Where neurons hand their states to the caller the loop over time is expected
    in the network's ``forward``, whose input is given as it is; a step ends where a neuron is
    called again. *SpikingJelly*: single-step and multi-step networks, input ``[T, B, ...]``.

    Parameters
    ----------
    network : Module
        The network.
    batch_dim : int, optional
        Dimension of the samples in the input. Default: 1, and 0 for a network with the loop in it,
        that is, for static inputs ``[B, ...]``.
    walk : callable, optional
        ``(network, x, end) -> None`` for a network that is called in another way: takes it through
        all steps of x and calls ``end()`` after each.

    Returns
    -------
    Stepped

    Raises
    ------
    SaltationError
        If no neurons of a known library are in it, or of several.
    """
    libraries = {type(m).__module__.partition(".")[0] for m in network.modules()}
    found = libraries & {"snntorch", "spikingjelly"}
    if neuron_layers(network):
        found.add("saltation")
    if len(found) != 1:
        raise SaltationError(
            f"{type(network).__name__} must hold neurons of one of saltation, snntorch and "
            f"spikingjelly, found {', '.join(sorted(found)) or 'none'}"
        )
    (library,) = found
    if library == "snntorch":
        from saltation.interop import snntorch

        made = snntorch.stepped(network)
    elif library == "spikingjelly":
        from saltation.interop import spikingjelly

        made = spikingjelly.stepped(network)
    else:
        made = stepped(network)
    return Stepped(
        made.network,
        made.ports,
        made.batch_dim if batch_dim is None else batch_dim,
        walk or made.walk,
        in_loop=made.in_loop and walk is None,
        at_once=made.at_once if walk is None else None,
    )


def by_steps(network: nn.Module, x: Tensor, end: Callable[[], None]) -> None:
    """Call the network on ``x[t]``, step by step."""
    for step in x.unbind(0):
        network(step)
        end()
