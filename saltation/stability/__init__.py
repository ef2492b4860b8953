"""Stability: how perturbations and gradients grow or die over time and depth."""

from saltation.stability.depth import DepthGrowth, depth_growth
from saltation.stability.diagnose import Diagnosis, diagnose
from saltation.stability.exact import true_exponents
from saltation.stability.gradients import GradientHealth, gradient_health
from saltation.stability.lyapunov import ESTIMATORS, flow, lyapunov, lyapunov_map
from saltation.stability.penalties import PENALTIES, LyapunovPenalty
from saltation.stability.result import Lyapunov

__all__ = [
    "ESTIMATORS",
    "PENALTIES",
    "DepthGrowth",
    "Diagnosis",
    "GradientHealth",
    "Lyapunov",
    "LyapunovPenalty",
    "depth_growth",
    "diagnose",
    "flow",
    "gradient_health",
    "lyapunov",
    "lyapunov_map",
    "true_exponents",
]
