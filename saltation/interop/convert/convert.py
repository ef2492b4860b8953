"""`from_snntorch` and `from_spikingjelly`."""

from __future__ import annotations

import torch
from torch import nn

from saltation.errors import SaltationError, flag
from saltation.interop.convert.network import Converted
from saltation.interop.convert.peers import Library
from saltation.interop.convert.plan import Plan


def from_snntorch(network: nn.Module, *, states: bool = True) -> nn.Module:
    """A network of snnTorch as one of saltation: the same weights, spikes and gradients.

    The weights are copied, the names of modules stay. Hidden states do not exist: every call starts
    from rest. A network that takes one step per call (``init_hidden=True``, or states that are
    handed over) becomes one of sequences ``[T, B, ...]``; one with the loop in its ``forward``
    takes and returns what it did.

    Parameters
    ----------
    network : Module
        Leaky, RLeaky, Lapicque, Synaptic and RSynaptic, and modules and functions of torch that
        keep samples apart.
    states : bool, default True
        Whether potentials and currents that the original returns are returned too. The layers that
        they are of then run in the reference loop, which keeps them; without, all run compiled, and
        what is left of the output are the spikes.

    Returns
    -------
    Module
        `Sequential`, or `Converted` where a pass is more than a chain of modules.

    Raises
    ------
    SaltationError
        If something in it cannot be converted; the message names it.

    Examples
    --------
    >>> net = torch.nn.Sequential(
    ...     torch.nn.Linear(784, 10), snntorch.Leaky(beta=0.9, init_hidden=True)
    ... )
    >>> spikes = st.from_snntorch(net)(st.poisson(torch.rand(64, 784), steps=25))
    """
    from saltation.interop.convert.snntorch import SnnTorch

    return _converted(network, SnnTorch(), states)


def from_spikingjelly(network: nn.Module) -> nn.Module:
    """A network of SpikingJelly as one of saltation: the same weights, spikes and gradients.

    The weights are copied, the names of modules stay. Every call starts from rest, as after
    ``functional.reset_net``. A network in step mode ``m`` takes and returns what it did; one in
    step mode ``s`` becomes one of sequences ``[T, B, ...]``, or, with the loop in its ``forward``,
    takes and returns what it did.

    Parameters
    ----------
    network : Module
        IFNode, LIFNode, ParametricLIFNode and IzhikevichNode, SpikingJelly's layers, and modules
        and functions of torch.

    Returns
    -------
    Module
        `Sequential`, or `Converted` where a pass is more than a chain of modules.

    Raises
    ------
    SaltationError
        If something in it cannot be converted; the message names it.
    """
    from saltation.interop.convert.spikingjelly import SpikingJelly

    return _converted(network, SpikingJelly(), True)


def _converted(network: nn.Module, library: Library, states: bool) -> nn.Module:
    flag("states", states)
    if not isinstance(network, nn.Module):
        raise SaltationError(f"a network must be a torch.nn.Module, got {type(network).__name__}")
    network = getattr(network, "_orig_mod", network)
    if library.is_leaf(network):
        network = nn.Sequential(network)
    for name, module in network.named_modules():
        library.neurons(name, module)  # refused before anything else
        if module._forward_hooks or module._forward_pre_hooks:
            raise library.refused(name or "the network", module, "with hooks, which would be lost")
    # Layers that are made draw weights, which are then replaced.
    with torch.random.fork_rng(devices=[]):
        plan = Plan(network, library)
        plan.check(network)
    if not states:
        plan.leave_states_out()
    made = plan.as_chain() if type(network) is nn.Sequential else None
    if made is None:
        made = Converted(type(network).__name__, plan.modules, plan.operations, plan.output)
    return made.train(network.training)
