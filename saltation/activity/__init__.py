"""What a network does over time: its operations and energy, and its states as arrays."""

from saltation.activity.costs import Energy, LayerCost, energy
from saltation.activity.recording import LayerRecord, Recording, record
from saltation.activity.weights import weights

__all__ = ["Energy", "LayerCost", "LayerRecord", "Recording", "energy", "record", "weights"]
