"""Errors of neurons by scheme, spike time and dt, against solutions without a step.

There is nothing to train and no seed, so that this is a table of cells, each a few seconds: those
that the folder has already are not computed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from saltation.errors import ConfigError, choose
from saltation.neurons import Neuron, get_neuron
from saltation.neurons.in_step import SPIKE_TIMES
from saltation.numerics.convergence import Exact, errors_of, exact, rates, solutions, steps_before
from saltation.schemes import SCHEMES
from saltation.studies.engine.attempt import environment
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.files import write_whole

NAME = "convergence"
CELLS = "convergence.csv"
CONDITIONS = "conditions.json"
"""Currents and steps of every neuron, found when it was solved, and what the cells were made on."""

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

        Settings and conditions are written first, and every row as soon as it is known.

        Raises
        ------
        SaltationError
            If no current makes a neuron spike, or a given one does not.
        ConfigError
            If the folder's cells are not a table of them.
        """
        known = _read(folder / CELLS)
        solved = {name: self._solved(get_neuron(name)()) for name in self.neurons}
        conditions = {name: self._conditions(one) for name, one in solved.items()}
        folder.mkdir(parents=True, exist_ok=True)
        made = {"conditions": conditions, "environment": environment(torch.device("cpu"))}
        write_whole(folder / CONDITIONS, json.dumps(made, indent=1))
        write_whole(folder / CONFIG, json.dumps({"study": NAME} | asdict(self), indent=1))
        rows = []
        for cell in self._cells(conditions):
            row = _find(known, cell)
            if row is None:
                model: Any = get_neuron(cell["neuron"])
                one = model(**{name: cell[name] for name in ("dt", "scheme", "spike_time")})
                found = errors_of(one, solved[cell["neuron"]])
                row = cell | found._asdict() | {"dt": cell["dt"]}
                _append(folder / CELLS, row)
            rows.append(row)
            if cell["dt"] == conditions[cell["neuron"]]["dt"][-1]:
                say(f"{cell['neuron']} {cell['scheme']} {cell['spike_time']}")
        return pd.DataFrame(rows)

    def known(self, folder: Path) -> tuple[pd.DataFrame, int]:
        """The rows of its cells that ``folder`` has, and how many there are to be.

        Raises
        ------
        ConfigError
            If the folder cannot be read.
        """
        conditions = made_in(folder)["conditions"]
        try:
            cells = list(self._cells(conditions))
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{folder / CONDITIONS} has no conditions: {error!r}") from None
        table = _read(folder / CELLS)
        found = [row for row in (_find(table, cell) for cell in cells) if row is not None]
        return pd.DataFrame(found), len(cells)

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

    def _conditions(self, solved: Exact) -> dict[str, Any]:
        """Of all cells of a neuron, and the lengths of their steps."""
        lengths = self.dt or tuple(steps_before(solved, STEPS))
        return {
            "currents": " ".join(f"{x:.6g}" for x in solved.currents),
            "t_end": float(f"{solved.t_end:.6g}"),
            "dt": [float(f"{dt:.12g}") for dt in lengths],
        }

    def _cells(self, conditions: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What the row of every cell is found by, in order."""
        for name in self.neurons:
            own = conditions[name]
            for scheme in self._schemes(get_neuron(name)):
                for kind in self.spike_times:
                    for dt in own["dt"]:
                        cell = {"neuron": name, "scheme": scheme, "spike_time": kind, "dt": dt}
                        yield cell | {key: own[key] for key in ("currents", "t_end")}

    def _schemes(self, model: Any) -> list[str]:
        """Those of the model's that are asked for."""
        return [scheme for scheme in self.schemes if scheme in model.schemes]


def made_in(folder: Path) -> dict[str, Any]:
    """What `CONDITIONS` holds.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    path = folder / CONDITIONS
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: made[name] for name in ("conditions", "environment")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read: {error!r}") from None


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
