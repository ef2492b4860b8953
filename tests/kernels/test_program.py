"""Programs of steps: evaluated operation by operation they give torch's bits and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saltation.kernels.program import program as tracing
from saltation.kernels.program.graph import Graph, Program, Slots
from saltation.kernels.program.program import program_of
from saltation.layers.learned import learn
from saltation.neurons import NEURONS, Neuron
from saltation.operands import NoRuleError
from saltation.surrogate import SURROGATES, Sigmoid

OPERATIONS: dict[str, Any] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "abs": torch.abs,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "max": torch.maximum,
    "min": torch.minimum,
    "ge": torch.ge,
    "gt": torch.gt,
    "le": torch.le,
    "lt": torch.lt,
    "where": torch.where,
}


def evaluate(graph: Graph, inputs: dict[int, Tensor], program: Program) -> list[Tensor]:
    """The graph's results in plain torch."""
    like = next(iter(inputs.values()))
    values: list[Tensor] = []
    for node in graph.nodes:
        given = [values[place] for place in node.inputs]
        if node.op == "input":
            values.append(inputs[node.slot])
        elif node.op == "number":
            values.append(torch.full_like(like, float(program.numbers[node.slot])))
        elif node.op == "row":
            values.append(program.rows[node.slot].to(like.dtype).expand_as(like))
        elif node.op == "to":
            values.append(given[0].to(like.dtype))
        else:
            values.append(OPERATIONS[node.op](*given))
    return [values[place] for place in graph.outputs]


# Every scheme with the model's own jump, every jump with one scheme; all together in the full run.
CASES = [
    pytest.param(
        *(model, scheme, jump),
        marks=[pytest.mark.slow] if jump != "hard" and scheme != model.schemes[0] else [],
    )
    for model in NEURONS.values()
    for scheme in model.schemes
    for jump in model.jumps
]


