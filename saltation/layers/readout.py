"""Readouts: the output layer over time ``[T, B, classes]`` to logits ``[B, classes]``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from saltation.errors import choose


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


class Readout(nn.Module):
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

    def forward(self, outputs: Tensor) -> Tensor:
        """``[T, B, classes]`` to ``[B, classes]``."""
        return READOUTS[self.kind](outputs)

    def extra_repr(self) -> str:
        return repr(self.kind)
