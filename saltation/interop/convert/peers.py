"""What a library's converter says of its modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.layers.learned import Range
from saltation.layers.neuron import SpikingLayer


class Neurons(NamedTuple):
    """A module of neurons as a layer of saltation.

    Attributes
    ----------
    layer
        The layer.
    outputs
        What a call of the original returns, by the names of what the layer records; one name where
        it returns a tensor.
    """

    layer: nn.Module
    outputs: str | tuple[str, ...]


class Library(ABC):
    """One library's neurons and modules.

    Attributes
    ----------
    converter
        The function that converts its networks, for messages.
    """

    converter: str

    @abstractmethod
    def is_leaf(self, module: nn.Module) -> bool:
        """Whether a module is converted as a whole and not looked into."""

    @abstractmethod
    def neurons(self, name: str, module: nn.Module) -> Neurons | None:
        """The layer for a module of neurons, None for other modules.

        Raises
        ------
        SaltationError
            If saltation has no such neurons.
        """

    @abstractmethod
    def other(self, name: str, module: nn.Module, memo: dict[int, Any]) -> nn.Module:
        """A module without a state, on sequences.

        Raises
        ------
        SaltationError
            If it cannot be converted.
        """

    def takes_sequences(self, neurons: list[Any]) -> bool:
        """Whether the neurons of a network take sequences, not steps."""
        return False

    def refused(self, name: str, module: nn.Module, why: str) -> SaltationError:
        """An error that names a module."""
        return SaltationError(
            f"'{name}' is a {type(module).__name__} {why}, which {self.converter} cannot convert"
        )


def fixed(value: Any) -> Any:
    """A number, or a tensor of one per neuron, that is not learned."""
    if not isinstance(value, Tensor):
        return value
    known = value.detach()
    return float(known.flatten()[0]) if known.numel() == 1 else known.clone()


def layer_of_learned(
    kind: type[SpikingLayer], learned: dict[str, tuple[nn.Parameter, Range, Any]], **options: Any
) -> Any:
    """A layer some of whose parameters are learned as the original learns them.

    Parameters
    ----------
    kind
        Class of the layer.
    learned
        By the parameter's name: what is learned, the range that makes the parameter of it, and the
        parameter as it is now.
    **options
        The layer's other parameters.
    """
    starts: dict[str, Any] = {name: nn.Parameter(value) for name, (_, _, value) in learned.items()}
    layer = kind(**options, **starts)
    for name, (raw, range_, _) in learned.items():
        layer._ranges[name] = range_
        layer.learned[name] = nn.Parameter(raw.detach().clone(), raw.requires_grad)
    return layer
