"""The layers of the models that saltation brings.

Their signatures, for editors and type checkers, stand in the stub beside this file, which
``python -m saltation.layers.stub`` makes of the models.
"""

from __future__ import annotations

from saltation import neurons
from saltation.layers.neuron import SpikingLayer


class LIF(SpikingLayer):
    neuron_type = neurons.LIFNeuron


class Izhikevich(SpikingLayer):
    neuron_type = neurons.IzhikevichNeuron


class CubaLIF(SpikingLayer):
    neuron_type = neurons.CubaLIFNeuron


class PLIF(SpikingLayer):
    neuron_type = neurons.PLIFNeuron


class ALIF(SpikingLayer):
    neuron_type = neurons.ALIFNeuron


class AdLIF(SpikingLayer):
    neuron_type = neurons.AdLIFNeuron


class QIF(SpikingLayer):
    neuron_type = neurons.QIFNeuron


class EIF(SpikingLayer):
    neuron_type = neurons.EIFNeuron


class AdEx(SpikingLayer):
    neuron_type = neurons.AdExNeuron


class ResonateAndFire(SpikingLayer):
    neuron_type = neurons.ResonateAndFireNeuron


class BalancedResonateAndFire(SpikingLayer):
    neuron_type = neurons.BalancedResonateAndFireNeuron


class Izhikevich2003(SpikingLayer):
    neuron_type = neurons.Izhikevich2003Neuron


class HodgkinHuxley(SpikingLayer):
    neuron_type = neurons.HodgkinHuxleyNeuron
