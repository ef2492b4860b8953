"""Neuron models: equations and parameters, one file each."""

from saltation.neurons.base import NEURONS, Neuron
from saltation.neurons.cuba_lif import CubaLIFNeuron, CubaLIFState
from saltation.neurons.izhikevich import IzhikevichNeuron, IzhikevichState
from saltation.neurons.lif import LIFNeuron, LIFState

__all__ = [
    "NEURONS",
    "CubaLIFNeuron",
    "CubaLIFState",
    "IzhikevichNeuron",
    "IzhikevichState",
    "LIFNeuron",
    "LIFState",
    "Neuron",
]
