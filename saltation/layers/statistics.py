"""Spike statistics of neuron layers, merged exactly over batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, tensor
from saltation.layers.recurrent import neuron_layers


class _Counted(NamedTuple):
    """Which steps count, ``[T, B]``, and how many of them each layer has been called with."""

    mask: Tensor
    done: Counter[str]

    def next(self, name: str, spikes: Tensor) -> Tensor:
        """The part of the mask that belongs to the next ``spikes [t, B, ...]`` of a layer."""
        start = self.done[name]
        self.done[name] += len(spikes)
        return self.mask[start : start + len(spikes)]


_COUNTED: ContextVar[_Counted | None] = ContextVar("counted", default=None)


@contextmanager
def counted(mask: Tensor | None) -> Iterator[None]:
    """Within the block, around one pass of a network, `watch` counts only steps of the mask.

    Parameters
    ----------
    mask
        True where a step belongs to its sample, ``[T, B]`` (`lengths_mask`); None for all. A layer
        may be called with all T steps, or with some after the other.
    """
    token = _COUNTED.set(None if mask is None else _Counted(mask, Counter()))
    try:
        yield
    finally:
        _COUNTED.reset(token)


class SpikeStatistics:
    """Counts over (step, sample, neuron) of one layer, or of several taken together.

    Attributes
    ----------
    sites, spikes
        Number of (step, sample, neuron) triples seen and of spikes among them.
    counts
        Spikes of every neuron; None before the first update.
    """

    def __init__(self) -> None:
        self.sites = 0
        self.spikes = 0
        self.counts: Tensor | None = None

    def update(self, spikes: Tensor, mask: Tensor | None = None) -> None:
        """Add spikes of ``[T, B, ...]``, where a ``mask [T, B]`` is given those of its steps alone.

        Raises
        ------
        SaltationError
            If ``spikes`` has another form, or another number of neurons than before, or the mask
            is not of these steps and samples.
        """
        if tensor("spikes", spikes).ndim < 2 or spikes.is_complex():
            raise SaltationError(
                f"spikes must be [T, B, ...], got {spikes.dtype} {list(spikes.shape)}"
            )
        if mask is None:
            self.count((spikes > 0).sum(dim=0), len(spikes) * spikes.shape[1])
            return
        if mask.shape != spikes.shape[:2]:
            raise SaltationError(
                f"mask must be [T, B] = {list(spikes.shape[:2])}, got {list(mask.shape)}"
            )
        kept = mask.to(spikes.device).view(*mask.shape, *[1] * (spikes.ndim - 2)) > 0
        self.count(((spikes > 0) & kept).sum(dim=0), int((mask > 0).sum()))

    def count(self, counts: Tensor, steps: int) -> None:
        """Add what samples and neurons emitted, ``[B, ...]``, in so many steps of them together."""
        each = counts.sum(dim=0).flatten()
        if self.counts is not None and len(self.counts) != len(each):
            raise SaltationError(
                f"statistics of {len(self.counts)} neurons were given the spikes of {len(each)}"
            )
        self.sites += len(each) * steps
        self.spikes += int(counts.sum())
        self.counts = each if self.counts is None else self.counts + each

    @property
    def rates(self) -> Tensor | None:
        """Spikes per step of every neuron of a layer; None before the first update."""
        return None if self.counts is None else self.counts * (len(self.counts) / self.sites)

    @property
    def mean_spike_rate(self) -> float:
        """Spikes per neuron and step."""
        return self.spikes / self.sites if self.sites else float("nan")

    @property
    def active_fraction(self) -> float:
        """Fraction of (step, sample, neuron) with a spike."""
        return self.mean_spike_rate

    @property
    def silent_fraction(self) -> float:
        """Fraction of (step, sample, neuron) without a spike."""
        return 1 - self.active_fraction

    @property
    def dead_fraction(self) -> float:
        """Fraction of neurons that never spiked over all that was seen."""
        return float("nan") if self.counts is None else 1 - (self.counts > 0).float().mean().item()


@contextmanager
def watch(network: nn.Module) -> Iterator[dict[str, SpikeStatistics]]:
    """Within the block, count the spikes of every neuron layer of ``network``, by its name."""
    statistics = {name: SpikeStatistics() for name in neuron_layers(network)}

    def count(name: str, _: Any, __: Any, output: Any) -> None:
        spikes, steps = output[0] if isinstance(output, tuple) else output, _COUNTED.get()
        statistics[name].update(spikes, None if steps is None else steps.next(name, spikes))

    with _listening(network, count):
        yield statistics


@contextmanager
def watch_potentials(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within the block, keep the potentials of every neuron layer, by its name, at its first call.

    They are those at the end of each step before the jump, ``[T, B, ...]``, and cost the layers a
    second pass, in the reference loop.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str, layer: Any, given: tuple[Any, ...], _: Any) -> None:
        if name not in kept:
            kept[name] = layer.record(*given).h

    with _listening(network, keep):
        yield kept


@contextmanager
def _listening(network: nn.Module, see: Callable[[str, Any, Any, Any], None]) -> Iterator[None]:
    """Within the block, tell every call of a neuron layer: its name, itself, arguments, output."""

    def hook(name: str) -> Any:
        def after(layer: nn.Module, given: Any, output: Any) -> None:
            with torch.no_grad():
                see(name, layer, given, output)

        return after

    layers = neuron_layers(network)
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        with as_written(network.modules()):
            yield
    finally:
        for handle in handles:
            handle.remove()


def as_written(modules: Iterable[nn.Module]) -> AbstractContextManager[Any]:
    """A context in which what torch.compile has compiled runs as it was written, hooks included."""
    if any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in modules):
        eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return eager
    return nullcontext()


def merged(statistics: dict[str, SpikeStatistics]) -> SpikeStatistics:
    """The statistics of all layers taken together."""
    whole = SpikeStatistics()
    for layer in statistics.values():
        whole.sites += layer.sites
        whole.spikes += layer.spikes
    counts = [layer.counts for layer in statistics.values() if layer.counts is not None]
    whole.counts = torch.cat(counts) if counts else None
    return whole
