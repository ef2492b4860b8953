"""Stability: how perturbations and gradients grow or die over time and depth."""

from saltation.stability.cure import Cure, cure
from saltation.stability.depth import DepthGrowth, depth_growth
from saltation.stability.depth_penalty import DepthPenalty
from saltation.stability.diagnose import diagnose
from saltation.stability.diagnosis import Diagnosis
from saltation.stability.exact import true_exponents
from saltation.stability.gradients import GradientHealth, gradient_health
from saltation.stability.lyapunov import ESTIMATORS, flow, lyapunov, lyapunov_map
from saltation.stability.penalties import PENALTIES, LyapunovPenalty
from saltation.stability.remedies import REMEDIES
from saltation.stability.result import Lyapunov
from saltation.stability.set_depth import DepthScaling, set_depth_growth
from saltation.stability.set_lyapunov import LyapunovScaling, set_lyapunov

__all__ = [
    "ESTIMATORS",
    "PENALTIES",
    "REMEDIES",
    "Cure",
    "DepthGrowth",
    "DepthPenalty",
    "DepthScaling",
    "Diagnosis",
    "GradientHealth",
    "Lyapunov",
    "LyapunovPenalty",
    "LyapunovScaling",
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
]
