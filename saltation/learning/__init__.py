"""Learning without gradients: a network whose outputs compete, and rules for its weights."""

from saltation.learning.network import Activity, WinnerTakeAllNetwork
from saltation.learning.rules import REWARDS, RSTDP, Rule
from saltation.learning.traces import PairSTDP, TraceRSTDP

__all__ = [
    "REWARDS",
    "RSTDP",
    "Activity",
    "PairSTDP",
    "Rule",
    "TraceRSTDP",
    "WinnerTakeAllNetwork",
]
