"""The weights that set the size of what drives each layer of neurons, and what scales them.

Such a weight is the last that is called before the neurons: of the normalisation where there is
one, for then the size of a weight in front of it changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from saltation.errors import SaltationError, positive
from saltation.layers.recurrent import Recurrent
from saltation.stepping import Port, Session, Stepped

_WEIGHTED = (nn.Linear, _ConvNd, _NormBase, nn.LayerNorm, nn.GroupNorm)


class Drives:
    """What was seen to drive each neuron module, in the order of their first calls.

    Attributes
    ----------
    weights : dict
        By the name of the neuron module, the weight that drives it, or None where no module with a
        weight was called since the neurons before.
    """

    def __init__(self, network: nn.Module) -> None:
        self.weights: dict[str, Tensor | None] = {}
        self._names = {module: name for name, module in network.named_modules()}
        self._last: Any = None
        self._drives: dict[nn.Module, str] = {}

    def weighted(self, module: nn.Module, _: Any, __: Any) -> None:
        """Hook of modules with weights."""
        self._last = module

    def neurons(self, port: Port) -> Any:
        """Hook of a neuron module."""

        def before(_: nn.Module, __: Any) -> None:
            module, self._last = self._last, None
            if port.name in self.weights:
                return
            if module is None:
                self.weights[port.name] = None
                return
            name = self._names[module]
            if module.weight is None:
                raise SaltationError(
                    f"'{name}', which drives the neurons '{port.name}', has no weight that could "
                    f"be scaled: make it with one (affine=True)"
                )
            if module in self._drives:
                raise SaltationError(
                    f"'{name}' drives both '{self._drives[module]}' and '{port.name}': they cannot "
                    f"be scaled apart"
                )
            self._drives[module] = port.name
            self.weights[port.name] = module.weight

        return before


@contextmanager
def seen_drives(network: Stepped) -> Iterator[Drives]:
    """Within the block, see what drives the neurons of ``network`` when it is called."""
    drives = Drives(network.network)
    within = {module for port in network.ports for module in port.module.modules()}
    with ExitStack() as stack:
        for module in network.network.modules():
            if isinstance(module, _WEIGHTED) and module not in within:
                stack.callback(module.register_forward_hook(drives.weighted).remove)
        for port in network.ports:
            handle = port.module.register_forward_pre_hook(drives.neurons(port))
            stack.callback(handle.remove)
        yield drives


def called_maps(network: Stepped, x: Tensor) -> tuple[list[nn.Module], bool]:
    """Convolutions and linear maps outside of neurons, in the order of their first calls in a pass
    of ``x``, and whether the last of them is a readout: whether no neurons follow it."""
    within = {module for port in network.ports for module in port.module.modules()}
    maps: list[nn.Module] = []
    last: list[bool] = [False]

    def called(module: nn.Module, _: Any, __: Any) -> None:
        if module not in maps:
            maps.append(module)
        last[0] = module is maps[-1]

    def fired(*_: Any) -> None:
        last[0] = False

    with ExitStack() as stack:
        for module in network.network.modules():
            if isinstance(module, nn.Linear | _ConvNd) and module not in within:
                stack.callback(module.register_forward_hook(called).remove)
        for port in network.ports:
            stack.callback(port.module.register_forward_pre_hook(fired).remove)
        Session(network).native(x)
    return maps, last[0]


def feedback(port: Port) -> list[Tensor]:
    """The weights with which the neurons of a module drive themselves."""
    return [
        module.weight
        for module in port.module.modules()
        if isinstance(module, Recurrent | nn.Linear | _ConvNd)
    ]


class Scaled:
    """Weights that are multiplied by factors within the block, and as they were behind it, unless
    they are to be kept."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.logs = torch.zeros(len(weights), dtype=torch.float64)
        self._weights = weights
        self._originals = [weight.detach().clone() for weight in weights]
        self._kept = False

    def set(self, logs: Tensor | Sequence[float]) -> None:
        """Multiply each weight by the exponential of its number."""
        self.logs = torch.as_tensor(logs, dtype=torch.float64)
        with torch.no_grad():
            for weight, original, factor in zip(
                self._weights, self._originals, self.logs.exp().tolist(), strict=True
            ):
                weight.copy_(original * factor)

    def keep(self) -> None:
        """Leave the weights as they are."""
        self._kept = True

    def __enter__(self) -> Scaled:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self.set(torch.zeros(len(self._weights)))


def check_search(target: float, tolerance: float, passes: int) -> None:
    """Refuse, by name, what no search for a target can begin with."""
    if not math.isfinite(target):
        raise SaltationError(f"target must be a finite number, got {target!r}")
    positive("tolerance", tolerance)
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise SaltationError(f"passes must be an integer of at least 1, got {passes!r}")
