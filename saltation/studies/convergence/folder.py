"""The convergence study by its folder: run on, listed, and reported anew, as studies are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import pandas as pd
from rich.table import Table

from saltation.errors import ConfigError
from saltation.studies.convergence import report
from saltation.studies.convergence.study import CELLS, NAME, Convergence, made_in
from saltation.studies.engine.untrained import UntrainedStudy

RATES = "rates.csv"


class ConvergenceStudy(UntrainedStudy):
    """The cells of `Convergence` in a folder, with their table, figures and page."""

    name = NAME

    def __init__(self, what: Convergence) -> None:
        self.what = what

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        given: Any = {n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}
        return cls(Convergence(**given))

    def complete(self, folder: Path, say: Callable[[str], None]) -> None:
        self.what.run(folder, say)
        self.what.curves().to_csv(folder / RATES, index=False)
        self.draw(folder)
        self.report(folder)

    def draw(self, folder: Path) -> None:
        report.draw(self._found(folder), folder / "figures")
        if (folder / RATES).is_file():  # written when all cells were there
            try:
                report.draw_rates(pd.read_csv(folder / RATES), folder / "figures")
            except (OSError, ValueError, KeyError) as error:
                raise ConfigError(f"{folder / RATES} cannot be read: {error!r}") from None

    def report(self, folder: Path) -> Path:
        _, planned = self.what.known(folder)
        environment = made_in(folder)["environment"]
        return report.write_report(
            self._found(folder), folder, asdict(self.what), planned, environment
        )

    def tables(self, folder: Path) -> Table:
        found = report.orders(self._found(folder))
        shown = Table()
        kept = [str(name) for name in found.columns if not str(name).startswith("error")]
        for name in kept:
            head = name.removeprefix("spike times, ")
            shown.add_column(head, justify="left" if name in ("neuron", "scheme") else "right")
        for row in found[kept].itertuples(index=False):
            shown.add_row(*map(str, row))
        return shown

    def cells(self, folder: Path) -> tuple[int, int]:
        found, planned = self.what.known(folder)
        return len(found), planned

    def _found(self, folder: Path) -> pd.DataFrame:
        """The cells that are there; at least one."""
        found, _ = self.what.known(folder)
        if found.empty:
            raise ConfigError(f"{folder / CELLS} has none of the study's cells yet")
        return found
