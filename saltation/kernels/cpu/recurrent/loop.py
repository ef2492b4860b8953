"""The compiled loop of neurons whose spikes feed back, as a differentiable function.

The gradient of the weight is summed from the spikes, sample by sample and there in the order of
time. Derivatives beyond one backward pass are left to the reference loop, as in `loop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saltation.kernels import recurrent
from saltation.kernels.cpu.events.trains import words
from saltation.kernels.cpu.linear import product, source
from saltation.kernels.cpu.linear.dense import GROUP, panels
from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.neurons.cell import address_of
from saltation.kernels.cpu.recurrent.feedback import Kept, backward_loop, forward_loop
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import finite
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events, every_site
from saltation.kernels.looped import (
    Plan,
    constants_of,
    flat_rows,
    of_rows,
    of_views,
    with_late_spikes,
)
from saltation.kernels.program.graph import Program
from saltation.kernels.program.program import program_of
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.reference import Trace
from saltation.kernels.support import apart
from saltation.neurons.base import Neuron
from saltation.surrogate import Surrogate


@apart
def run(
    neuron: Neuron,
    spike: Surrogate,
    x: Tensor,
    feedback: Feedback,
    state: RecurrentState,
    memory: str = "store",
) -> Trace:
    """As `recurrent.run`; torch.compile calls it as it is."""
    plan = Plan(neuron, spike, program_of(neuron, spike))
    own = (*plan.program.rows, *constants_of(neuron))
    parts = x, *feedback, state.spikes, *state.neuron, *own
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts):
        s, *last = _Loop.apply(plan, memory, *parts)
    else:
        s, last, _ = _forward(plan.program, parts, keep=False, trains=False)
    # A copy, so that who keeps the state does not keep the spikes of all steps.
    return Trace(s, RecurrentState(s[-1].clone(), neuron.State(*last)))


class _Loop(torch.autograd.Function):
    """``(plan, memory, x, weight, bias, spikes, *state, *rows, *constants) -> (spikes [T, B, F],
    *last state)``, rows and constants as in `looped.Loop`."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, memory: str, *parts: Tensor | None) -> tuple[Tensor, ...]:
        ctx.plan, ctx.trains = plan, ctx.needs_input_grad[3]
        keep = memory == "store"
        s, last, stored = _forward(plan.program, parts, keep=keep, trains=keep and ctx.trains)
        # As in `loop`.
        ctx.finite = all(map(finite, last))
        ctx.set_materialize_grads(False)
        ctx.stored = stored if keep else None
        ctx.save_for_backward(*parts)
        return s, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, *_again(ctx, parts, given)
        if not ctx.finite:
            with torch.enable_grad():
                return None, None, *_again(ctx, parts, given, create_graph=False)
        state = parts[4 : 4 + ctx.plan.program.variables]
        shapes = parts[0].shape, *(part.shape for part in state)
        g_s, *g_last = (
            _zeros(*shape) if g is None else g for g, shape in zip(given, shapes, strict=True)
        )
        stored = ctx.stored
        if stored is None:
            stored = _forward(ctx.plan.program, parts, keep=True, trains=ctx.trains)[2]
        return None, None, *_backward(ctx, parts, stored, g_s, tuple(g_last))


class _Stored(NamedTuple):
    """What backward needs: potentials and the like, spikes, and a loan of memory for the first."""

    kept: Kept
    events: Events
    loan: Loan


def _zeros(*shape: int) -> Tensor:
    """float32, whatever torch's default is."""
    return torch.zeros(shape, dtype=torch.float32)