@pytest.mark.parametrize(("model", "scheme", "jump"), CASES)
def test_a_step_and_its_gradients(model: type[Neuron], scheme: str, jump: str) -> None:
    make: Any = model
    neuron = make(scheme=scheme, jump=jump, dt=0.3, v_threshold=0.7)
    spike = Sigmoid(3.0)
    program = program_of(neuron, spike)
    torch.manual_seed(0)
    count = program.variables
    x, *state = (torch.randn(400) for _ in range(count + 1))
    s, after, h = neuron.step(x, neuron.State(*state), spike)
    got = evaluate(
        program.forward, {0: x, **{v + 1: part for v, part in enumerate(state)}}, program
    )
    for one, two in zip(got, [*h, s, *after], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    # Backward at the same point, in float64.
    wide = [part.double().requires_grad_() for part in (x, *state)]
    s, after, h = neuron.step(wide[0], neuron.State(*wide[1:]), spike)
    g = [torch.randn(400).double() for _ in range(count + 1)]
    wanted = torch.autograd.grad([s, *after], wide, g)
    slots = Slots(count)
    late = torch.randn(400).double() if program.late else torch.zeros(400).double()
    inputs = {Slots.SPIKE: g[0] - late, Slots.CURRENT: wide[0].detach(), slots.late: late}
    for v in range(count):
        inputs[slots.after[v]] = g[v + 1]
        inputs[slots.before[v]] = wide[v + 1].detach()
        inputs[slots.h[v]] = h[v].detach()
    found = evaluate(program.backward, inputs, program)
    if program.late:  # the gradient of the spike before goes on through its surrogate
        found[1] = found[1] + found.pop() * spike.derivative(state[0].double() - 0.7)
    # In norm: the program's numbers are rounded to float32, which single neurons can amplify.
    for one, two in zip(found, wanted, strict=True):
        assert (one - two).norm() <= 1e-5 * two.norm() + 1e-6


def test_programs_differ_in_their_structure_alone() -> None:
    """Other numbers are the same loop; another scheme, jump or surrogate is another."""
    make: Any = NEURONS["izhikevich"]
    one, two = (program_of(make(tau=tau, scheme="rk4"), Sigmoid()) for tau in (2.0, 3.0))
    assert one.key == two.key
    assert (one.numbers != two.numbers).any()
    schemes = set(make.schemes) - {"heun"}  # the same as rk2
    keys = {program_of(make(scheme=scheme), Sigmoid()).key for scheme in schemes}
    keys |= {program_of(make(), surrogate()).key for surrogate in SURROGATES.values()}
    assert len(keys) == len(schemes) + len(SURROGATES) - 1


@pytest.fixture
def unmet(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Program]:
    """No traces that were met before."""
    met: dict[Any, Program] = {}
    monkeypatch.setattr(tracing, "_met", met)
    return met


def _alike(one: Program, two: Program) -> bool:
    """Whether they have one structure, and the bits of their numbers and rows."""
    same = one.key == two.key and one.kept == two.kept and one.learned == two.learned
    rows = zip(one.rows, two.rows, strict=True)
    return (
        same
        and one.numbers.tobytes() == two.numbers.tobytes()
        and all(torch.equal(a, b) for a, b in rows)
    )


@pytest.mark.filterwarnings("ignore::saltation.errors.UnitWarning")
@pytest.mark.parametrize("name", ["plif", "qif", "adlif"])
def test_learned_constants_are_swept_once(name: str, unmet: dict[Any, Program]) -> None:
    """And whatever the trace depends on is noticed: the program is always that of a first trace."""
    make: Any = NEURONS[name].layer

    def of(**settings: Any) -> Program:
        return program_of(make(**{"tau": learn(2.0), "dt": 0.5} | settings).neuron, Sigmoid())

    first = of()
    again = of()
    assert again.backward is first.backward
    assert _alike(first, again)
    assert len(unmet) == 1
    assert not next(iter(unmet.values())).rows  # which would keep the graph of the constants
    changes: list[dict[str, Any]] = [
        *({"tau": learn(2.5)}, {"tau": learn(torch.tensor([2.0, 2.5]))}, {"tau": learn(0.02)}),
        *({"jump": "soft"}, {"detach_reset": True}, {"scheme": "rk4"}, {"v_reset": -0.5}),
        {"tau": torch.tensor([2.0, 2.5])},
    ]
    for change in changes:
        met = of(**change)
        assert not _alike(met, first)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tracing, "_met", {})
            assert _alike(met, of(**change)), change
    with torch.no_grad():
        assert not of().learned
    layer = make(tau=learn(2.0), dt=0.5)
    keys = {program_of(layer.neuron, surrogate()).key for surrogate in SURROGATES.values()}
    assert len(keys) == len(SURROGATES)


def test_only_what_backward_reads_is_kept() -> None:
    lif, izhikevich = (program_of(NEURONS[n](), Sigmoid()) for n in ("lif", "izhikevich"))  # type: ignore[abstract]
    assert lif.kept == (0,)
    assert not lif.reads_current
    assert not lif.reads_before
    assert izhikevich.kept == (0, 1)
    assert izhikevich.reads_current


def test_what_cannot_be_traced_says_why() -> None:
    lif: Any = NEURONS["lif"]

    class Branching(lif):
        def integrate(self, x: Any, state: Any, spike: Any) -> Any:
            return type(state)(state.v if x > 0 else x)

    class Sorting(lif):
        def integrate(self, x: Any, state: Any, spike: Any) -> Any:
            return type(state)(torch.cumsum(state.v, 0))

    with pytest.raises(NoRuleError, match="branches on the state"):
        program_of(Branching(), Sigmoid())
    with pytest.raises(NoRuleError, match=r"torch\.cumsum has no rule"):
        program_of(Sorting(), Sigmoid())


def test_a_power_of_two_is_not_divided_by() -> None:
    """Its reciprocal gives the same bits; other numbers are divided by."""

    def divisions(tau: float) -> int:
        neuron = NEURONS["qif"](tau=tau, v_c=0.7)
        return sum(node.op == "div" for node in program_of(neuron, Sigmoid()).forward.nodes)

    assert [divisions(tau) for tau in (2.0, 0.25, 2.0**127, 3.0)] == [0, 0, 1, 1]
