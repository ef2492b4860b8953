"""Loops printed as Triton text, under Triton's interpreter: against the reference loop, spikes to
the bit and gradients to rounding; every operation against torch's; and the text compiled."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

import saltation as st
from saltation.kernels import dispatch, reference, sampling
from saltation.kernels.gpu import launch, loop, poisson, printing, text
from saltation.kernels.program.graph import Graph, Node
from saltation.kernels.program.program import program_of
from saltation.kernels.rounding import INEXACT
from saltation.layers import SpikingLayer
from saltation.selftest import perform
from saltation.selftest.printed import printed
from saltation.surrogate import SURROGATES, Sigmoid
from tests.contracts.conftest import Case, every, jumps
from tests.kernels.test_cpu_loop import F64, Result, close, inputs, run
from tests.kernels.test_cpu_rows import Gained, constants, gradients
from tests.kernels.test_program import OPERATIONS

pytest.importorskip("triton", "3.6", reason="these loops are Triton's, from 3.6 on")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of infinities


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


class AdEx(st.Neuron):
    """As a user would write it."""

    tau: float = 2.0
    tau_w: float = 20.0
    delta: float = 0.2

    def velocity(self, x: Any, v: Any, w: Any) -> Any:
        upstroke = self.delta * torch.exp((v - 0.8) / self.delta)
        return (upstroke - v - w + x) / self.tau, (0.1 * v - w) / self.tau_w

    def jump(self, v: Any, w: Any) -> Any:
        return self.v_reset, w + 0.2


def agree(ours: Result, same: Result, exact: Result) -> None:
    """Spikes and last state to the bit; gradients within rounding of float64 on the same spikes."""
    assert 0 < ours.spikes.sum() < ours.spikes.numel()
    assert torch.equal(ours.spikes, same.spikes)
    assert all(map(torch.equal, ours.last, same.last))
    assert torch.equal(ours.spikes.double(), exact.spikes), "choose a seed where they agree"
    assert all(map(close, ours.gradients, exact.gradients))


def compare(case: Case, shape: tuple[int, ...], **more: Any) -> None:
    """The layer of a case in both loops."""
    ours = run(case.layer(backend="triton", **more), inputs(case, shape))
    layer = case.layer(**more)
    agree(ours, run(layer, inputs(case, shape)), run(layer, inputs(case, shape, F64)))


usual = [c for c in jumps() if c.parameters["jump"] == "hard" or c.model in ("lif", "cuba_lif")]
# But where a step has too many operations to be compiled, or six steps make no spike.
left_out = [
    c
    for c in every()
    if (c.model, c.parameters["jump"]) == ("izhikevich_2003", "none")
    or (c.model, c.parameters["scheme"]) == ("hodgkin_huxley", "exponential")
]
rest = [pytest.param(c, marks=pytest.mark.slow) for c in every() if c not in (*usual, *left_out)]


@pytest.mark.parametrize("case", [*usual, *rest], ids=str)
def test_against_the_reference(case: Case) -> None:
    """Every model; in the full run with every scheme and jump."""
    compare(case, (6, 3, 13))


def test_a_model_of_ones_own() -> None:
    layer: Any = AdEx.layer
    case = Case("adex", {"dt": 0.5}, -1.0, 4.0)
    x, *state = inputs(case, (6, 3, 13))
    wide = [part.detach().double().requires_grad_() for part in (x, *state)]
    made = [layer(dt=0.5, backend=name) for name in ("triton", "reference")]
    agree(run(made[0], [x, *state]), run(made[1], [x, *state]), run(made[1], wide))


@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate(name: str) -> None:
    """The slope of each reaches the gradients."""
    compare(Case("lif", {"dt": 0.5}, -1.0, 4.0), (6, 2, 9), surrogate=name)


@pytest.mark.parametrize("steps", [1, 8, 9, 17])
@pytest.mark.parametrize("jump", ["hard", "soft_delayed"])
def test_any_number_of_steps(steps: int, jump: str) -> None:
    """One, as many as there are between checkpoints, and more."""
    case = Case("lif", {"dt": 0.5, "jump": jump}, -1.0, 6.0)
    assert text.steps_between(program_of(case.layer().neuron, Sigmoid())) == 8
    compare(case, (steps, 2, 15))


def test_any_number_of_neurons() -> None:
    """More than an instance takes, and no multiple of it."""
    compare(Case("cuba_lif", {"dt": 0.5}, -1.0, 4.0), (3, 2, 1111))


def test_other_numbers_in_the_same_text() -> None:
    """The constants of a model are no part of what is compiled."""
    for tau in (2.0, 3.0):
        compare(Case("lif", {"tau": tau, "dt": 0.5}, -1.0, 6.0), (6, 2, 9))


def test_without_gradients_too() -> None:
    x = torch.rand(9, 2, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, same = (st.LIF(backend=b, dt=0.5)(4 * x) for b in ("triton", "reference"))
    assert ours.sum() > 0
    assert torch.equal(ours, same)


@pytest.mark.parametrize("shape", [(), (37,), (3, 1)], ids=str)
@pytest.mark.parametrize("jump", ["hard", "soft_delayed"])
def test_learned_constants(shape: tuple[int, ...], jump: str) -> None:
    """Spikes to the bit; gradients of currents, state and constants as float64 has them."""
    found = []
    noise = torch.Generator().manual_seed(0)
    numbers = 3 * torch.rand(10, 3, 37, generator=noise), torch.rand(3, 37, generator=noise)
    for runs, dtype in ((loop.run, torch.float32), (reference.run, torch.float64)):
        gain = constants(*shape).to(dtype).requires_grad_()
        rate = (0.1 * constants(37)).to(dtype).requires_grad_()
        neuron = Gained(jump=jump, gain=gain, rate=rate)
        x, v = (part.to(dtype).requires_grad_() for part in numbers)
        found.append(gradients(runs, neuron, x, v, [x, v, gain, rate]))
    (spikes, *ours), (expected, *exact) = found
    assert 0 < spikes.sum() < spikes.numel()
    assert torch.equal(spikes.double(), expected)
    for one, two in zip(ours, exact, strict=True):
        assert one.shape == two.shape
        assert close(one, two)


def test_second_derivatives() -> None:
    """Double backward is the reference's."""

    def second(backend: str) -> tuple[Tensor, ...]:
        case = Case("lif", {"backend": backend}, -1.0, 4.0)
        parts = inputs(case, (6, 2, 4))
        spikes, last = case.layer(backend=backend)(parts[0], st.LIF().neuron.State(parts[1]))
        first = torch.autograd.grad((last[0] ** 2).sum() + spikes.sum(), parts, create_graph=True)
        return torch.autograd.grad(sum((g * g).sum() for g in first), parts)  # type: ignore[arg-type]

    for one, two in zip(second("triton"), second("reference"), strict=True):
        assert two.norm() > 0
        assert close(one, two)


