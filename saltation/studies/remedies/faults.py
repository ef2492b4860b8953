"""Faults that are planted into networks, to see which remedy answers them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from saltation.interop import adapt
from saltation.interop.parameters import set_width
from saltation.models.blocks import SequenceBatchNorm
from saltation.stability.remedies.base import as_trained
from saltation.stability.remedies.currents import Drive, drives_of
from saltation.stability.taken import taken

# Of currents: so small that nothing fires, and so large that surrogates are far away.
_SMALL, _LARGE = 0.02, 30.0
# Half-width of the surrogate, of potentials that spread by some 1.
_STEEP = 0.01


def _drives(network: nn.Module, x: Tensor) -> list[Drive]:
    """The last weights in front of layers of neurons, in the order of their calls."""
    with as_trained(network):
        return list(drives_of(*taken(adapt(network), x)).values())


def _silent(network: nn.Module, x: Tensor) -> None:
    for drive in _drives(network, x):
        drive.scale(_SMALL)


def _large(network: nn.Module, x: Tensor) -> None:
    for drive in _drives(network, x):
        drive.scale(_LARGE)


def _dead_layer(network: nn.Module, x: Tensor) -> None:
    drives = _drives(network, x)
    drives[len(drives) // 2].scale(_SMALL)


def _steep(network: nn.Module, x: Tensor) -> None:
    for port in adapt(network).ports:
        set_width(port, _STEEP)


def _step_statistics(network: nn.Module, x: Tensor) -> None:
    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            module.statistics = "step"


# ``(network, x)``: changes the network in place, ``x`` being a batch of its input.
FAULTS: dict[str, Callable[[nn.Module, Tensor], None]] = {
    "none": lambda network, x: None,
    "silent": _silent,
    "dead_layer": _dead_layer,
    "large": _large,
    "steep": _steep,
    "step_statistics": _step_statistics,
}
