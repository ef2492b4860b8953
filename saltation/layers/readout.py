"""Readouts: the output layer over time ``[T, B, classes]`` to logits ``[B, classes]``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saltation.errors import SaltationError, choose, tensor
from saltation.layers.masks import check_mask
from saltation.layers.numerics import WithNumerics


def _largest(outputs: Tensor) -> Tensor:
    # Unlike amax, which divides a gradient among ties, max sends it to one step.
    return outputs.max(dim=0).values


READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "max": _largest,
    "mean": lambda outputs: outputs.mean(dim=0),
    "sum": lambda outputs: outputs.sum(dim=0),
    "last": lambda outputs: outputs[-1],
    "spike_count": lambda outputs: outputs.sum(dim=0),
}


class Readout(WithNumerics):
    """Reduce the output layer over time.

    Parameters
    ----------
    kind : str
        ``max``, ``mean``, ``sum`` or ``last`` of the output currents, or ``spike_count``: the sum
        of the spikes of an output layer that ends in neurons.

    Raises
    ------
    SaltationError
        If the kind is unknown.
    """

    def __init__(self, kind: str = "max") -> None:
        super().__init__()
        self.kind = choose("readout", kind, READOUTS)

    def forward(self, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[T, B, classes]`` to ``[B, classes]``.

        Parameters
        ----------
        outputs : Tensor, [T, B, classes]
            Of every step.
        mask : Tensor, [T, B], optional
            True where a step belongs to its sample (`lengths_mask`): largest, mean, sum and last
            are then of these alone.

        Raises
        ------
        SaltationError
            If there is no dimension of time, no step, or no floating-point number, or the mask is
            of another shape or leaves a sample no step.
        """
        tensor("outputs", outputs)
        if outputs.ndim < 3 or not len(outputs) or not outputs.is_floating_point():
            raise SaltationError(
                "a readout takes floating-point outputs [T, B, classes] of at least one step, got "
                f"{outputs.dtype} {list(outputs.shape)}"
            )
        return READOUTS[self.kind](outputs) if mask is None else self._masked(outputs, mask > 0)

    def _masked(self, outputs: Tensor, mask: Tensor) -> Tensor:
        check_mask(mask, outputs)
        if self.kind == "max":
            return READOUTS["max"](torch.where(mask[..., None], outputs, -torch.inf))
        if self.kind == "last":
            steps = torch.arange(1, len(mask) + 1, device=mask.device)[:, None]
            last = (mask * steps).argmax(0)
            return outputs[last, torch.arange(outputs.shape[1], device=mask.device)]
        total = torch.where(mask[..., None], outputs, 0).sum(0)
        return total / mask.sum(0)[:, None] if self.kind == "mean" else total

    def numerics(self) -> dict[str, Any]:
        return {"readout": self.kind}

    def extra_repr(self) -> str:
        return repr(self.kind)