def _padded(rows: Tensor) -> Tensor:
    """``[B, F]`` in a matrix of whole groups and full vectors, the rest 0."""
    batch, width = rows.shape
    whole = _zeros(-(-batch // GROUP) * GROUP, source.padded(width))
    whole[:batch, :width] = rows
    return whole


def _room(steps: int, batch: int, width: int, wanted: bool) -> Events:
    """Room for the spikes of all steps as events, or none."""
    loan = Loan()
    sites, room = (batch * width, steps * batch * width) if wanted else (0, 0)
    bits = loan.array(words(steps), sites, dtype=torch.uint64)
    bits[:] = 0
    rows = np.empty((batch, steps + 1), np.int64)
    rows[:, 0] = np.arange(batch) * steps * width
    places = loan.array(room, dtype=torch.int32)
    return Events((steps, batch, width), *every_site(batch, width), rows, places, bits, loan)


def _forward(
    program: Program, parts: Any, keep: bool, trains: bool
) -> tuple[Tensor, list[Tensor], _Stored]:
    """Spikes ``[T, B, F]``, the neurons' last state, and with ``keep`` what backward needs; the
    events only if ``trains``."""
    given: list[Any] = [p if p is None else p.detach() for p in parts]
    x, weight, bias, first, *more = given
    state, rows = _split(program, more)[:2]
    steps, batch, width = x.shape
    columns, finite = transposed(weight.contiguous().numpy(), width, source.padded(width))
    turned, spikes = torch.from_numpy(columns), _padded(first)
    added = _zeros(width) if bias is None else bias.contiguous()
    running = torch.stack(state)
    whole, loan = steps * batch, Loan()
    kept = Kept(
        loan.array(whole if keep and program.reads_current else batch, width),
        loan.array(len(program.kept) if keep else 0, whole, width),
    )
    s = fresh(steps, batch, width)
    read = x.contiguous().view(-1, width), turned, panels(turned), added
    written = spikes, torch.empty_like(spikes), running, s.view(-1, width)
    here, found = np.empty((batch, width), np.int32), np.zeros(batch, np.int64)
    e = _room(steps, batch, width, trains)
    arrays = *(part.numpy() for part in (*read, *written)), kept, here, found
    events = e.bits, e.places, e.rows
    groups = len(spikes) // GROUP
    loop = address_of(program, "forward kept" if keep else "forward"), program.numbers
    own = flat_rows(rows, x).numpy()
    spread(forward_loop, groups, *arrays, *events, not finite, *loop, own, least=1)
    return s, [part.clone() for part in running], _Stored(kept, e, loan)


def _backward(
    ctx: Any, parts: Any, stored: _Stored, g_s: Tensor, g_last: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """The gradients of ``parts``."""
    x, weight, _, first, *more = parts
    program = ctx.plan.program
    state, rows, constants = _split(program, more)
    steps, batch, width = x.shape
    late = [_zeros(batch, width)] if program.late else []
    g, start = torch.stack([*g_last, *late]), torch.stack(state)
    pulled = _padded(_zeros(batch, width))
    g_x = fresh(steps + 1, batch, width)
    scratch = torch.zeros_like(pulled), fresh(batch, width)
    arrays = (panels(weight), pulled, *scratch, g, g_x.view(-1, width), start)
    given = g_s.contiguous().view(-1, width).numpy(), stored.kept
    loop = address_of(program, "backward"), program.numbers
    groups = len(pulled) // GROUP
    learned = _zeros(len(program.learned), batch, width)
    own = flat_rows(rows, x).numpy(), learned.numpy()
    spread(backward_loop, groups, *given, *(part.numpy() for part in arrays), *loop, *own, least=1)
    g_state, of_constants = [part.clone() for part in g[: len(state)]], [None] * len(constants)
    if program.late:
        g_state, of_constants = with_late_spikes(ctx.plan, x[0], state, constants, g)
    of_own = *of_rows(program, learned, x.shape[1:]), *of_constants
    g_weight = g_bias = None
    if ctx.needs_input_grad[3]:
        g_weight = product.backward(stored.events, g_x[1:])
        if first.any():
            g_weight += g_x[0].T @ first
    if ctx.needs_input_grad[4]:
        g_bias = g_x[:steps].flatten(0, 1).sum(0)
    return [g_x[:steps], g_weight, g_bias, pulled[:batch, :width], *g_state, *of_own]


def _split(program: Program, parts: Sequence[Any]) -> tuple[list[Any], ...]:
    """State, rows and constants."""
    parts, ends = list(parts), (program.variables, program.variables + len(program.rows))
    return parts[: ends[0]], parts[ends[0] : ends[1]], parts[ends[1] :]


def _again(
    ctx: Any, parts: Any, gradients: tuple[Tensor | None, ...], create_graph: bool = True
) -> list[Tensor | None]:
    """Gradients of ``parts`` from the reference loop run again, by default differentiable."""
    neuron, spike, program = ctx.plan
    count = 4 + program.variables
    # The reference makes rows of its own, from the constants.
    first: list[Any] = [None if part is None else part.view_as(part) for part in parts[:count]]
    views = [*first, *parts[count:]]
    x, weight, bias, spikes, *state = first
    start = RecurrentState(spikes, neuron.State(*state))
    trace = recurrent.run(neuron, spike, x, Feedback(weight, bias), start)
    rows = range(count, count + len(program.rows))
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed and i not in rows]
    outputs = (trace.spikes, *trace.state.neuron)
    return of_views(outputs, gradients, views, wanted, create_graph)
