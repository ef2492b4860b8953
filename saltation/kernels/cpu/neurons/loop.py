"""The compiled time loop as a differentiable function of currents and state.

Derivatives beyond one backward pass are left to the reference loop: a backward pass that builds a
graph runs the reference again, and forward mode and functorch transforms are refused.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from saltation.kernels import reference
from saltation.kernels.cpu.runtime.support import apart, lacks
from saltation.kernels.reference import Trace
from saltation.neurons.base import Neuron, Spike
from saltation.surrogate import Surrogate

# By exact type: a subclass may have equations of its own. Imported when used, for numba is slow to.
MODELS: dict[type[Neuron], str] = {}


class Model(Protocol):
    """What the module of a model offers. ``[T, N]`` and states of ``[N]`` are contiguous."""

    def forward(
        self, neuron: Any, x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Spikes ``[T, N]`` and the last state."""

    def backward(
        self,
        neuron: Any,
        surrogate: Surrogate,
        x: Tensor,
        state: tuple[Tensor, ...],
        g_s: Tensor,
        g_last: tuple[Tensor, ...],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Gradients of ``x`` and ``state`` from those of the spikes and the last state.

        Nothing but the inputs is kept for it: it runs forward again, block by block in cache.
        """


def _model(neuron: Neuron) -> Model:
    return cast(Model, importlib.import_module(MODELS[type(neuron)]))


def refuses(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool) -> str | None:
    """Why the compiled loop cannot run this, or None."""
    if type(neuron) not in MODELS:
        return f"it has no loop for {type(neuron).__name__}"
    if not isinstance(spike, Surrogate) or type(spike).__call__ is not Surrogate.__call__:
        return f"it emits spikes of 0 and 1, not those of {type(spike).__name__}"
    if type(spike).derivative is not Surrogate.derivative:
        return f"it has no compiled derivative of {type(spike).__name__}"
    if record:
        return "it keeps no traces"
    return lacks(torch.float32, x, *(state or ()))


@apart
def run(neuron: Neuron, spike: Surrogate, x: Tensor, state: Any, record: bool) -> Trace:
    """The loop, with the signature of `reference.run`; torch.compile calls it as it is."""
    needed = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *state))
    if needed:
        spikes, *last = _Loop.apply(neuron, spike, x, *state)
    else:
        start = tuple(map(_flat, state))
        spikes, last = _model(neuron).forward(neuron, _flat(x, len(x)), start)
    shape = x.shape[1:]
    return Trace(spikes.view(x.shape), neuron.State(*(part.view(shape) for part in last)))


def _flat(tensor: Tensor, *leading: int) -> Tensor:
    """``[*leading, N]``, contiguous."""
    return tensor.detach().reshape(*leading, -1).contiguous()


class _Loop(torch.autograd.Function):
    """``(neuron, spike, x, *state) -> (spikes [T, N], *last state [N])``."""

    @staticmethod
    def forward(
        ctx: Any, neuron: Neuron, spike: Surrogate, x: Tensor, *state: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.neuron, ctx.spike = neuron, spike
        start = tuple(map(_flat, state))
        spikes, last = _model(neuron).forward(neuron, _flat(x, len(x)), start)
        ctx.save_for_backward(x, *state)
        # NaN lasts, and an infinity, in every model: the last state tells of all steps.
        ctx.finite = all(map(_finite, last))
        ctx.set_materialize_grads(False)
        return spikes, *last

    @staticmethod
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *state = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, None, *_again(ctx, (x, *state), given)
        if not ctx.finite:  # what is NaN then and what is not, is the reference's to say
            with torch.enable_grad():
                return None, None, *_again(ctx, (x, *state), given, create_graph=False)
        shapes = (len(x), x[0].numel()), *((x[0].numel(),) for _ in state)
        g_s, *g_last = (
            x.new_zeros(shape) if g is None else g for g, shape in zip(given, shapes, strict=True)
        )
        return None, None, *gradients(ctx.neuron, ctx.spike, x, tuple(state), g_s, tuple(g_last))


def _finite(tensor: Tensor) -> bool:
    from saltation.kernels.cpu.runtime.finite import finite  # imports numba

    return finite(tensor)


def gradients(
    neuron: Neuron,
    spike: Surrogate,
    x: Tensor,
    state: tuple[Tensor, ...],
    g_s: Tensor,
    g_last: tuple[Tensor, ...],
) -> list[Tensor]:
    """Gradients of ``x`` and ``state`` from those of the spikes and the last state, any shape."""
    g_x, g_state = _model(neuron).backward(
        neuron,
        spike,
        _flat(x, len(x)),
        tuple(map(_flat, state)),
        _flat(g_s, len(x)),
        tuple(map(_flat, g_last)),
    )
    return [g_x.view(x.shape), *(g.view(x.shape[1:]) for g in g_state)]


def _again(
    ctx: Any,
    inputs: tuple[Tensor, ...],
    gradients: tuple[Tensor | None, ...],
    create_graph: bool = True,
) -> list[Tensor | None]:
    """Gradients of ``inputs`` from the reference loop run again, by default differentiable."""
    # Fresh views, so that the state's own history, which may reach back to x, is not counted twice.
    x, *state = views = [part.view_as(part) for part in inputs]
    trace = reference.run(ctx.neuron, ctx.spike, x, ctx.neuron.State(*state))
    outputs = [trace.spikes.flatten(1), *(part.flatten() for part in trace.state)]
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
    # Where there is no gradient it must not become a zero, which times an infinity is NaN.
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