def test_potentials_that_run_away() -> None:
    """Infinities and NaN arise in the same places as in the reference, and the gradients of the
    neurons that stay finite are the same."""
    noise = torch.Generator().manual_seed(0)
    numbers = torch.rand(12, 2, 20, generator=noise)
    numbers[:, 1] *= 1e4
    found = []
    for backend in ("triton", "reference"):
        layer = st.Izhikevich(scheme="euler", jump="none", backend=backend)
        x = numbers.clone().requires_grad_()
        spikes, last = layer(x, layer.rest(x[0]))
        spikes.sum().backward()
        found.append((spikes, *last, x.grad))
    for one, two in zip(found[0][:-1], found[1][:-1], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
    finite = found[1][1].isfinite() & found[1][2].isfinite()
    assert finite[0].all()
    assert not finite[1].any()
    assert close(found[0][-1][:, 0], found[1][-1][:, 0])


INF, NAN = float("inf"), float("nan")
# Every pair of these goes through every operation.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 1e-30, 88.0, -104.0, 1e38, INF, -INF, NAN]


def operands(op: str) -> list[Tensor]:
    """Float32 numbers for the parts of an operation, masks where it takes one."""
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 3
    first, second = torch.cartesian_prod(*[torch.tensor(SPECIAL)] * 2).unbind(1)
    a = torch.cat([first, noise, noise.exp()])
    b = torch.cat([second, noise.roll(1), noise])
    return [a > b, a, b] if op in ("where", "to") else [a, b]


def computed(op: str, fast: bool = False) -> tuple[Tensor, Tensor]:
    """An operation's results on `operands`, as printed and as torch has them."""
    parts = operands(op)
    arity = {"where": 3, "neg": 1, "abs": 1, "to": 1} | dict.fromkeys(INEXACT, 1)
    count = arity.get(op, 2)
    takes_mask = op in ("where", "to")
    nodes = [Node("input", slot=n) for n in range(count)]
    if takes_mask:  # a mask is not loaded but made
        nodes += [Node("number", slot=0), Node("gt", (0, count))]
    places = (len(nodes) - 1, *range(1, count)) if takes_mask else tuple(range(count))
    nodes.append(Node(op, places))
    is_mask = op in ("ge", "gt", "le", "lt")
    if is_mask:
        nodes.append(Node("to", (len(nodes) - 1,)))
    graph = Graph(tuple(nodes), (len(nodes) - 1,))
    names = lambda kind, slot: f"part{slot}" if kind == "input" else "0.0"  # noqa: E731
    lines, (result,) = printing.printed(graph, "p", names, fast=fast)
    body = [
        "place = tl.arange(0, BLOCK)",
        *(
            f"part{n} = tl.load(parts + {n} * size + place, mask=place < size)"
            for n in range(count)
        ),
        *lines,
        f"tl.store(out + place, {result}, mask=place < size)",
    ]
    source = text.HEAD + printing.FUNCTIONS + "\n@triton.jit\n"
    source += "def one(parts, out, size, BLOCK: tl.constexpr):\n"
    source += "".join(f"    {line}\n" for line in body)
    out = torch.empty(len(parts[0]))
    stacked = torch.stack([part.float() for part in parts[:count]])
    kernel = launch.executed(source, f"{op} {hash(source)}")["one"]
    kernel[(1,)](stacked, out, len(out), BLOCK=1024)
    if op == "to":
        return out, parts[0].float()
    if op in INEXACT:
        return out, OPERATIONS[op](parts[0].double()).float()
    return out, OPERATIONS[op](*parts[:count]).float()


def same_bits(one: Tensor, two: Tensor) -> bool:
    """Whether they are, but for which NaN a NaN is."""
    differ = one.view(torch.int32) != two.view(torch.int32)
    return not (differ & ~(one.isnan() & two.isnan())).any()


@pytest.mark.parametrize("op", printing.OPERATIONS)
def test_every_operation_as_torch_has_it(op: str) -> None:
    """To the bit, at zeros of both signs, infinities and NaN too."""
    ours, theirs = computed(op)
    # Which of two zeros is the greater is left to the machine.
    if op in ("max", "min"):
        ours, theirs = ours + 0.0, theirs + 0.0
    assert same_bits(ours, theirs)


@pytest.mark.parametrize("op", printing.FAST)
def test_fast_operations(op: str) -> None:
    """To rounding, and NaN where torch has it."""
    torch.testing.assert_close(*computed(op, fast=True), rtol=1e-6, atol=1e-38, equal_nan=True)


WRONG = {
    "add": "{0} - {1}",
    "sub": "{1} - {0}",
    "mul": "{0} * {1} + 0.0",
    "div": "{0} * (1.0 / {1})",
    "neg": "0.0 - {0}",
    "abs": "tl.where({0} < 0.0, -{0}, {0})",
    "sqrt": "tl.exp(0.5 * tl.log({0}))",
    "exp": "tl.exp2(1.4426950408889634 * {0})",
    "expm1": "tl.exp({0}) - 1.0",
    "log": "0.6931471805599453 * tl.log2({0})",
    "tanh": "1.0 - 2.0 / (tl.exp(2.0 * {0}) + 1.0)",
    "sigmoid": "tl.exp({0}) / (1.0 + tl.exp({0}))",
    "max": "tl.where({0} > {1}, {0}, {1})",
    "min": "tl.where({1} < {0}, {1}, {0})",
    "ge": "{0} > {1}",
    "gt": "{0} >= {1}",
    "le": "{0} < {1}",
    "lt": "{0} <= {1}",
    "where": "tl.where({0}, {2}, {1})",
    "to": "tl.where({0}, 0.0, 1.0)",
}


@pytest.mark.parametrize("op", printing.OPERATIONS)
def test_an_error_in_any_operation_is_seen(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one's nearest mistake: a sign of zero, a NaN that is lost, a rounding too many."""
    monkeypatch.setitem(printing.OPERATIONS, op, WRONG[op])
    with pytest.raises(AssertionError):
        test_every_operation_as_torch_has_it(op)


def test_a_step_of_the_wrong_operation_is_another_neuron(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is what runs: the comparison with the reference sees it too."""
    monkeypatch.setattr(loop, "_kernels", {})
    monkeypatch.setitem(printing.OPERATIONS, "ge", WRONG["lt"])
    with pytest.raises(AssertionError):
        compare(Case("lif", {"dt": 0.5}, -1.0, 4.0), (6, 3, 13))


COMPILED = """
import re
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
import saltation as st
from saltation.kernels.gpu import loop, poisson
from saltation.kernels.program.program import program_of
from saltation.surrogate import Sigmoid

print(loop._outdated())

def ptx(kernel, kinds, fusion=False, **constants):
    signature = {n: kinds.get(n, "*fp32") for n in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    options = {"enable_fp_fusion": fusion}
    source = ASTSource(kernel, signature, constants)
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]

forward = loop._kernels_of(program_of(st.EIF(dt=0.5).neuron, Sigmoid())).forward
counts = dict.fromkeys(("steps", "size"), "i32")
for fusion in (False, True):
    code = ptx(forward, counts, fusion, KEEP=True, BLOCK=128)
    print(*sorted(set(re.findall(r"(?:fma|div|sqrt)[.\\w]*f32", code))), sep=",")
late = st.CubaLIF(jump="soft_delayed")
backward = loop._kernels_of(program_of(late.neuron, Sigmoid())).backward
counts |= dict.fromkeys(("segments", "begin"), "i32")
counts |= dict.fromkeys(("origin", "kept_origin"), "i64")
print(len(re.findall("fma.rn.f32", ptx(backward, counts, BLOCK=128))))
kinds = dict.fromkeys(("count", "size", "features", "steps", "blocks"), "i32")
kinds |= dict.fromkeys(("sites", "samples", "batchs", "thresholds"), "*i64")
kinds |= dict.fromkeys(("seed0", "seed1", "epoch_word"), "i64")
print(len(ptx(poisson._trains(), kinds, BLOCK=128)) > 1000)
"""


def test_the_compiled_text_rounds_as_it_should(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Compiled for a GPU, no product is contracted with a sum, and quotients are exact; with the
    compiler's own settings they would be contracted. The interpreter takes more than it does.
    Compilers that take subnormal numbers for 0 (ftz) are refused, and no others."""
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True, check=True
    )
    refusal, *found = done.stdout.splitlines()
    div = "div.rn.f32" if refusal == "None" else "div.rn.ftz.f32"
    assert found == [div, f"{div},fma.rn.f32", "0", "True"]
    assert refusal == "None" or refusal.endswith("; 3.6 or newer does not")


@pytest.mark.parametrize("steps", [1, 16, 33])
def test_the_sampler_has_the_bits_of_the_reference(steps: int) -> None:
    """For counters of 32 bits and keys of 64, at rates of 0 and of 1 too."""
    noise = torch.Generator().manual_seed(0)
    x = torch.rand(3, 50, generator=noise) * (torch.rand(3, 50, generator=noise) < 0.5)
    x[0, 0] = 1.0
    index, shape = torch.tensor([5, 2**32 - 1, 0]), (steps, 3, 50)
    found = []
    for module, sites, more in (
        (poisson, poisson.everywhere(x), [torch.float32]),
        (sampling, sampling.active(x), []),
    ):
        threshold = (sites.rates * 2**32).floor().long()
        place = {"seed": 2**63 + 5, "epoch": 2**28 - 1, "stream": 15}
        found.append(module.bernoulli_trains(sites, threshold, shape, index, *more, **place))
    assert 0 < found[0].sum() < found[0].numel()
    assert torch.equal(found[0], found[1].float())


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that it takes tensors of a CPU under the interpreter alone."""
    x = torch.zeros(3, 2, 4)
    neuron = st.LIF().neuron
    assert dispatch.resolve("triton", neuron, Sigmoid(), x)[0].name == "triton"
    assert dispatch.resolve("auto", neuron, Sigmoid(), x)[0].name == "cpu"
    for change, reason in (
        ({"record": True}, "it keeps no traces"),
        ({"x": x.double()}, "it takes torch.float32 on cpu, not torch.float64 on cpu"),
    ):
        request: dict[str, Any] = {"neuron": neuron, "spike": Sigmoid(), "x": x, **change}
        with pytest.raises(st.SaltationError, match=re.escape(reason)):
            dispatch.resolve("triton", **request)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(st.SaltationError, match=r"on cuda, not torch\.float32 on cpu"):
        st.LIF(backend="triton")(x)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(st.SaltationError, match=r"it takes torch\.float32 on cpu"):
        st.Recurrent(st.LIF(backend="triton"), 4).double()(x)


def test_it_is_the_first_choice_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot run, ``auto`` says why, and names no loop of a CPU."""
    with FakeTensorMode():
        x = torch.empty(3, 2, 4, device="cuda")
    neuron = st.LIF().neuron
    kernel, why = dispatch.resolve("auto", neuron, Sigmoid(), x)
    assert kernel.name == "reference"
    assert why == "triton: it takes plain tensors, not FakeTensor"
    monkeypatch.setattr(loop, "missing", lambda: "triton is not installed")
    assert dispatch.resolve("auto", neuron, Sigmoid(), x)[1] == "triton: triton is not installed"


def test_the_layer_of_a_network() -> None:
    """A step of training with layers that name it."""
    grads = []
    for backend in ("triton", "reference"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(8, 6), st.LIF(dt=0.5, backend=backend), torch.nn.Linear(6, 3)
        )
        net(4 * torch.rand(7, 5, 8)).sum().backward()
        grads.append([p.grad for p in net.parameters()])
    assert all(close(one, two) for one, two in zip(*grads, strict=True))
    assert isinstance(net[1], SpikingLayer)


def test_the_self_test_covers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it can run; elsewhere it is no part of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    checks = dict(printed(["alif"]))
    assert list(checks) == ["ALIF on cpu", "poisson on cpu"]
    row = perform("ALIF", checks["ALIF on cpu"])
    assert (row.ok, row.ran) == (True, "gpu loop")
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not list(printed(["alif"]))
    assert dispatch.KERNELS["triton"].absent() == "there is no GPU"
