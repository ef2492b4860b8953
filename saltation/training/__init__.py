"""The one training loop: epochs of optimisation and evaluation, over lightning-fabric."""

from saltation.training.evaluation import Batch, evaluate
from saltation.training.loop import fit
from saltation.training.optimisation import OPTIMIZERS, SCHEDULES, Optimisation
from saltation.training.records import Diverged, EpochRecord, Score
from saltation.training.task import Task

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Batch",
    "Diverged",
    "EpochRecord",
    "Optimisation",
    "Score",
    "Task",
    "evaluate",
    "fit",
]
