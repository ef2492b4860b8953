"""Reference solutions: neurons solved without a time step, with exact spike times."""

from saltation.reference.inputs import Pulses, Steps
from saltation.reference.simulation import Solution, simulate

__all__ = ["Pulses", "Solution", "Steps", "simulate"]
