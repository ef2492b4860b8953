"""saltation: train spiking neural networks on PyTorch and trust their numerics.

>>> import saltation as st
>>> layer = st.LIF(tau=2.0, dt=0.5, scheme="exponential")
>>> spikes = layer(currents)  # [T, B, ...] in, [T, B, ...] out, from rest
"""

from saltation import surrogate
from saltation.encoding import common_times, direct, latency, poisson
from saltation.errors import (
    ConfigError,
    DataError,
    MissingDataError,
    SaltationError,
    StabilityWarning,
)
from saltation.layers import (
    LIF,
    Izhikevich,
    Readout,
    Recurrent,
    Sequential,
    SpikeLinear,
    SpikeStatistics,
    watch,
)
from saltation.models import spiking_mlp, spiking_vgg
from saltation.neurons import NEURONS
from saltation.schemes import SCHEMES, get_scheme

__version__ = "0.1.0"

__all__ = [
    "LIF",
    "NEURONS",
    "SCHEMES",
    "ConfigError",
    "DataError",
    "Izhikevich",
    "MissingDataError",
    "Readout",
    "Recurrent",
    "SaltationError",
    "Sequential",
    "SpikeLinear",
    "SpikeStatistics",
    "StabilityWarning",
    "common_times",
    "direct",
    "get_scheme",
    "latency",
    "poisson",
    "spiking_mlp",
    "spiking_vgg",
    "surrogate",
    "watch",
]
