"""A chain of modules that runs what it can in one piece."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as registry

from saltation.errors import SaltationError
from saltation.kernels import dispatch_chain
from saltation.kernels.reference import Stage
from saltation.layers.linear import SpikeLinear
from saltation.layers.neuron import SpikingLayer
from saltation.layers.readout import Readout


class Sequential(nn.Sequential):
    """`torch.nn.Sequential` whose weights and neurons run as one where a kernel can.

    Modules, names, state and results are those of ``nn.Sequential``. A leading stretch of linear
    layers and neurons that ends in a linear layer is one call where the input is spikes on a CPU:
    what passes between its layers are events, and backward only the gradients that are not zero.
    One that ends in neurons is, too, where no derivative is wanted.
    A module with hooks is called by itself, so that its hooks see what they always see.
    Other containers run in one piece too, of spikes that are events; this one finds those of dense
    zeros and ones, and copies no weights.
    """

    def forward(self, input: Any, mask: Tensor | None = None) -> Any:  # noqa: A002  # its name in nn.Sequential
        """As ``nn.Sequential``; a ``mask`` ``[T, B]`` (`lengths_mask`) goes to its readout.

        Raises
        ------
        SaltationError
            If there is a mask and no readout that honours it.
        """
        x, rest = _in_one_piece(input, list(self)) if isinstance(input, Tensor) else (input, self)
        honoured = mask is None
        for module in rest:
            if mask is not None and isinstance(module, Readout):
                x, honoured = module(x, mask), True
            else:
                x = module(x)
        if not honoured:
            raise SaltationError(
                "a mask is for the readout of this chain, and it has none: give it to the loss"
            )
        return x


def _in_one_piece(x: Tensor, modules: list[nn.Module]) -> tuple[Any, list[nn.Module]]:
    """What the stretch that ``modules`` begin with makes of ``x``, and the modules behind it."""
    stages, last = _stretch(modules)
    if stages and last is None:
        out = dispatch_chain.emitted(x, stages)
        if out is not None:
            return out, modules[2 * len(stages) :]
        # A derivative is wanted: the stretch ends in its last weights, and neurons are next.
        last = modules[2 * len(stages) - 2]
        stages = stages[:-1]
    if stages:
        out = dispatch_chain.chain(x, stages, last.weight, last.bias)
        if out is not None:
            return out, modules[2 * len(stages) + 1 :]
    return x, modules


def _stretch(modules: list[nn.Module]) -> tuple[list[Stage], Any]:
    """The stages that the chain begins with, and the linear layer behind them or None."""
    stages: list[Stage] = []
    linear: Any = None
    for module in modules:
        if more_than_forward(module):
            break
        if linear is None:
            if type(module) not in _LINEAR or type(module).forward is not _LINEAR[type(module)]:
                break
            linear = module
        else:
            if not _only_neurons(module):
                break
            stages.append(module.stage(linear.weight, linear.bias))  # type: ignore[operator]
            linear = None
    return stages, linear


def more_than_forward(module: nn.Module) -> bool:
    """Whether a call of the module is more than its class's forward."""
    return bool(
        _OWN & module.__dict__.keys()
        or module._compiled_call_impl is not None
        or (type(module).__call__, type(module)._call_impl) != _CALL
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        # Hooks on every module; before 2.13 torch has no function that tells.
        or registry._global_forward_hooks
        or registry._global_forward_pre_hooks
        or registry._global_backward_hooks
        or registry._global_backward_pre_hooks
    )


def are_plain_neurons(module: nn.Module) -> bool:
    """Whether a call of the module runs its neurons and does nothing else."""
    return _only_neurons(module) and not more_than_forward(module)


def _only_neurons(module: nn.Module) -> bool:
    return isinstance(module, SpikingLayer) and module.is_plain and _neurons() == _NEURONS


def _neurons() -> Any:
    return SpikingLayer.forward, SpikingLayer._run


# Put on an object, they are called in place of its class's.
_OWN = {"forward", "_call_impl", "_run"}
# As they were when this was imported: somebody may put others in the classes.
_CALL = nn.Module.__call__, nn.Module._call_impl
_LINEAR: dict[type[nn.Module], Any] = {
    nn.Linear: nn.Linear.forward,
    SpikeLinear: SpikeLinear.forward,
}
_NEURONS = _neurons()
