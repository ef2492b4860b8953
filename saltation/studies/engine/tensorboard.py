"""What TensorBoard shows of a study: scalars of every epoch, spike rates, potentials."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from saltation.errors import ConfigError
from saltation.training import EpochRecord


def require() -> None:
    """Raise ConfigError if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "tensorboard is not installed; pip install 'saltation[tensorboard]', or leave out "
            "--tensorboard"
        )


class Board:
    """Event files of one trial.

    Parameters
    ----------
    folder
        Of those of all trials.
    name
        Of the trial, in TensorBoard too.
    after
        The epoch after which the trial goes on: what was written of later ones is hidden.
    """

    def __init__(self, folder: Path, name: str, after: int) -> None:
        # Imported only for those who ask for it: it takes a second.
        from torch.utils.tensorboard import SummaryWriter

        place = folder / name.replace("/", "-")
        self._writer: Any = SummaryWriter(str(place), purge_step=after + 1 if after else 0)

    def add(self, record: EpochRecord, metrics: dict[str, Any]) -> None:
        """Write an epoch: its metrics that are numbers, how often the neurons of each layer spike
        on the test set, and their potentials on its first batch."""
        for name, value in metrics.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record.epoch)
        for layer, statistics in record.layers.items():
            if statistics.rates is not None:
                self._writer.add_histogram(f"spike_rate/{layer}", statistics.rates, record.epoch)
        for layer, potentials in record.potentials.items():
            self._writer.add_histogram(f"potential/{layer}", potentials, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
