"""Operations of products with weights, counted from what goes into them.

A spike that meets a weight is one addition, a synaptic operation; a number that is not 0 or 1 is
multiplied first. What a site reaches is its true fan-out: fewer outputs at the borders of a map.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
_TRANSPOSED = {
    nn.ConvTranspose1d: functional.conv_transpose1d,
    nn.ConvTranspose2d: functional.conv_transpose2d,
    nn.ConvTranspose3d: functional.conv_transpose3d,
}


class Operations(NamedTuple):
    """What a product costs.

    Attributes
    ----------
    synops
        Additions of weights for inputs of zeros and ones: spikes times fan-out.
    macs
        Multiply-accumulates for other inputs, zeros among them included.
    effective_macs
        Of these, those with a number that is not 0.
    dense
        Either, if every input were there.
    inputs, spikes
        Numbers that went in, and those of them that were ones among zeros and ones.
    """

    synops: int = 0
    macs: int = 0
    effective_macs: int = 0
    dense: int = 0
    inputs: int = 0
    spikes: int = 0

    def __add__(self, other: Any) -> Operations:
        return Operations(*(a + b for a, b in zip(self, other, strict=True)))


def is_binary(x: Tensor) -> bool:
    """Whether there are only zeros and ones."""
    return bool(((x == 0) | (x == 1)).all())


def of_module(module: nn.Module, x: Tensor) -> Operations:
    """A linear layer or convolution that is given ``x``, of as many steps and samples as may be."""
    if isinstance(module, nn.Linear):
        there = int((x != 0).sum()) * module.out_features
        dense = x.numel() * module.out_features
        return _of(x, there, dense)
    convolution: Any = module
    dimensions = convolution.weight.ndim - 2
    x = x.reshape(-1, *x.shape[-1 - dimensions :])
    fan = _fan_out(convolution, x)
    there = int(((x != 0).sum(0) * fan).sum())
    return _of(x, there, int(fan.sum()) * len(x))


def _of(x: Tensor, there: int, dense: int) -> Operations:
    if is_binary(x):
        return Operations(there, 0, 0, dense, x.numel(), int(x.sum()))
    return Operations(0, dense, there, dense, x.numel(), 0)


def of_feedback(spikes: Tensor) -> Operations:
    """All-to-all feedback of spikes ``[T, B, F]``, each from the step before."""
    features = spikes.shape[-1]
    before = spikes[:-1]
    there = int((before != 0).sum()) * features
    return Operations(there, 0, 0, spikes.numel() * features, spikes.numel(), int(before.sum()))


def of_product(a: Tensor, b: Tensor) -> Operations:
    """A matrix product ``a @ b`` of two activities, as attention has it.

    Two of zeros and ones: an addition wherever both are one. One: an addition for every one in it
    and every row or column of the other.
    """
    if a.ndim < 2 or b.ndim < 2:
        return Operations(0, max(a.numel(), b.numel()), 0, max(a.numel(), b.numel()))
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]
    dense = int(torch.Size(batch).numel()) * rows * inner * columns
    one, two = is_binary(a), is_binary(b)
    if not one and not two:
        return Operations(0, dense, dense, dense)
    a, b = a.expand(*batch, rows, inner), b.expand(*batch, inner, columns)
    if one and two:
        both = a.double().sum(-2) * b.double().sum(-1)
        return Operations(int(both.sum()), 0, 0, dense)
    there = int(a.sum()) * columns if one else int(b.sum()) * rows
    return Operations(there, 0, 0, dense)


def _fan_out(convolution: Any, x: Tensor) -> Tensor:
    """Outputs that each site of a sample reaches, int64 in the sample's shape."""
    with torch.enable_grad():
        site = torch.zeros(1, *x.shape[1:], dtype=torch.float64, requires_grad=True)
        ones = torch.ones(convolution.weight.shape, dtype=torch.float64)
        if isinstance(convolution, TRANSPOSED):
            function: Any
            (function,) = (f for kind, f in _TRANSPOSED.items() if isinstance(convolution, kind))
            out: Any = function(
                site,
                ones,
                None,
                convolution.stride,
                convolution.padding,
                convolution.output_padding,
                convolution.groups,
                convolution.dilation,
            )
        else:
            out = convolution._conv_forward(site, ones, None)
        (fan,) = torch.autograd.grad(out.sum(), site)
    return fan[0].round().long().to(x.device)
