"""The compiled loop of neurons whose spikes feed back, as a differentiable function.

The gradient of the weight is summed from the spikes, sample by sample and there in the order of
time. Derivatives beyond one backward pass are left to the reference loop, as in `loop`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saltation.kernels import recurrent
from saltation.kernels.cpu.events.trains import words
from saltation.kernels.cpu.linear import product, source
from saltation.kernels.cpu.linear.dense import GROUP, panels
from saltation.kernels.cpu.linear.transpose import transposed
from saltation.kernels.cpu.neurons import izhikevich, lif
from saltation.kernels.cpu.neurons.slope import slope_numbers
from saltation.kernels.cpu.recurrent.feedback import Kept, backward_loop, forward_loop
from saltation.kernels.cpu.runtime.buffers import Loan, fresh
from saltation.kernels.cpu.runtime.finite import finite
from saltation.kernels.cpu.runtime.support import apart
from saltation.kernels.cpu.runtime.threads import spread
from saltation.kernels.events import Events, every_site
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.reference import Trace
from saltation.neurons import LIFNeuron
from saltation.neurons.base import Neuron
from saltation.surrogate import Surrogate


class Plan(NamedTuple):
    """What a run is made of beside tensors; ``memory`` is that of `SpikingLayer`."""

    neuron: Any
    spike: Surrogate
    memory: str


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
    plan, parts = Plan(neuron, spike, memory), (x, *feedback, state.spikes, *state.neuron)
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts):
        s, *last = _Loop.apply(plan, *parts)
    else:
        s, last, _ = _forward(neuron, parts, keep=False, trains=False)
    # A copy, so that who keeps the state does not keep the spikes of all steps.
    return Trace(s, RecurrentState(s[-1].clone(), neuron.State(*last)))


class _Loop(torch.autograd.Function):
    """``(plan, x, weight, bias, spikes, *state) -> (spikes [T, B, F], *last state)``."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *parts: Tensor | None) -> tuple[Tensor, ...]:
        ctx.plan, ctx.trains = plan, ctx.needs_input_grad[2]
        keep = plan.memory == "store"
        s, last, stored = _forward(plan.neuron, parts, keep=keep, trains=keep and ctx.trains)
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
            return None, *_again(ctx, parts, given)
        if not ctx.finite:
            with torch.enable_grad():
                return None, *_again(ctx, parts, given, create_graph=False)
        shapes = parts[0].shape, *(part.shape for part in parts[4:])
        g_s, *g_last = (
            _zeros(*shape) if g is None else g for g, shape in zip(given, shapes, strict=True)
        )
        stored = ctx.stored
        if stored is None:
            stored = _forward(ctx.plan.neuron, parts, keep=True, trains=ctx.trains)[2]
        return None, *_backward(ctx, parts, stored, g_s, tuple(g_last))


class _Stored(NamedTuple):
    """What backward needs: potentials and the like, spikes, and a loan of memory for the first."""

    kept: Kept
    events: Events
    loan: Loan


def _numbers(neuron: Any) -> Any:
    """The numbers of a step, whose type chooses the loop when a caller is compiled."""
    return (lif if isinstance(neuron, LIFNeuron) else izhikevich).step_of(neuron)


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
    neuron: Neuron, parts: Any, keep: bool, trains: bool
) -> tuple[Tensor, list[Tensor], _Stored]:
    """Spikes ``[T, B, F]``, the neurons' last state, and with ``keep`` what backward needs; the
    events only if ``trains``."""
    given: list[Any] = [p if p is None else p.detach() for p in parts]
    x, weight, bias, first, *state = given
    steps, batch, width = x.shape
    columns, finite = transposed(weight.contiguous().numpy(), width, source.padded(width))
    turned, spikes = torch.from_numpy(columns), _padded(first)
    added = _zeros(width) if bias is None else bias.contiguous()
    running = torch.stack(state)
    whole, currents = steps * batch, keep and not isinstance(neuron, LIFNeuron)
    loan = Loan()
    kept = Kept(
        loan.array(whole if currents else batch, width),
        loan.array(whole if keep else batch, width),
        loan.array(len(running), whole if currents else 0, width),
    )
    s, spare = fresh(steps, batch, width), fresh(batch, width)
    read = x.contiguous().view(-1, width), turned, panels(turned), added
    written = spikes, torch.empty_like(spikes), spare, running, s.view(-1, width)
    here, found = np.empty((batch, width), np.int32), np.zeros(batch, np.int64)
    e = _room(steps, batch, width, trains)
    arrays = *(part.numpy() for part in (*read, *written)), kept, here, found
    events = e.bits, e.places, e.rows
    groups = len(spikes) // GROUP
    spread(forward_loop, groups, *arrays, *events, not finite, _numbers(neuron), least=1)
    return s, [part.clone() for part in running], _Stored(kept, e, loan)


def _backward(
    ctx: Any, parts: Any, stored: _Stored, g_s: Tensor, g_last: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """The gradients of ``parts``."""
    x, weight, _, first, *state = parts
    neuron, spike, _ = ctx.plan
    steps, batch, width = x.shape
    kind: Any = lif.Back if isinstance(neuron, LIFNeuron) else izhikevich.Back
    # Of the state; behind that of LIF's one variable, of the spike that acts late.
    g = torch.stack([*g_last, _zeros(batch, width)][:2])
    pulled = _padded(_zeros(batch, width))
    g_x = fresh(steps + 1, batch, width)
    scratch = torch.zeros_like(pulled), fresh(batch, width)
    arrays = (panels(weight), pulled, *scratch, g, g_x.view(-1, width))
    given = g_s.contiguous().view(-1, width).numpy(), stored.kept
    numbers = kind(*_numbers(neuron), slope_numbers(spike))
    groups = len(pulled) // GROUP
    spread(backward_loop, groups, *given, *(part.numpy() for part in arrays), numbers, least=1)
    g_state: list[Tensor | None] = list(g[: len(state)])
    if neuron.jump == "soft_delayed":
        g[0] += g[1] * spike.derivative(state[0] - neuron.v_threshold)
    g_weight = g_bias = None
    if ctx.needs_input_grad[2]:
        g_weight = product.backward(stored.events, g_x[1:])
        if first.any():
            g_weight += g_x[0].T @ first
    if ctx.needs_input_grad[3]:
        g_bias = g_x[:steps].flatten(0, 1).sum(0)
    return [g_x[:steps], g_weight, g_bias, pulled[:batch, :width], *g_state]


def _again(
    ctx: Any, parts: Any, gradients: tuple[Tensor | None, ...], create_graph: bool = True
) -> list[Tensor | None]:
    """Gradients of ``parts`` from the reference loop run again, by default differentiable."""
    views: list[Any] = [None if part is None else part.view_as(part) for part in parts]
    x, weight, bias, spikes, *state = views
    neuron, spike, _ = ctx.plan
    start = RecurrentState(spikes, neuron.State(*state))
    trace = recurrent.run(neuron, spike, x, Feedback(weight, bias), start)
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
    outputs = (trace.spikes, *trace.state.neuron)
    some = [(out, g) for out, g in zip(outputs, gradients, strict=True) if g is not None]
    found = torch.autograd.grad(
        [out for out, _ in some],
        [views[i] for i in wanted],
        [g for _, g in some],
        create_graph=create_graph,
        allow_unused=True,
    )
    result: list[Tensor | None] = [None] * len(views)
    for i, gradient in zip(wanted, found, strict=True):
        result[i] = gradient
    return result
