"""Errors of neurons by scheme, spike time and dt, against solutions without a step.

There is nothing to train and no seed, so that this is a table of cells, each a few seconds: those
that the folder has already are not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saltation.errors import ConfigError, choose
from saltation.neurons import Neuron, get_neuron
from saltation.neurons.in_step import SPIKE_TIMES
from saltation.numerics.convergence import Exact, errors_of, exact, rates, solutions, steps_before
from saltation.schemes import SCHEMES
from saltation.studies.engine.files import write_whole

CELLS = "convergence.csv"

SCHEMES_SHOWN = ("euler", "symplectic", "exponential", "rk2", "rk4")
# Steps that make up the time before the first spike at which states are compared.
STEPS = (6, 9, 14, 21, 32, 48)
# Currents of a curve of rates, and how much longer they flow.
_CURRENTS, _LONGER = 41, 3
_KEY = ("neuron", "scheme", "spike_time", "dt")


@dataclass(frozen=True)
class Convergence:
    """Which cells there are.

    Attributes
    ----------
    neurons, schemes, spike_times
        By name; combinations that a model refuses are left out.
    dt
        Lengths of a step for every neuron; without them each has its own, parts of the time to its
        first spike.
    currents
        Constant currents for every neuron; without them each has its own, see `solutions`.
    t_end
        Until when, where currents are given.
    """

    neurons: tuple[str, ...] = ("lif", "izhikevich", "adex")
    schemes: tuple[str, ...] = SCHEMES_SHOWN
    spike_times: tuple[str, ...] = SPIKE_TIMES
    dt: tuple[float, ...] = ()
    currents: tuple[float, ...] = ()
    t_end: float = 20.0

    def __post_init__(self) -> None:
        for name in self.neurons:
            if get_neuron(name).is_map:
                raise ConfigError(f"neuron '{name}' is a discrete map: it has no scheme to look at")
        for scheme in self.schemes:
            choose("scheme", scheme, SCHEMES)
        for name in self.neurons:
            if not self._schemes(get_neuron(name)):
                raise ConfigError(
                    f"{name} has none of the schemes {', '.join(self.schemes)} (allowed: "
                    f"{', '.join(get_neuron(name).schemes)})"
                )
        for kind in self.spike_times:
            choose("spike_time", kind, SPIKE_TIMES)
        for what in ("neurons", "schemes", "spike_times"):
            if not getattr(self, what):
                raise ConfigError(f"{what} must have at least one entry")
        if not all(0 < dt < float("inf") for dt in self.dt):
            raise ConfigError(f"dt must be finite numbers above 0, got {list(self.dt)}")

    def run(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
        """All cells, computed where ``folder`` has none of their name and conditions.

        Every row is written as soon as it is known.

        Raises
        ------
        SaltationError
            If no current makes a neuron spike, or a given one does not.
        ConfigError
            If the folder's cells are not a table of them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CELLS
        known = _read(path)
        rows = []
        for name in self.neurons:
            model: Any = get_neuron(name)
            solved = self._solved(model())
            lengths = self.dt or tuple(steps_before(solved, STEPS))
            for scheme, kind in self._cells(model):
                for dt in lengths:
                    conditions = {
                        "neuron": name,
                        "scheme": scheme,
                        "spike_time": kind,
                        "dt": float(f"{dt:.12g}"),
                        "currents": " ".join(f"{x:.6g}" for x in solved.currents),
                        "t_end": float(f"{solved.t_end:.6g}"),
                    }
                    row = _find(known, conditions)
                    if row is None:
                        found = errors_of(model(dt=dt, scheme=scheme, spike_time=kind), solved)
                        row = conditions | found._asdict() | {"dt": conditions["dt"]}
                        _append(path, row)
                    rows.append(row)
                say(f"{name} {scheme} {kind}")
        return pd.DataFrame(rows)

    def curves(self) -> pd.DataFrame:
        """Rates against currents: of the solutions (dt 0), and of the scheme of the highest order
        at a long and a short step, with spikes as they are asked for."""
        rows = []
        for name in self.neurons:
            model: Any = get_neuron(name)
            solved = self._solved(model())
            currents = np.linspace(0.0, 1.5 * solved.currents.max(), _CURRENTS)
            scheme = max(self._schemes(model), key=lambda one: SCHEMES[one].order)
            lengths = sorted(self.dt or steps_before(solved, STEPS))
            cases = [("exact", 0.0), *((kind, lengths[-1]) for kind in self.spike_times)]
            if "grid" in self.spike_times:
                cases.append(("grid", lengths[len(lengths) // 2]))
            for kind, dt in cases:
                one = model(dt=dt, scheme=scheme, spike_time=kind) if dt else model()
                found = rates(one, currents, _LONGER * solved.t_end, stepped=dt > 0)
                rows += [
                    {"neuron": name, "scheme": scheme, "spike_time": kind, "dt": dt}
                    | {"current": float(x), "rate": float(rate)}
                    for x, rate in zip(currents, found, strict=True)
                ]
        return pd.DataFrame(rows)

    def _solved(self, model: Neuron) -> Exact:
        return exact(model, self.currents, self.t_end) if self.currents else solutions(model)

    def _cells(self, model: Any) -> Iterator[tuple[str, str]]:
        for scheme in self._schemes(model):
            for kind in self.spike_times:
                yield scheme, kind

    def _schemes(self, model: Any) -> list[str]:
        """Those of the model's that are asked for."""
        return [scheme for scheme in self.schemes if scheme in model.schemes]


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame()
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):  # stopped within a row
            write_whole(path, text[: text.rfind("\n") + 1])
        found = pd.read_csv(path, dtype={"currents": str})
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    missing = {*_KEY, "state", "times", "currents", "t_end"} - set(found.columns)
    if missing:
        raise ConfigError(f"{path} is no table of this study: it has no {min(missing)}")
    return found


def _find(known: pd.DataFrame, conditions: dict[str, Any]) -> dict[str, Any] | None:
    """The row of these conditions, if there is one."""
    if known.empty:
        return None
    same = pd.Series(True, index=known.index)
    for name, value in conditions.items():
        column = known[name]
        if isinstance(value, float):
            same &= (column - value).abs() <= 1e-9 * abs(value)
        else:
            same &= column.astype(str) == value
    rows = known[same]
    return None if rows.empty else {str(k): v for k, v in rows.iloc[-1].items()}


def _append(path: Path, row: dict[str, Any]) -> None:
    """One row more, whole."""
    pd.DataFrame([row]).to_csv(path, mode="a", header=not path.exists(), index=False)
