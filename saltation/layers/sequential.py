"""A chain of modules that runs what it can in one piece."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as registry

from saltation.kernels import dispatch
from saltation.kernels.reference import Stage
from saltation.layers.linear import SpikeLinear
from saltation.layers.neuron import SpikingLayer


class Sequential(nn.Sequential):
    """`torch.nn.Sequential` whose weights and neurons run as one where a kernel can.

    Modules, names, state and results are those of ``nn.Sequential``. A leading stretch of linear
    layers and neurons that ends in a linear layer is one call where the input is spikes on a CPU:
    what passes between its layers are events, and backward only the gradients that are not zero.
    A module with hooks is called by itself, so that its hooks see what they always see.
    """

    def forward(self, input: Any) -> Any:  # noqa: A002  # its name in nn.Sequential
        """As ``nn.Sequential``."""
        modules, x = list(self), input
        stages, last = _stretch(modules)
        if stages and isinstance(x, Tensor):
            out = dispatch.chain(x, stages, last.weight, last.bias)
            if out is not None:
                x, modules = out, modules[2 * len(stages) + 1 :]
        for module in modules:
            x = module(x)
        return x


def _stretch(modules: list[nn.Module]) -> tuple[list[Stage], nn.Linear]:
    """The stages that the chain begins with and the linear layer behind them; none, none."""
    stages: list[Stage] = []
    linear: Any = None
    for module in modules:
        if _hooked(module):
            break
        if linear is None:
            if type(module) not in (nn.Linear, SpikeLinear):
                break
            linear = module
        else:
            if not isinstance(module, SpikingLayer) or not module.is_plain:
                break
            stages.append(module.stage(linear.weight, linear.bias))
            linear = None
    if linear is None and stages:  # the stretch ends in neurons; its last weights come last
        stages.pop()
        linear = modules[2 * len(stages)]
    return stages, linear


def _hooked(module: nn.Module) -> bool:
    """Whether a call of the module is more than its forward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or registry._has_any_global_hook()  # type: ignore[no-untyped-call]
    )
