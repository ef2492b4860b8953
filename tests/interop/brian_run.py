"""Populations of neurons in Brian2: run by `brian_cases` and `brian_traces`, with an interpreter
that has Brian2."""

from __future__ import annotations

import json
import sys
from typing import Any

import brian2 as b2  # type: ignore[import-not-found]
import numpy as np

EQUATIONS = {
    "lif": "dv/dt = (-(v - v_rest) + gain * x) / (tau * second) : 1",
    "cuba_lif": """
        dv/dt = (current - (v - v_rest)) / (tau * second) : 1
        dcurrent/dt = (x - current) / (tau_syn * second) : 1
    """,
    "izhikevich": """
        dv/dt = (a0 * (v - v_rest) * (v - v_c) - w + x) / (tau * second) : 1
        dw/dt = (a * (v - v_rest) - w) / (tau_w * second) : 1
    """,
    "alif": """
        dv/dt = (-(v - v_rest) + x) / (tau * second) : 1
        da/dt = -a / (tau_a * second) : 1
    """,
    "izhikevich_2003": """
        dv/dt = (0.04 * v**2 + 5 * v + 140 - u + x) / second : 1
        du/dt = a * (b * v - u) / second : 1
    """,
    "adex": """
        dv/dt = (-(v - v_rest) + delta * exp((below - v_rheo) / delta) - w + x) / (tau * second) : 1
        dw/dt = (a * (below - v_rest) - w) / (tau_w * second) : 1
        below = clip(v, -1e9, v_threshold) : 1
    """,
    "hodgkin_huxley": """
        dv/dt = (x - g_na * m**3 * h * (v - e_na) - g_k * n**4 * (v - e_k) - g_l * (v - e_l))
            / (c * second) : 1
        dm/dt = (alpha_m * (1 - m) - beta_m * m) / second : 1
        dh/dt = (alpha_h * (1 - h) - beta_h * h) / second : 1
        dn/dt = (alpha_n * (1 - n) - beta_n * n) / second : 1
        dr/dt = -r / (tau_ref * second) : 1
        alpha_m = 1 / exprel(-(v + 40) / 10) : 1
        beta_m = 4 * exp(-(v + 65) / 18) : 1
        alpha_h = 0.07 * exp(-(v + 65) / 20) : 1
        beta_h = 1 / (1 + exp(-(v + 35) / 10)) : 1
        alpha_n = 0.1 / exprel(-(v + 55) / 10) : 1
        beta_n = 0.125 * exp(-(v + 65) / 80) : 1
    """,
}
THRESHOLDS = {
    "alif": "v >= v_threshold + beta * a",
    "hodgkin_huxley": "v >= v_threshold + 150 * r",
}
JUMPS = {
    "hard": "v = v_reset",
    "soft": "v = v - v_threshold",
    "soft_delayed": "pending = v_threshold",
    "none": "",
}
# What jumps beside the potential, and what takes the potential's place.
BESIDE = {"izhikevich": "w = w + b", "adex": "w = w + b", "izhikevich_2003": "u = u + d"}


def jump(model: str, kind: str) -> str:
    """The reset as Brian2 writes it."""
    if model == "hodgkin_huxley":
        return "r = 1"
    if model == "alif" and kind != "none":
        # The threshold that is subtracted is the one before a rises.
        after = "v = v - (v_threshold + beta * a)" if kind == "soft" else JUMPS[kind]
        return f"{after}; a = a + 1"
    beside = BESIDE.get(model, "") if kind != "none" else ""
    return "; ".join(part for part in (JUMPS[kind], beside) if part)


def run(
    model: str, method: str, dtype: str, p: dict[str, Any], given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """``[T, N]`` each: which neurons spike in which step, and their potentials after it, for input
    currents ``given`` [T, N]."""
    b2.start_scope()
    b2.prefs.core.default_float_dtype = getattr(np, dtype)
    b2.defaultclock.dt = p["dt"] * b2.second
    p = p | {"gain": 1.0 if p.get("decay_input", True) else p["tau"]}
    reset = jump(model, p["jump"])
    group = b2.NeuronGroup(
        given.shape[1],
        EQUATIONS[model] + "\nx : 1\npending : 1",
        threshold=THRESHOLDS.get(model, "v >= v_threshold"),
        method=method,
        namespace={k: value for k, value in p.items() if isinstance(value, float)},
        reset=reset,
    )
    first = p["v_reset"] if model == "izhikevich" else p.get("v_rest", 0.0)
    for name, value in p.get("start", {"v": first}).items():
        setattr(group, name, value)
    if p["jump"] == "soft_delayed":
        group.run_regularly("v = v - pending; pending = 0", when="after_groups")
    found = np.zeros(given.shape, dtype=bool)
    potentials = np.zeros(given.shape)
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

    @b2.network_operation(when="end")
    def look() -> None:
        potentials[now[0]] = group.v_[:]

    b2.Network(group, drive, note, look).run(len(given) * p["dt"] * b2.second)
    if next(step, None) is not None:
        raise RuntimeError("Brian2 took another number of steps")
    return found, potentials


def main(given: str, answer: str) -> None:
    """Spikes and potentials of all cases in the file ``given``, into the file ``answer``."""
    b2.prefs.codegen.target = "numpy"
    with np.load(given) as file:
        cases = json.loads(str(file["settings"]))
        found = [run(*case, file[str(number)]) for number, case in enumerate(cases)]
    made = {"brian2": b2.__version__, "numpy": np.__version__}
    arrays = {f"spikes{n}": spikes for n, (spikes, _) in enumerate(found)}
    arrays |= {f"v{n}": potentials for n, (_, potentials) in enumerate(found)}
    np.savez(answer, made=json.dumps(made), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
