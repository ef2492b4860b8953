"""The converted network: a plan of calls on whole sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from saltation.errors import SaltationError, tensor


class Value(NamedTuple):
    """What an operation of the plan gave, or a part of it.

    Attributes
    ----------
    place
        Of the operation in the plan.
    part
        Of what neurons gave: ``spikes``, ``h`` (potential before the jump) or a variable of the
        state after it.
    """

    place: int
    part: str = ""


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes
    ----------
    kind
        ``input``, ``module``, ``neurons``, ``attribute`` or ``function``.
    target
        Name of the module or attribute, or the function.
    args, kwargs
        With `Value` where a value goes.
    """

    kind: str
    target: str | Callable[..., Any] = ""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class Converted(nn.Module):
    """A network of another library on saltation's layers: same names, weights and spikes.

    Sequences ``[T, B, ...]`` go through it as a whole. Where the original takes one step per call,
    it takes the sequence and returns what the original returns, stacked over time; where the loop
    is within the original's ``forward``, and where its neurons take sequences, it takes and returns
    what the original does. Every call starts from rest.
    """

    def __init__(
        self, name: str, modules: dict[str, nn.Module], plan: list[Operation], output: Any
    ) -> None:
        super().__init__()
        self.original = name
        for path, module in modules.items():
            *within, last = path.split(".")
            place: nn.Module = self
            for part in within:
                if part not in place._modules:
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.add_module(last, module)
        self.plan = tuple(plan)
        self.output = output
        recorded = {v.place for v in _values([plan, output]) if v.part not in ("", "spikes")}
        self._recorded = frozenset(recorded)
        last_use = {value.place: len(plan) for value in _values(output)}
        for at in reversed(range(len(plan))):
            for value in _values(plan[at]):
                last_use.setdefault(value.place, at)
        # What is not needed any more behind each operation.
        self._done = [[v for v, last in last_use.items() if last == at] for at in range(len(plan))]

    def forward(self, x: Tensor) -> Any:
        """What the original returns, of a whole sequence."""
        if not tensor("the input", x).is_floating_point():
            raise SaltationError(f"the input must be floating point, got {x.dtype}")
        values: dict[int, Any] = {}

        def known(given: Any) -> Any:
            if isinstance(given, Value):
                found = values[given.place]
                return found[given.part] if given.part else found
            if isinstance(given, dict):
                return {name: known(part) for name, part in given.items()}
            if isinstance(given, tuple | list):
                return type(given)(map(known, given))
            return given

        for place, one in enumerate(self.plan):
            args, kwargs = known(one.args), known(one.kwargs)
            if one.kind == "input":
                values[place] = x
            elif one.kind == "attribute":
                values[place] = _attribute(self, str(one.target))
            elif one.kind == "module":
                values[place] = self.get_submodule(str(one.target))(*args)
            elif one.kind == "neurons":
                layer: Any = self.get_submodule(str(one.target))
                if place in self._recorded:
                    trace = recorded(layer, *args)
                    states = getattr(trace.states, "neuron", trace.states)
                    values[place] = {"spikes": trace.spikes, "h": trace.h, **states._asdict()}
                else:
                    values[place] = {"spikes": layer(*args)}
            else:
                values[place] = one.target(*args, **kwargs)  # type: ignore[operator]
            for old in self._done[place]:
                del values[old]
        return known(self.output)

    def extra_repr(self) -> str:
        return f"of {self.original}"


def recorded(layer: Any, *args: Any) -> Any:
    """The trace of a call of a layer, which those who listen to the layer hear."""
    if "record" in layer.__dict__:  # somebody takes the network through its steps
        return layer.record(*args)
    traces = []

    def forward(*given: Any) -> Tensor:
        traces.append(type(layer).record(layer, *given))
        spikes: Tensor = traces[0].spikes
        return spikes

    layer.forward = forward
    try:
        layer(*args)
    finally:
        del layer.forward
    return traces[0]


def without_states(plan: list[Operation], output: Any) -> Any:
    """The output without what depends on more of neurons than their spikes; None if all does."""
    tainted: set[int] = set()

    def of_states(given: Any) -> bool:
        return any(v.part not in ("", "spikes") or v.place in tainted for v in _values(given))

    for place, one in enumerate(plan):
        if of_states([one.args, one.kwargs]):
            tainted.add(place)
    if isinstance(output, Value) or not isinstance(output, tuple | list):
        return None if of_states(output) else output
    kept = tuple(part for part in output if not of_states(part))
    return kept[0] if len(kept) == 1 else kept or None


def pruned(plan: list[Operation], output: Any) -> tuple[list[Operation], Any]:
    """The plan and output without operations that the output does not need."""
    needed = {v.place for v in _values(output)}
    for place in reversed(range(len(plan))):
        if place in needed:
            needed |= {v.place for v in _values([plan[place].args, plan[place].kwargs])}
    kept = sorted({0, *needed})
    moved = {old: new for new, old in enumerate(kept)}

    def renumbered(given: Any) -> Any:
        if isinstance(given, Value):
            return given._replace(place=moved[given.place])
        if isinstance(given, dict):
            return {name: renumbered(part) for name, part in given.items()}
        if isinstance(given, tuple | list):
            return type(given)(map(renumbered, given))
        return given

    operations = [
        replace(plan[old], args=renumbered(plan[old].args), kwargs=renumbered(plan[old].kwargs))
        for old in kept
    ]
    return operations, renumbered(output)


def _attribute(module: nn.Module, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _values(given: Any) -> list[Value]:
    """Every `Value` in nested arguments."""
    if isinstance(given, Value):
        return [given]
    if isinstance(given, Operation):
        return _values([given.args, given.kwargs])
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, tuple | list):
        return [value for part in given for value in _values(part)]
    return []
