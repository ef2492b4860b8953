"""Neuron models: equations and parameters, one file each."""

from saltation.neurons.adex import AdExNeuron
from saltation.neurons.adlif import AdLIFNeuron
from saltation.neurons.alif import ALIFNeuron
from saltation.neurons.balanced_resonate_and_fire import BalancedResonateAndFireNeuron
from saltation.neurons.base import NEURONS, Neuron
from saltation.neurons.cuba_lif import CubaLIFNeuron
from saltation.neurons.eif import EIFNeuron
from saltation.neurons.hodgkin_huxley import HodgkinHuxleyNeuron
from saltation.neurons.izhikevich import IzhikevichNeuron
from saltation.neurons.izhikevich_2003 import Izhikevich2003Neuron
from saltation.neurons.lif import LIFNeuron
from saltation.neurons.named import get_neuron, known_parameters, model_of, whole_name
from saltation.neurons.plif import PLIFNeuron
from saltation.neurons.qif import QIFNeuron
from saltation.neurons.resonate_and_fire import ResonateAndFireNeuron

LIFState = LIFNeuron.State
CubaLIFState = CubaLIFNeuron.State
IzhikevichState = IzhikevichNeuron.State

__all__ = [
    "NEURONS",
    "ALIFNeuron",
    "AdExNeuron",
    "AdLIFNeuron",
    "BalancedResonateAndFireNeuron",
    "CubaLIFNeuron",
    "CubaLIFState",
    "EIFNeuron",
    "HodgkinHuxleyNeuron",
    "Izhikevich2003Neuron",
    "IzhikevichNeuron",
    "IzhikevichState",
    "LIFNeuron",
    "LIFState",
    "Neuron",
    "PLIFNeuron",
    "QIFNeuron",
    "ResonateAndFireNeuron",
    "get_neuron",
    "known_parameters",
    "model_of",
    "whole_name",
]
