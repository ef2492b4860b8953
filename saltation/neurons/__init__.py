"""Neuron models: equations and parameters, one file each."""

from saltation.neurons.base import NEURONS, Neuron
from saltation.neurons.cuba_lif import CubaLIFNeuron
from saltation.neurons.izhikevich import IzhikevichNeuron
from saltation.neurons.lif import LIFNeuron
from saltation.neurons.named import get_neuron, known_parameters, model_of, whole_name

LIFState = LIFNeuron.State
CubaLIFState = CubaLIFNeuron.State
IzhikevichState = IzhikevichNeuron.State

__all__ = [
    "NEURONS",
    "CubaLIFNeuron",
    "CubaLIFState",
    "IzhikevichNeuron",
    "IzhikevichState",
    "LIFNeuron",
    "LIFState",
    "Neuron",
    "get_neuron",
    "known_parameters",
    "model_of",
    "whole_name",
]
