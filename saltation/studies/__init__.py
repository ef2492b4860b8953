"""Studies: grids of trials that are recorded as they go, with their tables and figures."""

from saltation.plugins import load_plugins
from saltation.studies.convergence.folder import ConvergenceStudy
from saltation.studies.depth.config import DepthConfig
from saltation.studies.depth.study import DepthStudy
from saltation.studies.engine.study import STUDIES, Study
from saltation.studies.flossing.config import FlossingConfig
from saltation.studies.flossing.study import FlossingStudy
from saltation.studies.integrators.config import IntegratorsConfig
from saltation.studies.integrators.study import IntegratorsStudy
from saltation.studies.remedies.config import RemediesConfig
from saltation.studies.remedies.study import RemediesStudy
from saltation.studies.report.schemes import draw_schemes, scheme_table
from saltation.studies.rstdp.config import RSTDPConfig
from saltation.studies.rstdp.study import RSTDPStudy
from saltation.studies.transfer.study import TransferConfig, TransferStudy

load_plugins()

__all__ = [
    "STUDIES",
    "ConvergenceStudy",
    "DepthConfig",
    "DepthStudy",
    "FlossingConfig",
    "FlossingStudy",
    "IntegratorsConfig",
    "IntegratorsStudy",
    "RSTDPConfig",
    "RSTDPStudy",
    "RemediesConfig",
    "RemediesStudy",
    "Study",
    "TransferConfig",
    "TransferStudy",
    "draw_schemes",
    "scheme_table",
]
