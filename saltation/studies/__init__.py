"""Studies: grids of trials that are recorded as they go, with their tables and figures."""

from saltation.plugins import load_plugins
from saltation.studies.depth import DepthStudy
from saltation.studies.depth_config import DepthConfig
from saltation.studies.flossing import FlossingConfig, FlossingStudy
from saltation.studies.integrators import IntegratorsConfig, IntegratorsStudy
from saltation.studies.remedies import RemediesConfig, RemediesStudy
from saltation.studies.rstdp import RSTDPConfig, RSTDPStudy
from saltation.studies.runner import STUDIES, Study
from saltation.studies.scheme_report import draw_schemes, scheme_table

load_plugins()

__all__ = [
    "STUDIES",
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
    "draw_schemes",
    "scheme_table",
]
