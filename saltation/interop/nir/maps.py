"""One neuron's step as a map, in saltation and as other libraries import it from a graph.

What they compute from the same node is read from their importers: snnTorch 1.0
(``import_nir.import_from_nir``), Norse 1.1 (``norse.torch.from_nir``), SpikingJelly 2.0
(``nir_exchange.import_from_nir``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from saltation.neurons.base import Neuron

State = tuple[float, ...]
Values = dict[str, float]
# Named by their importers, whatever the caller's step is.
_SNNTORCH_DT = 1e-4


class Map(NamedTuple):
    """A neuron's step.

    Attributes
    ----------
    step
        ``(x, state) -> state``, the potential first, before the jump.
    start
        The state before the first step.
    dt
        Length of a step.
    threshold
        Above which it spikes.
    jump
        ``v -> v`` after a spike.
    words
        What the step is.
    notes
        What of the node it leaves out.
    """

    step: Callable[[float, State], State]
    start: State
    dt: float
    threshold: float
    jump: Callable[[float], float]
    words: str
    notes: str = ""


class RefusedByError(Exception):
    """What a library does not import, in words."""


def of_scheme(neuron: Neuron, values: Values, words: str) -> Map:
    """The map of a linear model of saltation with its scheme and step."""
    step: Any = neuron.affine_step
    m = [[float(f or 0.0) for f in row] for row in step.m]
    n = [float(f or 0.0) for f in step.n]
    rest = [float(r) for r in step.rest]
    constant = [float(c) for c in step.c]

    def advance(x: float, state: State) -> State:
        away = [part - r for part, r in zip(state, rest, strict=True)]
        return tuple(
            r + c + k * x + sum(f * p for f, p in zip(row, away, strict=True))
            for row, k, r, c in zip(m, n, rest, constant, strict=True)
        )

    start = tuple(float(part) for part in neuron.initial())
    reset = values.get("v_reset", 0.0)
    return Map(advance, start, neuron.dt, values["v_threshold"], lambda _: reset, words)


def snntorch(kind: str, v: Values, dt: float) -> Map:
    """What snnTorch makes of a node: Euler's steps of 0.0001, whatever the caller's are."""
    if v.get("v_leak", 0.0) != 0:
        raise RefusedByError("v_leak must be 0")
    left_out = "its v_reset is left out" if v["v_reset"] else ""
    if kind == "IF":
        if v["r"] != 1:
            raise RefusedByError("r must be 1")
        threshold = v["v_threshold"]
        return Map(
            lambda x, s: (0.9 * s[0] + x,), (0.0,), dt, threshold, lambda h: h - threshold,
            "v = 0.9 v + x and a reset by subtraction: another model", left_out,
        )  # fmt: skip
    dt = _SNNTORCH_DT
    if kind == "LIF":
        return _euler(v, dt, v["r"], 0.0, 0.0, f"explicit Euler, dt = {dt:g}", left_out)
    _must(abs(v["r"] - v["tau_mem"] / dt) <= 1e-5 * abs(v["r"]), f"r must be tau_mem / {dt:g}")
    return _current_first(v, dt, 0.0, 0.0, 0.0, f"Euler, current first, dt = {dt:g}", left_out)


def norse(kind: str, v: Values, dt: float) -> Map:
    """What Norse makes of a node, with the caller's dt."""
    left_out = "its v_reset is left out" if v["v_reset"] else ""
    if kind == "IF":
        notes = "; ".join(filter(None, ("dt and r are left out", left_out)))
        return Map(
            lambda x, s: (s[0] + x,), (0.0,), dt, v["v_threshold"], lambda _: 0.0, "v = v + x",
            notes,
        )  # fmt: skip
    leak = v["v_leak"]
    if kind == "LIF":
        notes = "; ".join(filter(None, ("r is left out" if v["r"] != 1 else "", left_out)))
        return _euler(v, dt, 1.0, leak, 0.0, "explicit Euler", notes)
    notes = "; ".join(filter(None, ("v_leak drives the current, too" if leak else "", left_out)))
    return _current_first(v, dt, leak, leak, 0.0, "Euler, current first", notes)


def spikingjelly(kind: str, v: Values, dt: float) -> Map:
    """What SpikingJelly makes of a node, with the caller's dt."""
    reset = v["v_reset"]

    def near(a: float, b: float) -> bool:
        return abs(a - b) <= 1e-6 * abs(b) + 1e-12

    if kind == "IF":
        _must(near(v["r"], 1 / dt), "r must be 1 / dt")
        return Map(
            lambda x, s: (s[0] + x,), (reset,), dt, v["v_threshold"], lambda _: reset, "v = v + x"
        )
    if kind == "LIF":
        _must(v["tau"] > dt, "tau must be above dt")
        _must(near(v["r"], 1) or near(v["r"], v["tau"] / dt), "r must be 1 or tau / dt")
        _must(near(v["v_leak"], reset), "v_leak must equal v_reset")
        return _euler(v, dt, v["r"], v["v_leak"], reset, "explicit Euler", "")
    _must(min(v["tau_mem"], v["tau_syn"]) >= dt, "time constants must be at least dt")
    _must(near(v["r"], v["tau_mem"] / dt), "r must be tau_mem / dt")
    _must(near(v["w_in"], v["tau_syn"] / dt), "w_in must be tau_syn / dt")
    _must(near(v["v_leak"], 0.0), "v_leak must be 0")
    return _current_first(v, dt, 0.0, 0.0, reset, "Euler, current first", "")


PEERS = {"snnTorch 1.0": snntorch, "Norse 1.1": norse, "SpikingJelly 2.0": spikingjelly}


def _must(holds: bool, words: str) -> None:
    if not holds:
        raise RefusedByError(words)


def _euler(
    v: Values, dt: float, r: float, leak: float, reset: float, words: str, notes: str
) -> Map:
    z = dt / v["tau"]
    return Map(
        lambda x, s: (s[0] + z * (leak - s[0] + r * x),),
        (leak,), dt, v["v_threshold"], lambda _: reset, words, notes,
    )  # fmt: skip


def _current_first(
    v: Values, dt: float, leak: float, driven: float, reset: float, words: str, notes: str
) -> Map:
    z_syn, z = dt / v["tau_syn"], dt / v["tau_mem"]

    def step(x: float, s: State) -> State:
        i = s[1] + z_syn * (v["w_in"] * x + driven - s[1])
        return s[0] + z * (leak - s[0] + v["r"] * i), i

    return Map(step, (leak, 0.0), dt, v["v_threshold"], lambda _: reset, words, notes)
