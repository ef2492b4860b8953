"""From a neuron and its spike function to the program of its step.

A step has two parts. The first integrates: from the current and the state to the state before the
jump. The second fires: from that state to the spike and the state after the jump. Backward starts
from the state before the jump, which loops keep, and so sweeps through the second part, then the
first.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Hashable
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch

from saltation.kernels.program.graph import Graph, Node, Program, Slots
from saltation.kernels.program.lowering import lowered
from saltation.kernels.program.reverse import sweep
from saltation.kernels.program.trace import Builder, Symbol
from saltation.neurons.base import Neuron
from saltation.operands import NoRuleError
from saltation.surrogate import Surrogate


def program_of(neuron: Neuron, spike: Any) -> Program:
    """The program of one step of ``neuron``.

    Raises
    ------
    NoRuleError
        If the step has no form in a graph; the message says why.
    """
    if any(isinstance(value, FunctionType | MethodType) for value in vars(neuron).values()):
        raise NoRuleError("a method was replaced on the object itself")
    if neuron.spike_time != "grid":
        raise NoRuleError(
            f"with spike_time='{neuron.spike_time}' a jump takes the state at the start of the "
            "step too, which loops do not give it"
        )
    if neuron.tensors:
        return _of_tensors(neuron, spike)
    found = _known(neuron, spike)
    if isinstance(found, str):
        raise NoRuleError(found)
    return found


def _of_tensors(neuron: Neuron, spike: Any) -> Program:
    """The program with the tensors as they are; made once for who asks and who runs it."""
    tensors = (getattr(neuron, name) for name in neuron.tensors)
    versions = tuple(0 if t.is_inference() else t._version for t in tensors)
    key = spike, torch.is_grad_enabled(), versions
    kept = vars(neuron).setdefault("_programs", {})
    if key not in kept:
        kept.clear()
        kept[key] = _made_of(_Tracing(neuron, spike))
    found: Program = kept[key]
    return found


_MOST = 256  # traces that are remembered
_met: dict[Hashable, Program] = {}
_lock = threading.Lock()


def _made_of(trace: _Tracing) -> Program:
    """The trace's program; where one that recorded the same was met, that one with these rows.

    With learned constants a step is traced anew at every call: they may have become other numbers,
    on which it depends how it is computed. The sweep, which takes longer, is a function of what
    was recorded.
    """
    recorded, rows = trace.recorded(), tuple(trace.rows)
    with _lock:
        program = _met.get(recorded)
    if program is not None:
        return program.with_rows(rows)
    program = trace.program()
    if len(program.rows) == len(rows):  # else the sweep has made some of these constants
        with _lock:
            _met[recorded] = program.with_rows(())  # they hold the graph of what they are made of
            if len(_met) > _MOST:
                del _met[next(iter(_met))]
    return program


@functools.lru_cache(maxsize=256)
def _known(neuron: Neuron, spike: Any) -> Program | str:
    """The program, or why there is none."""
    try:
        return _Tracing(neuron, spike).program()
    except NoRuleError as reason:
        return str(reason)


class _Tracing:
    """One neuron's step, traced."""

    def __init__(self, neuron: Neuron, spike: Any) -> None:
        if not isinstance(spike, Surrogate) or type(spike).__call__ is not Surrogate.__call__:
            raise NoRuleError(f"spikes are 0 and 1, not those of {type(spike).__name__}")
        self.neuron, self.spike = neuron, spike
        self.variables = len(neuron.State._fields)
        self.numbers: list[float] = []
        self.rows: list[Any] = []
        self.integrating = Builder(self.numbers, self.rows)
        self.firing = Builder(self.numbers, self.rows)
        self._late: list[Symbol] = []
        try:
            self._trace()
        except (TypeError, AttributeError, RuntimeError, ValueError) as reason:
            raise NoRuleError(f"{type(reason).__name__}: {reason}") from reason

    def _trace(self) -> None:
        current, *before = (self.integrating.input(slot) for slot in range(self.variables + 1))
        state = self.neuron.State(*before)
        h: Any = self.neuron.integrate(current, state, self._late_spike)
        for spike in self._late:
            self._check_late(spike)
        self.h = [self.integrating.symbol(part) for part in h]
        start = self.neuron.State(*(self.firing.input(slot) for slot in range(self.variables)))
        s, after = self.neuron.fire(start, _spike)
        self.s: Any = s
        self.after: list[Symbol] = [self.firing.symbol(part) for part in after]

    def _check_late(self, spike: Symbol) -> None:
        """Loops pass the gradient of a late spike on to that of the step before, so it must be it:
        the potential's against the threshold."""
        nodes = self.integrating.nodes
        (above,) = nodes[spike.place].inputs
        op, parts, _ = nodes[above]
        potential, threshold = (nodes[part] for part in parts) if op == "sub" else (None, None)
        of_state = potential == Node("input", slot=1)
        if not of_state or threshold is None or threshold.op not in ("number", "row"):
            raise NoRuleError("a spike within the step is not that of the step before")

    def _late_spike(self, u: Any) -> Any:
        self._late.append(_spike(u))
        return self._late[-1]

    def recorded(self) -> Hashable:
        """All that `program` is made of, but for the rows themselves."""
        results = (*self.h, self.s, *self.after, *self._late)
        # What the functions of calls did is among the nodes, as are their numbers.
        calls = (call[1:] for call in self.integrating.calls)
        return (
            *(self.spike, self.variables, len(self._late), tuple(r.place for r in results)),
            *(tuple(self.integrating.nodes), tuple(self.firing.nodes), tuple(calls)),
            np.array(self.numbers).tobytes(),  # bits: there are two zeros
            tuple(row.requires_grad for row in self.rows),
        )

    def program(self) -> Program:
        """The three graphs, and what backward reads."""
        count, slots = self.variables, Slots(self.variables)
        forward = self._forward()
        jump = self._lowered(self.firing.graph(*self.after))
        backward = self._backward()
        reads = backward.reads()
        before = tuple(v for v in range(count) if slots.before[v] in reads)
        kept = {v for v in range(count) if slots.h[v] in reads}
        for v in before:
            kept |= Graph(jump.nodes, (jump.outputs[v],)).reads()
        return Program(
            variables=count,
            forward=forward,
            jump=jump,
            backward=backward,
            kept=tuple(sorted(kept)),
            reads_current=Slots.CURRENT in reads,
            reads_before=before,
            late=self._has_late,
            numbers=np.array(self.numbers, np.float32),
            rows=tuple(self.rows),
            learned=self._learned,
        )

    def _forward(self) -> Graph:
        whole = Builder(self.numbers, self.rows)
        made = whole.inline(_all(self.integrating), {})
        h = [made[symbol.place] for symbol in self.h]
        fired = whole.inline(_all(self.firing), dict(enumerate(h)))
        after = [fired[symbol.place] for symbol in self.after]
        return self._lowered(whole.graph(*h, fired[self.s.place], *after))

    def _backward(self) -> Graph:
        slots = Slots(self.variables)
        whole = Builder(self.numbers, self.rows)
        totals: dict[int, Symbol | None] = dict.fromkeys(self._learned)

        def swept(
            made: list[Symbol], seeds: list[tuple[Symbol, Symbol | None]], wanted: list[Symbol]
        ) -> list[Symbol | None]:
            """Gradients of ``wanted`` from those of results; rows are added to ``totals``."""
            given: dict[int, Symbol] = {}
            # Two results may be one node, such as a variable that does not jump.
            for result, g in seeds:
                if g is not None:
                    given[result.place] = given[result.place] + g if result.place in given else g
            known = (symbol for symbol in made if symbol is not None)
            nodes = ((symbol.place, whole.nodes[symbol.place]) for symbol in known)
            rows = {p: n.slot for p, n in nodes if n.op == "row" and n.slot in totals}
            stop = {symbol.place for symbol in wanted}
            found = sweep(whole, made, given, stop | rows.keys(), self.spike)
            for place, slot in rows.items():
                if place in found:
                    total = totals[slot]
                    totals[slot] = found[place] if total is None else total + found[place]
            return [found.get(symbol.place) for symbol in wanted]

        h = [whole.input(slot) for slot in slots.h]
        fired = whole.inline(_all(self.firing), dict(enumerate(h)))
        g_s = whole.input(Slots.SPIKE)
        g_s = g_s + whole.input(slots.late) if self._has_late else g_s
        seeds: list[tuple[Symbol, Symbol | None]] = [(fired[self.s.place], g_s)]
        seeds += [(fired[a.place], whole.input(slots.after[v])) for v, a in enumerate(self.after)]
        g_h = swept(fired, seeds, h)
        given = [whole.input(Slots.CURRENT), *map(whole.input, slots.before)]
        calls = self.integrating.calls
        made = whole.inline(_all(self.integrating), dict(enumerate(given)), calls)
        late = [made[self._late[-1].place]] if self._has_late else []
        results = [(made[part.place], g) for part, g in zip(self.h, g_h, strict=True)]
        gradients = [*swept(made, results, [*given, *late]), *totals.values()]
        graph = whole.graph(*(whole.symbol(0.0 if g is None else g) for g in gradients))
        return self._lowered(graph)

    @property
    def _learned(self) -> tuple[int, ...]:
        return tuple(slot for slot, row in enumerate(self.rows) if row.requires_grad)

    @property
    def _has_late(self) -> bool:
        """Whether a gradient passes through the spike that acts in the step after its own."""
        late = {symbol.place for symbol in self._late}
        return any(late & set(n.inputs) and n.op != "detach" for n in self.integrating.nodes)

    def _lowered(self, graph: Graph) -> Graph:
        return lowered(graph, self.numbers, self.rows)


def _spike(u: Any) -> Any:
    if not isinstance(u, Symbol):
        raise NoRuleError("the spike does not depend on the state")
    return u.builder.apply("spike", u)


def _all(builder: Builder) -> Graph:
    """Every node of a graph in the making."""
    return Graph(tuple(builder.nodes), ())
