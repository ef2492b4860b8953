"""Populations of neurons in Brian2: run by `brian_cases`, with an interpreter that has Brian2."""

from __future__ import annotations

import json
import sys
from typing import Any

import brian2 as b2  # type: ignore[import-not-found]
import numpy as np

EQUATIONS = {
    "lif": "dv/dt = (-(v - v_rest) + gain * x) / (tau * second) : 1\nx : 1",
    "cuba_lif": """
        dv/dt = (current - (v - v_rest)) / (tau * second) : 1
        dcurrent/dt = (x - current) / (tau_syn * second) : 1
        x : 1
    """,
    "izhikevich": """
        dv/dt = (a0 * (v - v_rest) * (v - v_c) - w + x) / (tau * second) : 1
        dw/dt = (a * (v - v_rest) - w) / (tau_w * second) : 1
        x : 1
    """,
}
JUMPS = {"hard": "v = v_reset", "soft": "v = v - v_threshold"}


def spikes(model: str, method: str, dtype: str, p: dict[str, Any], given: np.ndarray) -> np.ndarray:
    """``[T, N]``: which neurons spike in which step, for input currents ``given`` [T, N]."""
    b2.start_scope()
    b2.prefs.core.default_float_dtype = getattr(np, dtype)
    b2.defaultclock.dt = p["dt"] * b2.second
    p = p | {"gain": 1.0 if p.get("decay_input", True) else p["tau"]}
    jump = JUMPS[p["jump"]] + ("; w = w + b" if model == "izhikevich" else "")
    group = b2.NeuronGroup(
        given.shape[1],
        EQUATIONS[model],
        threshold="v >= v_threshold",
        reset=jump,
        method=method,
        namespace={k: value for k, value in p.items() if isinstance(value, float)},
    )
    group.v = p["v_reset"] if model == "izhikevich" else p["v_rest"]
    found = np.zeros(given.shape, dtype=bool)
    step = iter(range(len(given)))
    now = [0]

    # Set before the state is updated, and so held over the step.
    @b2.network_operation(when="start")
    def drive() -> None:
        now[0] = next(step)
        group.x_[:] = given[now[0]]

    @b2.network_operation(when="after_thresholds")
    def note() -> None:
        found[now[0], group.spikes] = True

    b2.Network(group, drive, note).run(len(given) * p["dt"] * b2.second)
    if next(step, None) is not None:
        raise RuntimeError("Brian2 took another number of steps")
    return found


def main(given: str, answer: str) -> None:
    """Spikes of all cases in the file ``given``, into the file ``answer``."""
    b2.prefs.codegen.target = "numpy"
    with np.load(given) as file:
        cases = json.loads(str(file["settings"]))
        found = [spikes(*case, file[str(number)]) for number, case in enumerate(cases)]
    made = {"brian2": b2.__version__, "numpy": np.__version__}
    np.savez(answer, spikes=np.stack(found), made=json.dumps(made))


if __name__ == "__main__":
    main(*sys.argv[1:])
