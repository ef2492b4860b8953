"""Time-first layers: neurons, readouts, and statistics of what they emit."""

from saltation.layers.conv import SpikeConv2d
from saltation.layers.inputs import noted
from saltation.layers.leaky import LeakyIntegrator
from saltation.layers.learned import learn
from saltation.layers.linear import SpikeLinear
from saltation.layers.masks import lengths_mask
from saltation.layers.neuron import LAYERS, SpikingLayer
from saltation.layers.normalisation import SpikingBatchNorm1d, SpikingBatchNorm2d
from saltation.layers.numerics import WithNumerics, allow_other_numerics
from saltation.layers.readout import READOUTS, Readout
from saltation.layers.recurrent import Recurrent, neuron_layers
from saltation.layers.sequential import Sequential
from saltation.layers.statistics import (
    SpikeStatistics,
    counted,
    merged,
    watch,
    watch_potentials,
)
from saltation.layers.timed import timed_spikes
from saltation.layers.windows import in_windows
from saltation.layers.zoo import (
    ALIF,
    EIF,
    LIF,
    PLIF,
    QIF,
    AdEx,
    AdLIF,
    BalancedResonateAndFire,
    CubaLIF,
    HodgkinHuxley,
    Izhikevich,
    Izhikevich2003,
    ResonateAndFire,
)

__all__ = [
    "ALIF",
    "EIF",
    "LAYERS",
    "LIF",
    "PLIF",
    "QIF",
    "READOUTS",
    "AdEx",
    "AdLIF",
    "BalancedResonateAndFire",
    "CubaLIF",
    "HodgkinHuxley",
    "Izhikevich",
    "Izhikevich2003",
    "LeakyIntegrator",
    "Readout",
    "Recurrent",
    "ResonateAndFire",
    "Sequential",
    "SpikeConv2d",
    "SpikeLinear",
    "SpikeStatistics",
    "SpikingBatchNorm1d",
    "SpikingBatchNorm2d",
    "SpikingLayer",
    "WithNumerics",
    "allow_other_numerics",
    "counted",
    "in_windows",
    "learn",
    "lengths_mask",
    "merged",
    "neuron_layers",
    "noted",
    "timed_spikes",
    "watch",
    "watch_potentials",
]
