"""From the graph of a network to a plan on whole sequences.

A value of the graph belongs to one step, is the same at every step, or is of the whole pass. What
the network does in a step must be the same in all of them; it is then done once, on sequences.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from saltation.errors import SaltationError
from saltation.interop.convert import operations
from saltation.interop.convert.modules import is_steady
from saltation.interop.convert.network import Operation, Value
from saltation.interop.convert.peers import Library
from saltation.interop.convert.traced import Traced


class _Seen(NamedTuple):
    """What is known of a value of the graph.

    Attributes
    ----------
    value
        The same on sequences, or of the whole pass.
    when
        The step it belongs to; ``steady``: the same at every step, as a sequence of one; ``sum``:
        over all steps up to ``upto``; ``whole``; ``size``: a number of samples or steps;
        ``neurons``: what a module of neurons returned in step ``upto``.
    """

    value: Any
    when: int | str
    upto: int = -1
    outputs: Any = None


_ADDS = (operator.add, operator.iadd, torch.add, "add")


class Following:
    """A network's graph, followed value by value.

    Attributes
    ----------
    operations, output
        Of the plan.
    modules
        Those that it calls, by name.
    steps
        T, where the loop over the steps is within the network; else 1.
    """

    def __init__(self, network: nn.Module, library: Library, **how: Any) -> None:
        self.operations: list[Operation] = []
        self.modules: dict[str, nn.Module] = {}
        self.output: Any = None
        self._title = type(network).__name__
        self._library = library
        self._memo: dict[int, Any] = {}
        self._places: dict[Any, Value] = {}
        self._outputs: dict[str, Any] = {}
        self._calls: dict[str, list[fx.Node]] = {}
        self._uses: dict[str, int] = {}
        self._traced = traced = Traced(network, library.is_leaf, **how)
        names = [
            str(node.target)
            for node in traced.nodes
            if node.op == "call_module"
            and library.neurons(str(node.target), traced.modules[str(node.target)])
        ]
        if not names:
            raise self.wrong("calls no neurons")
        self._sequences = library.takes_sequences([traced.modules[n] for n in dict.fromkeys(names)])
        counts = {name: names.count(name) for name in names}
        if len(set(counts.values())) > 1 or (self._sequences and max(counts.values()) > 1):
            told = ", ".join(f"'{name}' {count} times" for name, count in counts.items())
            raise self.wrong(f"calls some neurons more often than others ({told})")
        self.steps = max(counts.values())
        self._loops = self.steps > 1
        self._follow()

    def wrong(self, why: str) -> SaltationError:
        """An error that names the network."""
        converter = self._library.converter
        return SaltationError(f"{self._title} {why}, which {converter} cannot convert")

    def _follow(self) -> None:
        seen: dict[fx.Node, _Seen] = {}
        for node in self._traced.nodes:
            if node.op == "output":
                self.output = fx.node.map_arg(node.args[0], lambda n: self._finished(seen[n]))
                return
            seen[node] = self._see(node, seen)

    def _see(self, node: fx.Node, seen: dict[fx.Node, _Seen]) -> _Seen:
        target: Any = node.target
        if node.op == "placeholder":
            if seen and not node.args:
                raise self.wrong("takes more than one tensor")
            value = self._add(Operation("input"))
            if self._sequences:
                return _Seen(value, "whole")
            return _Seen(value, "input" if self._loops else 0)
        if node.op == "get_attr":
            return self._attribute(node)
        if node.op == "call_module":
            module = self._traced.modules[target]
            if self._library.neurons(target, module):
                return self._neurons(node, seen)
            if len(node.args) != 1 or node.kwargs:
                raise self.wrong(f"calls '{target}' with more than one argument")
            return self._module(target, module, self._as_value(seen[_node(node.args[0])]))
        return self._function(node, seen)

    def _add(self, one: Operation, key: Any = None) -> Value:
        """An operation of the plan; the one that is there already, if its key says it is."""
        key = key if key is not None else ("new", len(self.operations))
        if key not in self._places:
            self._places[key] = Value(len(self.operations))
            self.operations.append(one)
        return self._places[key]

    def _attribute(self, node: fx.Node) -> _Seen:
        path = str(node.target)
        value = self._traced.attributes[path]
        if not isinstance(value, nn.Parameter):
            zero = isinstance(value, Tensor) and not bool(value.any())
            return _Seen(value, "zeros" if zero else "constant")
        raise self.wrong(f"uses the parameter '{path}' itself")

    def _as_value(self, one: _Seen) -> _Seen:
        """An operand: what is shown at every step is one step of a sequence."""
        if one.when == "input":
            return _Seen(self._call(operations.alone, one.value), "steady")
        return one

    def _call(self, function: Any, *args: Any) -> Value:
        return self._add(Operation("function", function, args), ("function", function, args))

    def _module(self, target: str, module: nn.Module, x: _Seen) -> _Seen:
        if x.when in ("constant", "zeros", "size", "neurons"):
            raise self.wrong(f"calls '{target}' with what is no tensor of its input")
        if target not in self.modules:
            self.modules[target] = self._library.other(target, module, self._memo)
        self._uses[target] = self._uses.get(target, -1) + 1
        if x.when == "steady" and not is_steady(module):
            shown = self._call(operations.shown_for, x.value, self.steps)
            x = _Seen(shown, self._uses[target])
        if isinstance(x.when, int) or x.when == "steady" or x.when == "whole":
            if x.when == "whole" and not self._sequences:
                raise self.wrong(f"calls '{target}' behind its loop over the steps")
            # In a loop the call of every step is one; elsewhere each is its own, as of dropout.
            key = ("module", target, x.value) if self._loops else None
            value = self._add(Operation("module", target, (x.value,)), key)
            return _Seen(value, x.when)
        raise self.wrong(f"calls '{target}' with a sum over some steps")

    def _neurons(self, node: fx.Node, seen: dict[fx.Node, _Seen]) -> _Seen:
        name = str(node.target)
        given = [*node.args, *node.kwargs.values()]
        calls = self._calls.setdefault(name, [])
        step = len(calls)
        x = self._as_value(seen[_node(given[0])])
        self._check_state(name, given[1:], calls, seen)
        calls.append(node)
        if name not in self.modules:
            made: Any = self._library.neurons(name, self._traced.modules[name])
            self.modules[name], self._outputs[name] = made
        value = x.value
        if x.when == "steady":
            value = self._call(operations.shown_for, value, self.steps)
        elif x.when != ("whole" if self._sequences else step):
            raise self.wrong(
                f"gives neurons '{name}' in step {step + 1} what is not of that step (spikes fed "
                "back by hand, or the last step's)"
            )
        before = len(self.operations)
        value = self._add(Operation("neurons", name, (value,)), ("neurons", name, value))
        if step and len(self.operations) > before:
            raise self.wrong(f"gives neurons '{name}' something else in step {step + 1}")
        outputs = self._outputs[name]
        when: int | str = "whole" if self._sequences else step
        if isinstance(outputs, str):
            return _Seen(value._replace(part=outputs), when)
        return _Seen(value, "neurons", step, outputs)

    def _check_state(
        self, name: str, given: list[Any], calls: list[fx.Node], seen: dict[fx.Node, _Seen]
    ) -> None:
        """Refuse a state that is not what the neurons returned last, or zeros at first."""
        for place, state in enumerate(given):
            if state is None:
                continue
            if not calls:
                zeros = isinstance(state, fx.Node) and seen[state].when == "zeros"
                plain = isinstance(state, Tensor) and not bool(state.any())
                if not zeros and not plain:
                    raise self.wrong(f"gives neurons '{name}' a state to begin with")
                continue
            # Of recurrent neurons the spikes are the first part of the state.
            outputs = self._outputs[name]
            shift = len(outputs) - len(given)
            same = (
                isinstance(state, fx.Node)
                and state.target is operator.getitem
                and state.args == (calls[-1], place + shift)
            )
            if not same:
                raise self.wrong(
                    f"gives neurons '{name}' a state that is not the one they returned last"
                )

    def _function(self, node: fx.Node, seen: dict[fx.Node, _Seen]) -> _Seen:
        target: Any = node.target
        nodes = [seen[n] for n in node.all_input_nodes]
        kinds = {one.when for one in nodes}
        first = nodes[0] if nodes else None
        if target is operator.getitem and first is not None:
            if first.when == "neurons":
                return _Seen(first.value._replace(part=first.outputs[node.args[1]]), first.upto)
            if first.when == "input":
                return self._step_of_input(node.args[1], first)
            if first.when == "size" or (first.when == "whole" and not self._loops):
                return self._whole(node, seen) if first.when == "whole" else first
        if target in ("select", torch.select) and first is not None and first.when == "input":
            given: Any = node.args[1:]
            dim, index = given
            if dim in (0, 1) and isinstance(index, int):
                return self._step_of_input((slice(None),) * dim + (index,), first)
        if not self._sequences:
            is_size = target is getattr and node.args[1] in ("shape", "device", "dtype")
            if is_size or target in ("size", "dim", len):
                return _Seen(None, "size")
        if not nodes or kinds <= {"size", "zeros"}:
            zeros = getattr(target, "__name__", target) in ("zeros", "zeros_like", "new_zeros")
            if zeros:
                return _Seen(None, "zeros")
        if (getattr(target, "__name__", target)) in ("zeros_like", "new_zeros"):
            return _Seen(None, "zeros")
        if kinds & {"constant", "zeros"}:
            raise self.wrong("computes with a tensor that its forward makes")
        if self._sequences:
            return self._whole(node, seen)
        sums = self._summed(node, nodes)
        if sums is not None:
            return sums
        joined = self._joined(node, seen)
        if joined is not None:
            return joined
        when = {one.when for one in nodes if one.when not in ("steady", "input", "size")}
        if len(when) <= 1 and all(isinstance(w, int) for w in when):
            return self._of_step(node, seen, when)
        return self._whole(node, seen)

    def _step_of_input(self, index: Any, x: _Seen) -> _Seen:
        """``x[t]``, or ``x[:, t]``."""
        index = index if isinstance(index, tuple) else (index,)
        places = [i for i, one in enumerate(index) if isinstance(one, int)]
        rest = [one for one in index if not isinstance(one, int)]
        if places not in ([0], [1]) or any(one not in (slice(None), ...) for one in rest):
            raise self.wrong(f"takes x[{', '.join(map(str, index))}] of its input")
        value = x.value
        if places == [1]:
            value = self._call(operations.stacked_samples, value)
        if self._traced.probed and self._traced.probed != set(places):
            raise self.wrong("loops over one dimension of its input and takes steps of another")
        if not self._traced.probed:
            value = self._call(operations.first_steps, value, self.steps)
        return _Seen(value, index[places[0]])

    def _summed(self, node: fx.Node, nodes: list[_Seen]) -> _Seen | None:
        """A sum that grows by a step, from the first on."""
        if node.target not in _ADDS or not self._loops:
            return None
        if len(nodes) == 1 and 0 in node.args and nodes[0].when == 0:
            return nodes[0]
        if len(nodes) != 2:
            return None
        total, more = nodes
        grown = total.upto if total.when == "sum" else total.when
        if total.value == more.value and isinstance(more.when, int) and more.when == grown + 1:  # type: ignore[operator]
            return _Seen(more.value, "sum", more.when)
        return None

    def _joined(self, node: fx.Node, seen: dict[fx.Node, _Seen]) -> _Seen | None:
        """All steps of one value, stacked."""
        if node.target is not torch.stack or not isinstance(node.args[0], list | tuple):
            return None
        parts = [seen[n] for n in node.args[0] if isinstance(n, fx.Node)]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        values, whens = {one.value for one in parts}, [one.when for one in parts]
        if len(values) != 1 or whens != list(range(self.steps)) or dim not in (0, 1):
            return None
        (value,) = values
        if dim == 1:
            value = self._call(operations.stacked_samples, value)
        return _Seen(value, "whole")

    def _of_step(self, node: fx.Node, seen: dict[fx.Node, _Seen], when: set[Any]) -> _Seen:
        def known(given: Any) -> Any:
            if isinstance(given, fx.Node):
                one = self._as_value(seen[given])
                return _SIZE if one.when == "size" else one.value
            if isinstance(given, tuple | list):
                return tuple(map(known, given))
            return given

        args = tuple(map(known, node.args))
        kwargs = {name: known(part) for name, part in node.kwargs.items()}
        try:
            function, args, kwargs = operations.on_sequences(
                node.target, args, kwargs, lambda part: part is _SIZE
            )
        except SaltationError as error:
            raise SaltationError(f"{self._title}: {error}") from None
        key = ("step", node.target, repr((args, sorted(kwargs.items(), key=str))), type(function))
        value = self._add(Operation("function", function, args, kwargs), key)
        return _Seen(value, min(when) if when else "steady")

    def _whole(self, node: fx.Node, seen: dict[fx.Node, _Seen]) -> _Seen:
        """A call on what is of the whole pass, as it stands."""

        def known(given: Any) -> Any:
            if isinstance(given, fx.Node):
                return self._finished(seen[given], within=True)
            if isinstance(given, slice):
                return slice(known(given.start), known(given.stop), known(given.step))
            if isinstance(given, tuple | list):
                return type(given)(map(known, given))
            return given

        target: Any = node.target
        function = operations.Method(target) if isinstance(target, str) else target
        args = tuple(known(list(node.args)))
        kwargs = {name: known(part) for name, part in node.kwargs.items()}
        return _Seen(self._add(Operation("function", function, args, kwargs)), "whole")

    def _finished(self, one: _Seen, within: bool = False) -> Any:
        """A value as the network's caller, or what follows its loop, has it."""
        if one.when == "whole":
            return one.value
        if one.when == "neurons" and not within:
            return tuple(one.value._replace(part=part) for part in one.outputs)
        if one.when == "sum" and one.upto == self.steps - 1:
            return self._call(operations.total, one.value)
        if isinstance(one.when, int):
            if not self._loops:
                if within:
                    raise self.wrong("computes with steps and sequences together")
                return one.value
            last = one.when == self.steps - 1
            if self._traced.probed and not last:
                raise self.wrong(f"uses step {one.when + 1} by itself behind its loop")
            return self._add(
                Operation("function", operator.getitem, (one.value, -1 if last else one.when))
            )
        if one.when == "steady":
            return self._call(operations.first_of, one.value)
        raise self.wrong("returns or uses what is neither of a step nor of all of them")


def _node(given: Any) -> fx.Node:
    if isinstance(given, fx.Node):
        return given
    raise SaltationError(f"a module is called with {given!r}, which is no tensor of the network")


_SIZE = object()  # stands for a number of samples
