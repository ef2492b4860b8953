"""``python -m benchmarks.parity``: saltation beside Brian2, spike for spike and in potentials.

Compares with the traces that are stored with the tests, or with those that Brian2 gives now, where
this interpreter has it or ``--brian`` names one that does. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.interop import brian_cases, brian_traces
from tests.interop.brian_traces import CASES, CONVENTIONS, METHODS, Traced, Traces

LARGEST = 1e-10  # distance of potentials, in the unit of the model


class Row(NamedTuple):
    """A model under a scheme: Brian2's spikes, places where ours differ, and potentials.

    ``distance`` is the largest of all potentials compared; nan where spikes alone are stored.
    """

    model: str
    method: str
    scheme: str
    jump: str
    dts: str
    spikes: int
    differ: int
    distance: float

    @property
    def is_equal(self) -> bool:
        return self.differ == 0 and not self.distance > LARGEST


def rows(cases: Iterable[Traced], traces: Traces) -> list[Row]:
    """Cases beside their traces, a row for each model, scheme and jump."""
    grouped: dict[tuple[str, str, str], list[tuple[float, int, int, float]]] = {}
    for case, (spikes, potentials) in zip(cases, traces, strict=True):
        ours, ours_v = case.ours()
        distance = float(np.abs(ours_v - potentials).max())
        found = (case.dt, int(spikes.sum()), int((spikes != ours).sum()), distance)
        grouped.setdefault((case.model, case.method, case.jump), []).append(found)
    return [
        Row(
            model,
            method,
            METHODS[model][method],
            jump,
            ", ".join(f"{dt:g}" for dt, *_ in some),
            sum(spikes for _, spikes, _, _ in some),
            sum(differ for _, _, differ, _ in some),
            max(distance for *_, distance in some),
        )
        for (model, method, jump), some in grouped.items()
    ]


def more_rows() -> list[Row]:
    """The larger store of spikes alone: LIF, CUBA-LIF and Izhikevich, also in float32."""
    stored, _ = brian_cases.stored()
    grouped: dict[tuple[str, ...], list[tuple[float, int, int]]] = {}
    for case in brian_cases.CASES:
        if (case.model, case.method) == ("izhikevich", "rk2"):
            continue  # another method
        ours = case.layer(case.currents)[:, 0].bool().numpy()
        theirs = stored[case.number]
        key = (f"{case.model}, {case.dtype}", case.method, case.parameters["jump"])
        scheme = brian_cases.METHODS[case.model][case.method]
        found = (case.parameters["dt"], int(theirs.sum()), int((ours != theirs).sum()))
        grouped.setdefault((*key, scheme), []).append(found)
    return [
        Row(
            model,
            method,
            scheme,
            jump,
            ", ".join(f"{dt:g}" for dt in sorted({dt for dt, *_ in some})),
            sum(spikes for _, spikes, _ in some),
            sum(differ for *_, differ in some),
            float("nan"),
        )
        for (model, method, jump, scheme), some in grouped.items()
    ]


def table(found: list[Row]) -> str:
    """Rows as a table in Markdown."""
    head = ("model", "Brian2's scheme", "ours", "jump", "dt", "spikes", "differ", "potentials")
    lines = [" | ".join(head), " | ".join(["---"] * 5 + ["---:"] * 3)]
    for row in found:
        distance = "" if np.isnan(row.distance) else f"{row.distance:.1e}"
        lines.append(
            f"{row.model} | {row.method} | {row.scheme} | {row.jump} | {row.dts} | {row.spikes} | "
            f"{row.differ} | {distance}"
        )
    return "\n".join(f"| {line} |" for line in lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("--brian", help="interpreter that has Brian2: its traces are made now")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    python = options.brian or (sys.executable if importlib.util.find_spec("brian2") else None)
    if python:
        with tempfile.TemporaryDirectory() as folder:
            brian_traces.run(python, Path(folder, "now.npz"))
            traces, made = brian_traces.stored(Path(folder, "now.npz"))
    else:
        traces, made = brian_traces.stored()
    found = rows(CASES, traces) + more_rows()
    print(f"Brian2 {made['brian2']}, {'run now' if python else 'stored traces'}, {len(found)} rows")
    print(f"\n{table(found)}\n")
    print("potentials: largest distance of every 50th step's, in the unit of the model\n")
    for name, said in CONVENTIONS.items():
        print(f"- {name}: {said}.")
    spikes, differ = sum(row.spikes for row in found), sum(row.differ for row in found)
    print(f"\n{differ} of {spikes:,} spikes differ; {sum(not r.is_equal for r in found)} rows do")
    if not all(row.is_equal for row in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
