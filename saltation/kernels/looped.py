"""A compiled time loop as a differentiable function of currents, state and constants.

What every backend has in common: `Engine` is what they differ in. Derivatives beyond one backward
pass are left to the reference loop: a backward pass that builds a graph runs the reference again,
and forward mode and functorch transforms are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from saltation.kernels import reference
from saltation.kernels.program.graph import Program
from saltation.kernels.program.program import program_of
from saltation.kernels.reference import Trace
from saltation.kernels.support import apart, lacks
from saltation.neurons.base import Neuron, Spike
from saltation.operands import NoRuleError

# Operations of a step in reverse that are worth compiling: these take about 5 s.
_MOST = 5000


class Engine(NamedTuple):
    """A compiled loop of N neurons in the bare form, float32 and contiguous.

    Attributes
    ----------
    forward
        ``(program, rows [rows, N], x [T, N], state, keep) -> (s [T, N], last [V, N], kept)`` from V
        tensors ``state`` [N]; ``kept`` are tensors that backward wants, if it will follow.
    backward
        ``(program, rows, x, state, kept, g_s, g_last) -> (g_x [T, N], g, learned)``: gradients of
        the state [V, N] and, where spikes act late, of those before the first step; and of what is
        learned of each neuron, ``[learned, N]``.
    finite
        Whether a last state is; where it is not, the reference gives the gradients.
    """

    forward: Callable[..., tuple[Tensor, Tensor, tuple[Tensor, ...]]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    finite: Callable[[Tensor], bool]


class Plan(NamedTuple):
    """What a run is made of beside tensors."""

    neuron: Neuron
    spike: Any
    program: Program


def refuses(
    neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool, device: str
) -> str | None:
    """Why a compiled loop for that kind of device cannot run this, or None."""
    if record:
        return "it keeps no traces"
    reason = lacks(torch.float32, x, *(state or ()), device=device)
    if reason:
        return reason
    program = program_or_reason(neuron, spike)
    if isinstance(program, str):
        return program
    shape = x.shape[1:]
    for row in program.rows:
        pairs = zip(row.shape[::-1], shape[::-1], strict=False)
        if len(row.shape) > len(shape) or any(have not in (1, want) for have, want in pairs):
            return f"constants {list(row.shape)} are not those of neurons {list(shape)}"
    return lacks(torch.float32, *program.rows, device=device)


@apart
def program_or_reason(neuron: Neuron, spike: Spike) -> Program | str:
    """The program of a step, or why it is not compiled."""
    try:
        program = program_of(neuron, spike)
    except NoRuleError as reason:
        return f"it cannot compile this step: {reason}"
    if len(program.backward.nodes) > _MOST:
        return f"its step has {len(program.backward.nodes):,} operations, too many to compile"
    return program


def run(loop: type[Loop], neuron: Neuron, spike: Any, x: Tensor, state: Any) -> Trace:
    """That loop over ``x``, as `reference.run`."""
    plan = Plan(neuron, spike, program_of(neuron, spike))
    order = () if x.is_contiguous() or plan.program.rows else order_of(x)
    if order:
        # Channels come last in memory, say: neurons are taken as they lie there.
        turned = (part.permute(order) for part in state)
        in_time = x.permute(0, *(axis + 1 for axis in order))
        trace = run(loop, neuron, spike, in_time, neuron.State(*turned))
        back = sorted(range(len(order)), key=order.__getitem__)
        after = (part.permute(back) for part in trace.state)
        spikes = trace.spikes.permute(0, *(axis + 1 for axis in back))
        return Trace(spikes, neuron.State(*after))
    parts = x, *state, *plan.program.rows, *constants_of(neuron)
    if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
        spikes, *last = loop.apply(plan, *parts)  # type: ignore[no-untyped-call]
    else:
        spikes, last, _ = _forward(loop.engine, plan.program, x, state, keep=False)
    shape = x.shape[1:]
    return Trace(spikes.view(x.shape), neuron.State(*(part.view(shape) for part in last)))


def order_of(x: Tensor) -> tuple[int, ...]:
    """Axes of a step of ``x`` in the order in which they lie in memory, if that is another than
    theirs and there are no gaps; else nothing."""
    axes = tuple(range(x.ndim - 1))
    strides = x.stride()[1:]
    order = tuple(sorted(axes, key=lambda axis: (-strides[axis], axis)))
    return order if order != axes and x[0].permute(order).is_contiguous() else ()


def constants_of(neuron: Neuron) -> list[Tensor]:
    """The neuron's constants that are learned."""
    values = (getattr(neuron, name) for name in neuron.parameters())
    return [value for value in values if isinstance(value, Tensor) and value.requires_grad]


