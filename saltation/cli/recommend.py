"""The command that finds a scheme and a dt that are accurate enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from rich.table import Table

from saltation.cli.commands import checked_input, parameters_of
from saltation.cli.terminal import console, say
from saltation.errors import ConfigError
from saltation.neurons import NEURONS, get_neuron
from saltation.numerics import Evidence, Recommendation, recommend
from saltation.numerics.recommend import percent
from saltation.reference import Pulses
from saltation.studies.engine.config import names

_LONGEST = 1e5


@dataclass
class Recommend:
    """The cheapest scheme and the largest dt that keep rates and spike times within a tolerance,
    against the exact solution; with the errors of every scheme."""

    neuron: Annotated[
        str, tyro.conf.arg(help=f"Neuron model: {names(NEURONS)}, or of a file, as in my.py:AdEx.")
    ] = "lif"
    tolerance: str = "1%"
    """Largest error of rates, and of spike times in intervals: 1% or 0.01."""
    tau: float | None = None
    """Membrane time constant. Default the model's own."""
    set: list[str] = field(default_factory=list)
    """Other parameters of the model, as NAME=VALUE."""
    input: list[float] = field(default_factory=list)
    """Constant currents. Default: 1.3 and 2 times the smallest that keeps the neuron spiking."""
    poisson: tuple[float, float] | None = None
    """Pulses at random times instead: how many per unit of time, and the charge of each."""
    t_end: float | None = None
    """Up to when. Default: 12 spikes; with --poisson, 100 pulses."""
    schemes: list[str] = field(default_factory=list)
    """Schemes to look at. Default: all that the model has."""

    def __call__(self) -> None:
        model: Any = get_neuron(self.neuron)
        found = recommend(
            model(**parameters_of(model, self.set, tau=self.tau)),
            _fraction(self.tolerance),
            *self._inputs(),
            schemes=self.schemes or None,
        )
        inputs = ", ".join(_shown(one) for one in found.inputs)
        say(f"{found.neuron} under {inputs}, tolerance {percent(found.tolerance)}")
        console.print(evidence_table(found))
        say(
            "dt: the largest that keeps the tolerance; limit: stable at rest; rate and times: "
            "errors at dt; cost: operations per unit of time"
        )
        say(str(found))

    def _inputs(self) -> tuple[list[Any] | None, float | None]:
        if self.t_end is not None and not 0 < self.t_end <= _LONGEST:
            raise ConfigError(f"t_end must be above 0 and at most {_LONGEST:g}, got {self.t_end:g}")
        if self.poisson is None:
            return [checked_input(x) for x in self.input] or None, self.t_end
        if self.input:
            raise ConfigError("give either --input or --poisson, got both")
        rate, charge = self.poisson
        if not rate > 0:
            raise ConfigError(f"--poisson takes a rate above 0, got {rate:g}")
        t_end = 100 / rate if self.t_end is None else self.t_end
        if not rate * t_end <= _LONGEST:
            raise ConfigError(f"--poisson makes {rate * t_end:g} pulses, at most {_LONGEST:g}")
        checked_input(charge)
        return [Pulses.poisson(rate, t_end, charge)], t_end


def evidence_table(found: Recommendation) -> Table:
    """What was found of every scheme, the cheapest first."""
    shown = Table()
    shown.add_column("scheme", no_wrap=True)
    for column in ("dt", "limit", "rate", "times", "at 2 dt", "cost"):
        shown.add_column(column, justify="right")
    for one in found.evidence:
        shown.add_row(one.scheme, *_row(one))
    return shown


def _row(one: Evidence) -> list[str]:
    limit = "none" if math.isinf(one.dt_limit) else f"{one.dt_limit:.4g}"
    if one.dt is None or one.here is None:
        return ["none", limit, "", "", "", ""]
    return [
        f"{one.dt:g}",
        limit,
        percent(one.here.rate_error, sign=True),
        percent(one.here.time_error),
        "refused" if one.twice is None else percent(one.twice.worst),
        "" if one.cost is None else f"{one.cost:.0f}",
    ]


def _shown(given: Any) -> str:
    if isinstance(given, Pulses):
        return f"{len(given.times)} Poisson pulses of {given.charges[0]:g}"
    return f"{given:g}"


def _fraction(text: str) -> float:
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return float(text)
    except ValueError:
        raise ConfigError(f"--tolerance takes a number or a percentage, got '{text}'") from None
