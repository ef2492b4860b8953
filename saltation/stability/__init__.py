"""Stability: how perturbations and gradients grow or die over time and depth."""

from saltation.stability.lyapunov import ESTIMATORS, flow, lyapunov, lyapunov_map
from saltation.stability.penalties import PENALTIES, LyapunovPenalty
from saltation.stability.result import Lyapunov

__all__ = [
    "ESTIMATORS",
    "PENALTIES",
    "Lyapunov",
    "LyapunovPenalty",
    "flow",
    "lyapunov",
    "lyapunov_map",
]
