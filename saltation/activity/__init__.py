"""What a network does over time: its operations and energy, and its states as arrays."""

from saltation.activity.costs import Energy, LayerCost, energy

__all__ = ["Energy", "LayerCost", "energy"]
