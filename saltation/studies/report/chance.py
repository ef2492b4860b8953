"""Which accuracies are those of who does not look."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from saltation.data import spec_of
from saltation.errors import SaltationError


class Guessing(NamedTuple):
    """Of a data set, in percent: the accuracy of guessing, and what is hardly better."""

    chance: float
    below: float


def guessing(results: pd.DataFrame) -> Guessing | None:
    """Of the data set of these trials; None where it is not known any more, as of a file that is
    gone."""
    try:
        chance = 100 / spec_of(str(results["dataset"].iloc[0])).classes
    except SaltationError:
        return None
    return Guessing(chance, min(1.5 * chance, chance + 10))
