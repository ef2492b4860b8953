"""saltation: train spiking neural networks on PyTorch and trust their numerics.

>>> import saltation as st
>>> layer = st.LIF(tau=2.0, dt=0.5, scheme="exponential")
>>> spikes = layer(currents)  # [T, B, ...] in, [T, B, ...] out, from rest

Names are imported when they are asked for, so that the command line answers before torch is there.
Type checkers and editors read them in the stub beside this file.
"""

# First, because importing what follows takes seconds.
from saltation import interrupts  # noqa: F401

# isort: split
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__version__ = "0.1.0"

# The public names, by the module that each is of: they stand here alone, and `stub` makes the file
# beside this one of them.
_HOMES = {
    "saltation.activity": (
        "energy",
        "record",
    ),
    "saltation.encoding": (
        "common_times",
        "direct",
        "latency",
        "poisson",
    ),
    "saltation.errors": (
        "ConfigError",
        "DataError",
        "LayoutWarning",
        "MissingDataError",
        "NotFiniteError",
        "OtherNumericsError",
        "SaltationError",
        "StabilityWarning",
        "UnitWarning",
        "UnknownNumericsWarning",
    ),
    "saltation.interop.convert": (
        "from_snntorch",
        "from_spikingjelly",
    ),
    "saltation.layers": (
        "ALIF",
        "EIF",
        "LIF",
        "PLIF",
        "QIF",
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
        "allow_other_numerics",
        "in_windows",
        "learn",
        "lengths_mask",
        "timed_spikes",
        "watch",
    ),
    "saltation.learning": (
        "RSTDP",
        "PairSTDP",
        "TraceRSTDP",
        "WinnerTakeAllNetwork",
    ),
    "saltation.losses": (
        "mse_loss",
        "tet_loss",
    ),
    "saltation.models": (
        "ms_resnet",
        "ms_resnet18",
        "ms_resnet34",
        "ms_resnet104",
        "ms_resnet_cifar",
        "sew_resnet",
        "sew_resnet18",
        "sew_resnet34",
        "sew_resnet50",
        "sew_resnet101",
        "sew_resnet152",
        "spikformer",
        "spiking_mlp",
        "spiking_vgg",
    ),
    "saltation.neurons": (
        "NEURONS",
        "Neuron",
    ),
    "saltation.numerics": (
        "accuracy",
        "at_dt",
        "recommend",
    ),
    "saltation.schemes": (
        "SCHEMES",
        "add_scheme",
        "get_scheme",
    ),
    "saltation.stability": (
        "PENALTIES",
        "REMEDIES",
        "DepthPenalty",
        "Lyapunov",
        "LyapunovPenalty",
        "cure",
        "depth_growth",
        "diagnose",
        "flow",
        "gradient_health",
        "lyapunov",
        "lyapunov_map",
        "set_depth_growth",
        "set_lyapunov",
        "true_exponents",
    ),
    "saltation.studies.networks": ("load",),
    "saltation.surrogate": ("SURROGATES",),
    "saltation.interop": ("adapt", "nir"),
    "saltation": ("reference", "surrogate"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """A public name, or a module of the package, imported when it is asked for."""
    home = _HOME_OF.get(name)
    if home is None or home == __name__:
        if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return import_module(f"{__name__}.{name}")
    module = import_module(home)
    found = getattr(module, name) if hasattr(module, name) else import_module(f"{home}.{name}")
    globals()[name] = found  # next time without a question
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
