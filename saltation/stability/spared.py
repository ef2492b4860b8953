"""A network whose weights, buffers and attributes are as they were when the block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saltation.stepping import Stepped


@contextmanager
def spared(network: nn.Module, *, weights: bool = False) -> Iterator[None]:
    """Within the block the network's modules hold copies of their buffers.

    They are the same module objects, so that a loop of the user's that refers to them runs the
    copies, and modules that cannot be deep-copied (hidden states with a gradient) do no harm.

    Parameters
    ----------
    network : Module
        The network.
    weights : bool
        Whether parameters are copies too, which can then be trained.
    """
    kept = [(m, dict(m.__dict__), dict(m._parameters), dict(m._buffers)) for m in network.modules()]
    copies: dict[int, Tensor] = {}  # one that two modules share stays one

    def copied(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            made = tensor.detach().clone()
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
            copies[id(tensor)] = made
        return copies[id(tensor)]

    try:
        for module, _, parameters, buffers in kept:
            module._buffers.update({n: b if b is None else copied(b) for n, b in buffers.items()})
            if weights:
                trained = {n: p if p is None else copied(p) for n, p in parameters.items()}
                module._parameters.update(trained)  # type: ignore[arg-type]
        yield
    finally:
        for module, attributes, parameters, buffers in kept:
            for name in module.__dict__.keys() - attributes.keys():
                del module.__dict__[name]
            module.__dict__.update(attributes)
            module._parameters.clear()
            module._parameters.update(parameters)
            module._buffers.clear()
            module._buffers.update(buffers)


@contextmanager
def undone(whole: Stepped) -> Iterator[None]:
    """After the block the modules, hooks and spike functions are those of before; for what `spared`
    leaves to it."""
    held = [
        (part, dict(part))
        for module in whole.network.modules()
        for part in (module._modules, module._forward_pre_hooks, module._forward_hooks)
    ]
    spikes = [(port.spike, port.spike.function) for port in whole.ports if port.spike is not None]
    try:
        yield
    finally:
        for part, before in held:
            part.clear()
            part.update(before)  # type: ignore[arg-type]
        for spike, function in spikes:
            spike.function = function


@contextmanager
def same_random_numbers(x: Tensor) -> Iterator[None]:
    """torch's random numbers go on after the block as if it had drawn none."""
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        yield
