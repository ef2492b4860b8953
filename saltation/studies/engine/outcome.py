"""What a trial came to: its last test accuracy or, where targets are numbers, its error."""

from __future__ import annotations

from typing import NamedTuple

from saltation.studies.engine.rows import Record


class Outcome(NamedTuple):
    """The last score of a trial on the test set.

    Attributes
    ----------
    value
        Test accuracy in percent, or test loss: where a data set has targets the mean squared error
        over the variance of those of the training set.
    is_error
        Whether it is a loss.
    """

    value: float
    is_error: bool

    @property
    def merit(self) -> float:
        """The larger the better."""
        return -self.value if self.is_error else self.value

    @property
    def name(self) -> str:
        """Test accuracy, or test error."""
        return "test error" if self.is_error else "test accuracy"

    def __str__(self) -> str:
        return in_digits(self.value, self.is_error)


def outcome_of(record: Record) -> Outcome | None:
    """The last score of a trial, or None if it has none."""
    if not record["epochs"]:
        return None
    last = record["epochs"][-1]
    for name, is_error in (("test_accuracy", False), ("test_loss", True)):
        if last.get(name) is not None:
            return Outcome(float(last[name]), is_error)
    return None


def name_of(records: list[Record]) -> str:
    """What the scores of these trials are: test accuracy, or of targets test error."""
    found = [outcome for record in records if (outcome := outcome_of(record))]
    return found[0].name if found else "test accuracy"


def in_digits(value: float, is_error: bool) -> str:
    """A score with the digits that mean something, and its unit."""
    return f"{value:.4g}" if is_error else f"{value:.2f} %"
