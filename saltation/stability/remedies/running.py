"""Running statistics that follow those of the batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.errors import SaltationError
from saltation.stability.remedies.base import Remedy, Treatment
from saltation.stability.remedies.measure import measure
from saltation.stability.remedies.passes import output, twin_of
from saltation.stability.spared import same_random_numbers
from saltation.stepping import Stepped

# A momentum below the first leaves statistics behind for hundreds of steps; above the second they
# are those of the last batch.
SLOWEST, FASTEST = 0.005, 0.9


@dataclass(frozen=True)
class RunningStatistics(Remedy):
    """Takes running mean and variance of normalisations again, and lets them follow.

    Statistics that are not those of the weights (a ``momentum`` that hardly moves them, as that of
    another library's convention, or weights that were changed) make evaluation another network than
    the one that was trained. Source: Ioffe & Szegedy, "Batch normalization", 2015.

    Parameters
    ----------
    momentum : float, default 0.1
        Of those whose own is out of bounds.
    """

    momentum: float = 0.1

    name: ClassVar[str] = "running_statistics"
    answers: ClassVar[tuple[str, ...]] = ("modes disagree",)
    what: ClassVar[str] = "takes running statistics again, with a momentum that lets them follow"
    cost: ClassVar[str] = "four passes; nothing later"

    def __post_init__(self) -> None:
        if not SLOWEST <= self.momentum <= FASTEST:
            raise SaltationError(
                f"momentum must be from {SLOWEST} to {FASTEST}, got {self.momentum!r}"
            )

    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        norms: dict[str, Any] = {
            name: module
            for name, module in whole.network.named_modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        }
        if not norms:
            raise self.refused("no normalisation has running statistics")
        before = disagreement(whole, x)
        changed = {}
        for name, norm in norms.items():
            changed[name] = "statistics of the batch"
            if stuck(norm):
                changed[name] += f", momentum {norm.momentum:g} -> {self.momentum:g}"
                norm.momentum = self.momentum
        settle(whole, x)
        after = disagreement(whole, x)
        measured = "rate in evaluation less the rate in training"
        return Treatment(self.name, changed, measured, before, after)


def stuck(norm: Any) -> bool:
    """Whether a normalisation's running statistics do not follow, or follow the last batch."""
    return norm.momentum is not None and not SLOWEST <= norm.momentum <= FASTEST


def settle(whole: Stepped, x: Tensor) -> None:
    """Set the running statistics of a network in training mode to those of ``x``."""
    norms: list[Any] = [m for m in whole.network.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        with same_random_numbers(x):  # dropout draws some
            output(whole, x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def disagreement(whole: Stepped, x: Tensor, settled: bool = False) -> dict[str, float]:
    """By layer, the rate in evaluation less that in training.

    With ``settled`` a copy's running statistics are those of ``x``.
    """
    twin = twin_of(whole)
    twin.network.train()
    if settled:
        settle(twin, x)
    trained = measure(twin, x)
    twin.network.eval()
    rates = {layer.name: layer.rate for layer in measure(twin, x)}
    return {layer.name: rates[layer.name] - layer.rate for layer in trained}
