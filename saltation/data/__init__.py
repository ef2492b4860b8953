"""Data sets as uint8 tensors in memory: read safely, batched by index, augmented as tensors."""

from saltation.data.augment import Augment, random_crop, random_flip
from saltation.data.augment_events import AugmentEvents, drop, flip, jitter, speed
from saltation.data.batching import Batch, batches
from saltation.data.dataset import Dataset, Split
from saltation.data.download import fetch
from saltation.data.loading import load
from saltation.data.own import as_file, spec_of, whole_name
from saltation.data.places import Presence, describe
from saltation.data.registry import DATASETS, Spec
from saltation.data.sequences import at_steps
from saltation.data.sets import import_all

import_all()

__all__ = [
    "DATASETS",
    "Augment",
    "AugmentEvents",
    "Batch",
    "Dataset",
    "Presence",
    "Spec",
    "Split",
    "as_file",
    "at_steps",
    "batches",
    "describe",
    "drop",
    "fetch",
    "flip",
    "jitter",
    "load",
    "random_crop",
    "random_flip",
    "spec_of",
    "speed",
    "whole_name",
]
