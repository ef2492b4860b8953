"""What goes into a network and what comes out of it, brought to the size that training expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability.criterion import logits_of
from saltation.stability.drives import called_maps
from saltation.stability.observe import output_of
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import measure
from saltation.stepping import Stepped


class _Times:
    """Hook in front of a map: its input times the buffer ``input_scale``."""

    def __call__(self, module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (given[0] * module.input_scale, *given[1:])


@dataclass(frozen=True)
class InputScale(Remedy):
    """Divides the input of the first map by the largest absolute value of the batch.

    Weights change by one learning rate a step whatever they are multiplied by, so that with pixels
    from 0 to 255 each step moves potentials by hundreds of thresholds. The factor is a buffer
    ``input_scale`` of the map, so that weights saved without it are refused; to divide the data
    themselves comes to the same. Source: LeCun, Bottou, Orr & Müller, "Efficient backprop", 1998.
    """

    name: ClassVar[str] = "input_scale"
    answers: ClassVar[tuple[str, ...]] = ("input size",)
    what: ClassVar[str] = "divides the first map's input by its largest value"
    cost: ClassVar[str] = "two passes; later a product"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        largest = float(x.abs().max())
        before = measure(whole, x)
        maps, _ = called_maps(whole, x)
        if not maps:
            raise self.refused("no convolution or linear map takes the input")
        if not largest > 0 or 0.5 <= largest <= 2:
            raise self.refused(f"the largest absolute value of the input is {largest:.3g}")
        first: Any = maps[0]
        if hasattr(first, "input_scale"):
            raise self.refused("the first map's input is scaled as it is")
        first.register_buffer("input_scale", first.weight.new_tensor(1 / largest))
        first.register_forward_pre_hook(_Times())
        name = {module: name for name, module in whole.network.named_modules()}[first]
        after = measure(whole, x)
        return Treatment(
            self.name,
            {name: f"its input times {1 / largest:.3g}"},
            "standard deviation of the potential",
            {layer.name: layer.spread for layer in before},
            {layer.name: layer.spread for layer in after},
        )


@dataclass(frozen=True)
class ReadoutScale(Remedy):
    """Divides the readout's weights so that logits spread by 1 over samples and classes.

    Where they spread by much more, the softmax is certain before anything is learnt, and most
    samples have no gradient. Source: Karpathy, "A recipe for training neural networks", 2019
    (verify that the loss begins at ln(classes)).
    """

    name: ClassVar[str] = "readout_scale"
    answers: ClassVar[tuple[str, ...]] = ("readout size",)
    what: ClassVar[str] = "divides the readout's weights until logits spread by 1"
    cost: ClassVar[str] = "three passes; nothing later"

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        maps, is_readout = called_maps(whole, x)
        if not is_readout:
            raise self.refused("no linear map follows the last neurons")
        before = _spread(whole, x)
        if not before > 0:
            raise self.refused("its logits are the same for all samples and classes")
        readout: Any = maps[-1]
        factor = 1 / before
        with torch.no_grad():
            readout.weight.mul_(factor)
            if isinstance(readout.bias, nn.Parameter):
                readout.bias.mul_(factor)
        name = {module: name for name, module in whole.network.named_modules()}[readout]
        measured = "standard deviation of the logits"
        changed = {name: f"weights times {factor:.3g}"}
        return Treatment(self.name, changed, measured, {name: before}, {name: _spread(whole, x)})


def _spread(whole: Stepped, x: Tensor) -> float:
    try:
        return float(logits_of(output_of(whole, x)).double().std())
    except SaltationError:
        return 0.0
