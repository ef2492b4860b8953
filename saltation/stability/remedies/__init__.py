"""Remedies: what makes a network learn, each named by the findings that it answers."""

from saltation.stability.remedies.base import REMEDIES, Remedy, Treatment, remedies_for
from saltation.stability.remedies.dynamics import HardReset, TimeConstant
from saltation.stability.remedies.fresh_weights import FreshWeights
from saltation.stability.remedies.growth import GrowthOverDepth
from saltation.stability.remedies.homeostasis import Homeostasis
from saltation.stability.remedies.relay import RelayStart
from saltation.stability.remedies.running import RunningStatistics
from saltation.stability.remedies.scales import InputScale, ReadoutScale
from saltation.stability.remedies.statistics import StatisticsOfAllSteps, StatisticsPerStep
from saltation.stability.remedies.surrogate_width import SurrogateWidth
from saltation.stability.remedies.weights import (
    FluctuationDriven,
    PotentialGain,
    SpikeAwareVariance,
)

__all__ = [
    "REMEDIES",
    "FluctuationDriven",
    "FreshWeights",
    "GrowthOverDepth",
    "HardReset",
    "Homeostasis",
    "InputScale",
    "PotentialGain",
    "ReadoutScale",
    "RelayStart",
    "Remedy",
    "RunningStatistics",
    "SpikeAwareVariance",
    "StatisticsOfAllSteps",
    "StatisticsPerStep",
    "SurrogateWidth",
    "TimeConstant",
    "Treatment",
    "remedies_for",
]
