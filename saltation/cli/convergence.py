"""The convergence study as a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from saltation.cli import untrained
from saltation.neurons import NEURONS
from saltation.neurons.in_step import SPIKE_TIMES
from saltation.schemes import SCHEMES
from saltation.studies.convergence import study
from saltation.studies.convergence.folder import ConvergenceStudy
from saltation.studies.engine.bounds import possible_path
from saltation.studies.engine.config import names
from saltation.studies.engine.files import check_folder


@dataclass
class Convergence:
    """How errors of neurons fall with dt, by scheme, before the first spike and through spikes,
    against solutions without a step: fitted orders, rates, work against precision."""

    neurons: Annotated[list[str], tyro.conf.arg(help=f"Neuron models: {names(NEURONS)}.")] = field(
        default_factory=lambda: ["lif", "izhikevich", "adex"]
    )
    schemes: Annotated[list[str], tyro.conf.arg(help=f"Schemes: {names(SCHEMES)}.")] = field(
        default_factory=lambda: list(study.SCHEMES_SHOWN)
    )
    spike_times: Annotated[
        list[str], tyro.conf.arg(help=f"When in a step neurons spike: {names(SPIKE_TIMES)}.")
    ] = field(default_factory=lambda: list(SPIKE_TIMES))
    dt: list[float] = field(default_factory=list)
    """Lengths of a step. Default: parts of the time to each neuron's first spike."""
    currents: list[float] = field(default_factory=list)
    """Constant currents. Default: 1.5 to 2 times the first that makes a neuron spike thrice."""
    t_end: float = 20.0
    """Until when, where currents are given."""
    out_dir: Path = Path("runs/convergence")
    """Folder of the table, the figures and the report; cells that it has already are kept."""

    def __call__(self) -> None:
        asked = study.Convergence(
            neurons=tuple(self.neurons),
            schemes=tuple(self.schemes),
            spike_times=tuple(self.spike_times),
            dt=tuple(self.dt),
            currents=tuple(self.currents),
            t_end=self.t_end,
        )
        check_folder("out_dir", possible_path(self.out_dir))
        untrained.run(ConvergenceStudy(asked), self.out_dir)
