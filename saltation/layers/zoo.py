"""The layers of the models that saltation brings.

Their signatures, for editors and type checkers, stand in the stub beside this file, which
``python -m saltation.layers.stub`` makes of the models.
"""

from __future__ import annotations

from saltation.layers.neuron import SpikingLayer
from saltation.neurons import CubaLIFNeuron, IzhikevichNeuron, LIFNeuron


class LIF(SpikingLayer):
    neuron_type = LIFNeuron


class Izhikevich(SpikingLayer):
    neuron_type = IzhikevichNeuron


class CubaLIF(SpikingLayer):
    neuron_type = CubaLIFNeuron