def _flat(tensor: Tensor, *leading: int) -> Tensor:
    """``[*leading, N]``, contiguous."""
    return tensor.detach().reshape(*leading, -1).contiguous()


def flat_rows(rows: Sequence[Tensor], x: Tensor) -> Tensor:
    """What a program knows of each neuron, ``[rows, N]``, of currents ``x`` [T, ...]."""
    shape = x.shape[1:]
    flat = [row.detach().expand(shape).reshape(-1) for row in rows]
    return torch.stack(flat) if flat else x.new_empty(0, shape.numel())


def _forward(
    engine: Engine, program: Program, x: Tensor, state: Sequence[Tensor], keep: bool
) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
    """Spikes ``[T, N]``, the last state ``[N]``, and what backward wants."""
    rows = flat_rows(program.rows, x)
    spikes, last, kept = engine.forward(
        program, rows, _flat(x, len(x)), tuple(map(_flat, state)), keep
    )
    return spikes, [part.clone() for part in last], kept  # each with memory of its own


class Loop(torch.autograd.Function):
    """``(plan, x, *state, *rows, *constants) -> (spikes [T, N], *last state [N])``.

    The rows are made of the constants. Backward gives the gradients of the rows; where the
    reference runs, which makes rows of its own, it gives those of the constants. A backend's
    subclass names its ``engine``.
    """

    engine: ClassVar[Engine]

    @classmethod
    def run_forward(cls, ctx: Any, plan: Plan, x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """`forward` of a subclass."""
        ctx.plan, ctx.engine = plan, cls.engine
        state = parts[: plan.program.variables]
        spikes, last, kept = _forward(cls.engine, plan.program, x, state, keep=True)
        ctx.kept = len(kept)
        ctx.save_for_backward(*kept, x, *parts)
        # NaN lasts, and an infinity, in every model: the last state tells of all steps.
        ctx.finite = all(map(cls.engine.finite, last))
        ctx.set_materialize_grads(False)
        return spikes, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        program = ctx.plan.program
        saved = ctx.saved_tensors  # read once: a checkpoint makes them when they are read
        kept, (x, *parts) = saved[: ctx.kept], saved[ctx.kept :]
        ends = program.variables, program.variables + len(program.rows)
        state, rows, constants = parts[: ends[0]], parts[ends[0] : ends[1]], parts[ends[1] :]
        if torch.is_grad_enabled() or not ctx.finite:
            # What is NaN then and what is not, is the reference's to say.
            inputs = x, *state, *constants
            wanted = *ctx.needs_input_grad[1 : 2 + len(state)], *(True for _ in constants)
            create_graph = torch.is_grad_enabled()
            with torch.enable_grad():
                g = _again(ctx.plan, inputs, wanted, given, create_graph)
            return None, *g[: 1 + len(state)], *(None for _ in rows), *g[1 + len(state) :]
        shapes = (len(x), x[0].numel()), *((x[0].numel(),) for _ in state)
        g_s, *g_last = (
            x.new_zeros(shape) if g is None else g for g, shape in zip(given, shapes, strict=True)
        )
        return None, *_gradients(ctx.engine, ctx.plan, x, state, rows, constants, kept, g_s, g_last)


def gradients(
    engine: Engine,
    neuron: Neuron,
    spike: Any,
    x: Tensor,
    state: Sequence[Tensor],
    g: Sequence[Tensor],
) -> list[Tensor]:
    """Gradients of ``x`` and ``state`` from those of the spikes and the last state, any shape, by
    an engine that keeps nothing."""
    plan = Plan(neuron, spike, program_of(neuron, spike))
    g_x, *found = _gradients(engine, plan, x, state, plan.program.rows, [], (), g[0], g[1:])
    return [g_x, *found[: len(state)]]


def _gradients(
    engine: Engine,
    plan: Plan,
    x: Tensor,
    state: Sequence[Tensor],
    rows: Sequence[Tensor],
    constants: Sequence[Tensor],
    kept: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: Sequence[Tensor],
) -> list[Any]:
    """Gradients of ``x``, ``state``, ``rows`` and ``constants``."""
    program, shape = plan.program, x.shape[1:]
    numbers = flat_rows(rows, x), _flat(x, len(x)), tuple(map(_flat, state))
    g_x, g, learned = engine.backward(
        program, *numbers, kept, _flat(g_s, len(x)), tuple(map(_flat, g_last))
    )
    g_x, g = g_x.view(x.shape), g.view(-1, *shape)
    g_state, of_constants = [part.clone() for part in g[: len(state)]], [None] * len(constants)
    if program.late:
        g_state, of_constants = with_late_spikes(plan, x[0], state, constants, g)
    return [g_x, *g_state, *of_rows(program, learned, shape), *of_constants]


def with_late_spikes(
    plan: Plan, x: Tensor, state: Sequence[Tensor], constants: Sequence[Tensor], g: Tensor
) -> tuple[list[Tensor], list[Any]]:
    """Gradients of the first ``state``, and of ``constants``, where a spike also acts in the step
    after its own, from currents ``x`` of the first step: the spike before it is that of the state.

    Behind the gradients of the state, ``g`` [V + 1, ...] has that of this spike.
    """
    spikes: list[Tensor] = []

    def spike(u: Tensor) -> Tensor:
        spikes.append(plan.spike(u))
        return spikes[-1].detach()

    with torch.enable_grad():
        first = [part.detach().requires_grad_() for part in state]
        plan.neuron.integrate(x.detach(), plan.neuron.State(*first), spike)
        found = torch.autograd.grad(
            spikes[-1], [*first, *constants], g[-1], allow_unused=True, materialize_grads=True
        )
    return list(map(torch.add, g, found[: len(state)])), list(found[len(state) :])


def of_rows(program: Program, learned: Tensor, shape: torch.Size) -> list[Tensor | None]:
    """Gradients of the rows from those of each neuron, ``[learned, N]``, summed in double
    precision."""
    found: list[Tensor | None] = [None] * len(program.rows)
    for slot, g in zip(program.learned, learned, strict=True):
        row = program.rows[slot].shape
        ones = (1,) * (len(shape) - len(row)) + tuple(row)
        axes = tuple(axis for axis, size in enumerate(ones) if size == 1)
        found[slot] = _summed(g.view(shape), axes).view(row)
    return found


def _summed(wide: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The sum over ``axes``, which stay with size 1, in an order that is always the same."""
    if wide.device.type == "cpu":  # numpy knows of no threads
        total = wide.numpy().sum(axes, dtype="float64", keepdims=True)
        return torch.from_numpy(total.astype("float32"))
    return wide.double().sum(axes, keepdim=True).float() if axes else wide


def _again(
    plan: Plan,
    inputs: Sequence[Tensor],
    wanted: Sequence[bool],
    gradients: Sequence[Tensor | None],
    create_graph: bool,
) -> list[Tensor | None]:
    """Gradients of ``inputs``, as far as they are ``wanted``, from the reference loop run again."""
    count = 1 + plan.program.variables
    # Fresh views, so that the state's own history, which may reach back to x, is not counted twice.
    x, *state = (part.view_as(part) for part in inputs[:count])
    views = [x, *state, *inputs[count:]]
    trace = reference.run(plan.neuron, plan.spike, x, plan.neuron.State(*state))
    outputs = [trace.spikes.flatten(1), *(part.flatten() for part in trace.state)]
    places = [i for i, needed in enumerate(wanted) if needed]
    return of_views(outputs, gradients, views, places, create_graph)


def of_views(
    outputs: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    views: Sequence[Any],
    places: Sequence[int],
    create_graph: bool,
) -> list[Tensor | None]:
    """Gradients of the ``views`` at ``places`` from those of what was computed from them."""
    # Where there is no gradient it must not become a zero, which times an infinity is NaN.
    some = [(out, g) for out, g in zip(outputs, gradients, strict=True) if g is not None]
    found = torch.autograd.grad(
        [out for out, _ in some],
        [views[i] for i in places],
        [g for _, g in some],
        create_graph=create_graph,
        allow_unused=True,
    )
    result: list[Tensor | None] = [None] * len(views)
    for i, gradient in zip(places, found, strict=True):
        result[i] = gradient
    return result
