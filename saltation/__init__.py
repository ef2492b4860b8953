"""saltation: train spiking neural networks on PyTorch and trust their numerics.

>>> import saltation as st
>>> layer = st.LIF(tau=2.0, dt=0.5, scheme="exponential")
>>> spikes = layer(currents)  # [T, B, ...] in, [T, B, ...] out, from rest
"""

# First, because importing what follows takes seconds.
from saltation import interrupts  # noqa: F401

# isort: split
from typing import TYPE_CHECKING, Any

from saltation import reference, surrogate
from saltation.encoding import common_times, direct, latency, poisson
from saltation.errors import (
    ConfigError,
    DataError,
    LayoutWarning,
    MissingDataError,
    NotFiniteError,
    OtherNumericsError,
    SaltationError,
    StabilityWarning,
    UnitWarning,
    UnknownNumericsWarning,
)
from saltation.interop import adapt
from saltation.layers import (
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
    Readout,
    Recurrent,
    ResonateAndFire,
    Sequential,
    SpikeConv2d,
    SpikeLinear,
    SpikeStatistics,
    SpikingBatchNorm1d,
    SpikingBatchNorm2d,
    allow_other_numerics,
    learn,
    timed_spikes,
    watch,
)
from saltation.learning import RSTDP, PairSTDP, TraceRSTDP, WinnerTakeAllNetwork
from saltation.losses import tet_loss
from saltation.models import (
    ms_resnet,
    ms_resnet18,
    ms_resnet34,
    ms_resnet104,
    ms_resnet_cifar,
    sew_resnet,
    sew_resnet18,
    sew_resnet34,
    sew_resnet50,
    sew_resnet101,
    sew_resnet152,
    spikformer,
    spiking_mlp,
    spiking_vgg,
)
from saltation.neurons import NEURONS, Neuron
from saltation.numerics import accuracy, at_dt, recommend
from saltation.schemes import SCHEMES, add_scheme, get_scheme
from saltation.stability import (
    PENALTIES,
    REMEDIES,
    DepthPenalty,
    Lyapunov,
    LyapunovPenalty,
    cure,
    depth_growth,
    diagnose,
    flow,
    gradient_health,
    lyapunov,
    lyapunov_map,
    set_depth_growth,
    set_lyapunov,
    true_exponents,
)
from saltation.surrogate import SURROGATES

if TYPE_CHECKING:
    from saltation.activity import energy, record
    from saltation.interop import nir
    from saltation.interop.convert import from_snntorch, from_spikingjelly
    from saltation.studies.networks import load

__version__ = "0.1.0"

__all__ = [
    "ALIF",
    "EIF",
    "LIF",
    "NEURONS",
    "PENALTIES",
    "PLIF",
    "QIF",
    "REMEDIES",
    "RSTDP",
    "SCHEMES",
    "SURROGATES",
    "AdEx",
    "AdLIF",
    "BalancedResonateAndFire",
    "ConfigError",
    "CubaLIF",
    "DataError",
    "DepthPenalty",
    "HodgkinHuxley",
    "Izhikevich",
    "Izhikevich2003",
    "LayoutWarning",
    "Lyapunov",
    "LyapunovPenalty",
    "MissingDataError",
    "Neuron",
    "NotFiniteError",
    "OtherNumericsError",
    "PairSTDP",
    "Readout",
    "Recurrent",
    "ResonateAndFire",
    "SaltationError",
    "Sequential",
    "SpikeConv2d",
    "SpikeLinear",
    "SpikeStatistics",
    "SpikingBatchNorm1d",
    "SpikingBatchNorm2d",
    "StabilityWarning",
    "TraceRSTDP",
    "UnitWarning",
    "UnknownNumericsWarning",
    "WinnerTakeAllNetwork",
    "accuracy",
    "adapt",
    "add_scheme",
    "allow_other_numerics",
    "at_dt",
    "common_times",
    "cure",
    "depth_growth",
    "diagnose",
    "direct",
    "energy",
    "flow",
    "from_snntorch",
    "from_spikingjelly",
    "get_scheme",
    "gradient_health",
    "latency",
    "learn",
    "load",
    "lyapunov",
    "lyapunov_map",
    "ms_resnet",
    "ms_resnet18",
    "ms_resnet34",
    "ms_resnet104",
    "ms_resnet_cifar",
    "nir",
    "poisson",
    "recommend",
    "record",
    "reference",
    "set_depth_growth",
    "set_lyapunov",
    "sew_resnet",
    "sew_resnet18",
    "sew_resnet34",
    "sew_resnet50",
    "sew_resnet101",
    "sew_resnet152",
    "spikformer",
    "spiking_mlp",
    "spiking_vgg",
    "surrogate",
    "tet_loss",
    "timed_spikes",
    "true_exponents",
    "watch",
]


# What is imported when it is asked for, because others' libraries or all studies come with it.
_LATER = {
    "energy": "saltation.activity",
    "from_snntorch": "saltation.interop.convert",
    "from_spikingjelly": "saltation.interop.convert",
    "record": "saltation.activity",
    "load": "saltation.studies.networks",
}


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for."""
    from importlib import import_module

    if name == "nir":
        return import_module("saltation.interop.nir")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'saltation' has no attribute '{name}'")
