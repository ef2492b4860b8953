"""The public names, for type checkers and editors; made by ``python -m saltation.stub``."""

from saltation import reference as reference
from saltation import surrogate as surrogate
from saltation.activity import (
    energy as energy,
    record as record,
)
from saltation.encoding import (
    common_times as common_times,
    direct as direct,
    latency as latency,
    poisson as poisson,
)
from saltation.errors import (
    ConfigError as ConfigError,
    DataError as DataError,
    LayoutWarning as LayoutWarning,
    MissingDataError as MissingDataError,
    NotFiniteError as NotFiniteError,
    OtherNumericsError as OtherNumericsError,
    SaltationError as SaltationError,
    StabilityWarning as StabilityWarning,
    UnitWarning as UnitWarning,
    UnknownNumericsWarning as UnknownNumericsWarning,
)
from saltation.interop import (
    adapt as adapt,
    nir as nir,
)
from saltation.interop.convert import (
    from_snntorch as from_snntorch,
    from_spikingjelly as from_spikingjelly,
)
from saltation.layers import (
    ALIF as ALIF,
    EIF as EIF,
    LIF as LIF,
    PLIF as PLIF,
    QIF as QIF,
    AdEx as AdEx,
    AdLIF as AdLIF,
    BalancedResonateAndFire as BalancedResonateAndFire,
    CubaLIF as CubaLIF,
    HodgkinHuxley as HodgkinHuxley,
    Izhikevich as Izhikevich,
    Izhikevich2003 as Izhikevich2003,
    LeakyIntegrator as LeakyIntegrator,
    Readout as Readout,
    Recurrent as Recurrent,
    ResonateAndFire as ResonateAndFire,
    Sequential as Sequential,
    SpikeConv2d as SpikeConv2d,
    SpikeLinear as SpikeLinear,
    SpikeStatistics as SpikeStatistics,
    SpikingBatchNorm1d as SpikingBatchNorm1d,
    SpikingBatchNorm2d as SpikingBatchNorm2d,
    allow_other_numerics as allow_other_numerics,
    in_windows as in_windows,
    learn as learn,
    lengths_mask as lengths_mask,
    timed_spikes as timed_spikes,
    watch as watch,
)
from saltation.learning import (
    RSTDP as RSTDP,
    PairSTDP as PairSTDP,
    TraceRSTDP as TraceRSTDP,
    WinnerTakeAllNetwork as WinnerTakeAllNetwork,
)
from saltation.losses import (
    mse_loss as mse_loss,
    tet_loss as tet_loss,
)
from saltation.models import (
    ms_resnet as ms_resnet,
    ms_resnet18 as ms_resnet18,
    ms_resnet34 as ms_resnet34,
    ms_resnet104 as ms_resnet104,
    ms_resnet_cifar as ms_resnet_cifar,
    sew_resnet as sew_resnet,
    sew_resnet18 as sew_resnet18,
    sew_resnet34 as sew_resnet34,
    sew_resnet50 as sew_resnet50,
    sew_resnet101 as sew_resnet101,
    sew_resnet152 as sew_resnet152,
    spikformer as spikformer,
    spiking_mlp as spiking_mlp,
    spiking_vgg as spiking_vgg,
)
from saltation.neurons import (
    NEURONS as NEURONS,
    Neuron as Neuron,
)
from saltation.numerics import (
    accuracy as accuracy,
    at_dt as at_dt,
    recommend as recommend,
)
from saltation.schemes import (
    SCHEMES as SCHEMES,
    add_scheme as add_scheme,
    get_scheme as get_scheme,
)
from saltation.stability import (
    PENALTIES as PENALTIES,
    REMEDIES as REMEDIES,
    DepthPenalty as DepthPenalty,
    Lyapunov as Lyapunov,
    LyapunovPenalty as LyapunovPenalty,
    cure as cure,
    depth_growth as depth_growth,
    diagnose as diagnose,
    flow as flow,
    gradient_health as gradient_health,
    lyapunov as lyapunov,
    lyapunov_map as lyapunov_map,
    set_depth_growth as set_depth_growth,
    set_lyapunov as set_lyapunov,
    true_exponents as true_exponents,
)
from saltation.studies.networks import (
    load as load,
)
from saltation.surrogate import (
    SURROGATES as SURROGATES,
)

__version__: str
__all__: list[str]
