"""What another dt does not leave as it was, found before a network is mapped to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from saltation.errors import SaltationError
from saltation.layers import Readout, Recurrent, SpikingLayer
from saltation.layers.normalisation import SpikingBatchNorm1d, SpikingBatchNorm2d
from saltation.neurons import Neuron

# Whose numbers are mapped, or have nothing to do with dt.
_KNOWN = (nn.Linear, _ConvNd, Recurrent, SpikingLayer, _BatchNorm)


def shown_steps(network: nn.Module) -> list[Any]:
    """The modules that show an image for a number of steps."""
    return [m for m in network.modules() if hasattr(m, "as_sequence") and hasattr(m, "steps")]


def losses_of(
    network: nn.Module, layers: Mapping[str, SpikingLayer], ratio: float
) -> tuple[str, ...]:
    """In a line each, what differs in steps of ``ratio`` times the old.

    Raises
    ------
    SaltationError
        If something has no form at another dt; the message names it.
    """
    for name, module in network.named_modules():
        _refuse(name, module)
    lines = ["spikes are noticed at the end of a step, so their times are on another grid"]
    for name, layer in layers.items():
        lines += (f"'{name}': {line}" for line in _of_neuron(layer.neuron, ratio))
    for name, module in network.named_modules():
        lines += (f"'{name}': {line}" for line in _of_module(module, ratio))
    return tuple(dict.fromkeys(lines))


def _refuse(name: str, module: nn.Module) -> None:
    if isinstance(module, SpikingBatchNorm1d | SpikingBatchNorm2d):
        raise SaltationError(
            f"'{name}' has statistics of each step, which are those of this dt: train with "
            "batch_norm='all'"
        )
    if isinstance(getattr(module, "neuron", None), Neuron) and not isinstance(module, SpikingLayer):
        raise SaltationError(
            f"'{name}' is a {type(module).__name__}, which has a dt of its own and is no neuron "
            "layer"
        )
    if type(module).__name__ == "SpikingSelfAttention":
        raise SaltationError(
            f"'{name}' multiplies spikes of one step with each other, and how many meet depends on "
            "dt: it has no form at another"
        )
    if getattr(module, "connect", "add") != "add":
        raise SaltationError(
            f"'{name}' joins spikes of one step by '{module.connect}', and which meet depends on "
            "dt: connect='add' has a form at another"
        )


def _of_neuron(neuron: Neuron, ratio: float) -> Iterator[str]:
    if neuron.jump == "soft_delayed":
        yield "the threshold is subtracted one step after a spike, which is another time"
    if neuron.refractory:
        steps = neuron.refractory / (neuron.dt * ratio)
        if abs(steps - round(steps)) > 1e-9:
            yield (
                f"the refractory time is rounded to {round(steps)} steps, "
                f"{round(steps) * neuron.dt * ratio:g} in place of {neuron.refractory:g}"
            )
    if neuron.name == "lif" and getattr(neuron, "beta", None) is not None:
        yield "a layer by beta counts time in steps, so dt is relative to those of this network"
        return
    scheme = neuron.stability_scheme
    if neuron.equations is None:
        yield (
            f"scheme '{neuron.scheme}' on nonlinear equations: the same up to its error, of order "
            f"{scheme.order}"
        )
    elif not scheme.exact_if_linear:
        yield f"scheme '{neuron.scheme}': {_defect(neuron, ratio)}"


def _defect(neuron: Neuron, ratio: float) -> str:
    """How far the steps to the next common time are from each other."""
    common = Fraction(ratio).limit_denominator(1000)
    old, new = common.numerator, common.denominator
    scheme, jacobian = neuron.stability_scheme, neuron.jacobian
    one = np.linalg.matrix_power(scheme.amplification(jacobian, neuron.dt), old)
    other = np.linalg.matrix_power(scheme.amplification(jacobian, neuron.dt * ratio), new)
    return (
        f"{old} of the old steps and {new} of the new decay differently, by "
        f"{np.abs(one - other).max():.2g}; 'exponential' does not"
    )


def _of_module(module: nn.Module, ratio: float) -> Iterator[str]:
    if isinstance(module, Recurrent):
        yield "feedback comes one step late, which is another delay"
    if isinstance(module, Readout) and module.kind in ("max", "last"):
        yield (
            f"the readout '{module.kind}' is of the current in single steps, in which other "
            "numbers of spikes fall"
        )
    if isinstance(module, _BatchNorm):
        yield "in training, batch statistics are those of the new dt; in evaluation they are mapped"
    if hasattr(module, "as_sequence") and hasattr(module, "steps"):
        shown: Any = module.steps
        steps = shown / ratio
        if abs(steps - round(steps)) > 1e-9 or steps < 1:
            yield f"{shown} steps become {max(1, round(steps))}, another time"
    own = any(True for _ in module.parameters(recurse=False))
    if own and not isinstance(module, _KNOWN) and type(module).__name__ != "ParameterDict":
        yield f"parameters of {type(module).__name__} are left as they are"
