"""Neuron models: equations and parameters, one file each."""

from saltation.neurons.base import NEURONS, Neuron
from saltation.neurons.izhikevich import IzhikevichNeuron, IzhikevichState
from saltation.neurons.lif import LIFNeuron, LIFState

__all__ = [
    "NEURONS",
    "IzhikevichNeuron",
    "IzhikevichState",
    "LIFNeuron",
    "LIFState",
    "Neuron",
]
