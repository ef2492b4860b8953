"""How far a neuron on a grid of steps is from its equations, and which dt keeps a tolerance."""

from saltation.numerics.accuracy import Accuracy, accuracy
from saltation.numerics.recommend import Evidence, Recommendation, recommend

__all__ = ["Accuracy", "Evidence", "Recommendation", "accuracy", "recommend"]
