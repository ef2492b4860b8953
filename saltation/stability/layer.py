"""What a diagnosis is made of: layers, weights, and what is wrong with them."""

from __future__ import annotations

import math
from typing import NamedTuple


class Layer(NamedTuple):
    """One layer of neurons, over all steps and samples of a batch.

    Attributes
    ----------
    name
        In the network.
    rate
        Spikes per neuron and step.
    silent, dead
        Share of (sample, neuron) without a spike; of neurons without one in any sample.
    distance
        Mean |potential - threshold|, in half-widths of the surrogate's derivative.
    reached
        Share of potentials within three half-widths of threshold.
    gradient
        Norm of the gradient of the loss with respect to the layer's input.
    growth
        Factor from the layer before, of a perturbation of the first layer.
    width
        Half-width of the surrogate's derivative, in units of the potential.
    above, spread
        Mean and standard deviation of potential - threshold.
    driven
        Whether its input is anywhere not zero.
    lost
        Share of neurons that are dead and get less than 1e-4 of the gradient of the one that gets
        most, or are always five thresholds below, so that no training wakes them.
    threshold
        Above rest, in units of the potential; NaN where it is not known.
    over_time
        Spikes per neuron at each step.
    starved
        At each step, whether the layer's input is zero everywhere.
    """

    name: str
    rate: float
    silent: float
    dead: float
    distance: float
    reached: float
    gradient: float
    growth: float
    width: float
    above: float
    spread: float
    driven: bool
    lost: float
    threshold: float = math.nan
    over_time: tuple[float, ...] = ()
    starved: tuple[bool, ...] = ()


class Weight(NamedTuple):
    """One parameter, of any number of dimensions.

    Attributes
    ----------
    name
        In the network.
    size
        Euclidean norm of its values.
    gradient
        Norm of its gradient; None where the loss does not depend on it.
    dimensions
        Their number.
    used
        Whether the module that holds it was called.
    frozen
        Whether it is not to be trained (``requires_grad=False``).
    """

    name: str
    size: float
    gradient: float | None
    dimensions: int
    used: bool
    frozen: bool

    @property
    def module(self) -> str:
        """Name of the module that holds it."""
        return self.name.rpartition(".")[0]


class Finding(NamedTuple):
    """One thing that is wrong, or worth to know.

    Attributes
    ----------
    kind
        ``not finite``, ``one class``, ``no gradient``, ``no input``, ``input size``,
        ``same weights``, ``time constant``, ``readout size``, ``same output``, ``modes disagree``,
        ``silent``, ``silent in time``, ``saturated``, ``dead``, ``steep surrogate``,
        ``vanishing gradient``, ``exploding gradient``, ``chaotic``, ``softmax twice``, ``unused``,
        ``learning rate`` or ``does not learn``; of notes also ``frozen`` and ``closed``.
    layer
        The layer where it begins, or the weight; empty for the network as a whole.
    what, advice
        In words.
    weights
        Names of the weights that it is about, if it is about weights.
    first
        Names of remedies that stand before the others of its kind, for what is known of its cause.
    """

    kind: str
    layer: str
    what: str
    advice: str
    weights: tuple[str, ...] = ()
    first: tuple[str, ...] = ()

    @property
    def remedies(self) -> list[str]:
        """Names in `saltation.REMEDIES` of what answers it, the best first; none for a note."""
        from saltation.stability.remedies import remedies_for  # they import what imports this

        rest = [name for name in remedies_for(self.kind) if name not in self.first]
        return [*self.first, *rest] if self.advice else []

    def __str__(self) -> str:
        if not self.advice:
            return f"{self.what}."
        remedies = f"; remedies: {', '.join(self.remedies)}" if self.remedies else ""
        return f"{self.what}. Try: {self.advice}{remedies}."


def listed(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Names in quotes, the first of them if they are many."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
