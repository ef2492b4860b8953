"""A compiled time loop that carries one tangent, as a differentiable function of both.

What every backend has in common: `Engine` is what they differ in. Whoever goes through a network
with a tangent gives its neurons `Carrying` for their spike function: a loop sees by it that
currents and state have tangents, and that nothing but these is wanted of forward mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from saltation.derivatives import Carried
from saltation.kernels import looped
from saltation.kernels.program.tangent import TangentProgram, carrying, tangent_program_of
from saltation.kernels.reference import Trace
from saltation.kernels.rounding import rounded
from saltation.kernels.support import joined, unfit
from saltation.neurons.base import Neuron
from saltation.surrogate import Surrogate

# Operations of a step in reverse that are worth compiling: these take about 2 s.
_MOST = 1500


class Carrying:
    """A surrogate's spike function that carries one tangent by its rule: torch's way through the
    ``jvp`` of a function costs several times the computation."""

    def __init__(self, surrogate: Surrogate) -> None:
        self.surrogate = surrogate

    def __call__(self, u: Tensor) -> Tensor:
        # Nothing here has a tangent to carry: whoever listens to torch's functions need not.
        with torch._C.DisableTorchFunction():
            plain, tangent = forward_ad.unpack_dual(u)  # type: ignore[no-untyped-call]
            spikes: Tensor = self.surrogate(plain)
            if tangent is None:
                return spikes
            slope = self.surrogate.derivative(plain)
            made: Tensor = forward_ad.make_dual(spikes, tangent * slope)  # type: ignore[no-untyped-call]
            return made


class Engine(NamedTuple):
    """A compiled loop of N neurons in the bare form, float32 and contiguous.

    Attributes
    ----------
    forward
        ``(program, x [2, T, N], state [2 V, N]) -> (s [T, N], ds [T, N], last [2 V, N])``: values,
        and behind them tangents.
    backward
        ``(program, x, state, g_s [2, T, N], g_last) -> (g_x, g_dx, g_state)``.
    finite
        Whether a last state is; where it is not, plain torch gives the gradients.
    """

    forward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    finite: Callable[[Tensor], bool]


class Plan(NamedTuple):
    """What a run is made of beside tensors."""

    neuron: Neuron
    surrogate: Surrogate
    program: TangentProgram


def refuses(
    neuron: Neuron, spike: Carrying, x: Tensor, state: Any, record: bool, device: str
) -> str | None:
    """Why a compiled loop for that kind of device cannot run this, or None."""
    if record:
        return "it keeps no traces"
    reason = unfit(torch.float32, x, *(state or ()), device=device)
    if reason:
        return reason
    program = tangent_program_of(neuron, spike.surrogate)
    if isinstance(program, str):
        return f"it cannot compile a tangent's step: {program}"
    if len(program.backward.nodes) > _MOST:
        return f"a tangent's step has {len(program.backward.nodes):,} operations, too many"
    return None


def run(loop: type[Loop], neuron: Neuron, spike: Carrying, x: Tensor, state: Any) -> Trace:
    """That loop over ``x`` and ``state`` with their tangents, as `reference.run`."""
    program = tangent_program_of(neuron, spike.surrogate)
    plan = Plan(neuron, spike.surrogate, program)  # type: ignore[arg-type]  # not refused
    with torch._C.DisableTorchFunction():
        pairs = [_split(part) for part in (x, *state)]
        # Channels come last in memory, say: neurons are taken as they lie there.
        order = looped.order_of(pairs[0][0]) or tuple(range(x.ndim - 1))
        in_time = (0, *(axis + 1 for axis in order))
        currents = (part.permute(in_time).flatten(1) for part in pairs[0])
        values, tangents = ([p[k].permute(order) for p in pairs[1:]] for k in (0, 1))
        first = torch.stack([*values, *tangents])
        *s, last = loop.apply(plan, *currents, first.flatten(1))  # type: ignore[no-untyped-call]
        shape, back = first.shape[1:], sorted(range(len(order)), key=order.__getitem__)
        after = (
            _dual(*(part.view(shape).permute(back) for part in pair))
            for pair in zip(last[: len(state)], last[len(state) :], strict=True)
        )
        out = (0, *(axis + 1 for axis in back))
        spikes = _dual(*(part.view(len(x), *shape).permute(out) for part in s))
        return Trace(spikes, neuron.State(*after))


def _split(part: Tensor) -> tuple[Tensor, Tensor]:
    value, tangent = forward_ad.unpack_dual(part)  # type: ignore[no-untyped-call]
    return value, torch.zeros_like(value) if tangent is None else tangent


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
    return made


class Loop(torch.autograd.Function):
    """``(plan, x [T, N], dx [T, N], state [2 V, N]) -> (s [T, N], ds [T, N], last [2 V, N])``.

    A backend's subclass names its ``engine``.
    """

    engine: ClassVar[Engine]

    @classmethod
    def run_forward(
        cls, ctx: Any, plan: Plan, x: Tensor, dx: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`forward` of a subclass."""
        ctx.plan, ctx.engine = plan, cls.engine
        ctx.save_for_backward(x, dx, state)
        s, ds, last = cls.engine.forward(plan.program, joined(x, dx), state.detach())
        # NaN lasts, and an infinity, in every model: the last state tells of all steps.
        ctx.finite = cls.engine.finite(last)
        return s, ds, last

    @staticmethod
    def backward(
        ctx: Any, g_s: Tensor, g_ds: Tensor, g_last: Tensor
    ) -> tuple[None, Tensor, Tensor, Tensor]:
        x, dx, state = ctx.saved_tensors
        if not torch.is_grad_enabled() and ctx.finite:
            given = joined(x, dx), state.detach(), joined(g_s, g_ds), g_last.contiguous()
            g_x, g_dx, g_state = ctx.engine.backward(ctx.plan.program, *given)
            return None, g_x, g_dx, g_state
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            views = [
                part.view_as(part)
                if again and part.requires_grad
                else part.detach().requires_grad_()
                for part in (x, dx, state)
            ]
            results = plainly(ctx.plan.neuron, ctx.plan.surrogate, *views)
            g_x, g_dx, g_state = torch.autograd.grad(
                results, views, (g_s, g_ds, g_last), create_graph=again
            )
        return None, g_x, g_dx, g_state


def plainly(
    neuron: Neuron, surrogate: Surrogate, x: Tensor, dx: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in plain torch, step by step, with every derivative."""
    spike, count = carrying(surrogate, surrogate), len(state) // 2
    pairs: Sequence[Any] = list(map(Carried, state[:count], state[count:]))
    emitted = []
    with rounded(neuron, surrogate, x):
        for current, tangent in zip(x, dx, strict=True):
            s, pairs, _ = neuron.step(Carried(current, tangent), neuron.State(*pairs), spike)  # type: ignore[arg-type]
            emitted.append(_parts(s, current))
    values, tangents = zip(*(_parts(pair, x[0]) for pair in pairs), strict=True)
    s, ds = map(torch.stack, zip(*emitted, strict=True))
    return s, ds, torch.stack([*values, *tangents])


def _parts(pair: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    value, tangent = (pair.value, pair.tangents[0]) if isinstance(pair, Carried) else (pair, None)
    value = value if isinstance(value, Tensor) else torch.full_like(like, value)
    return value, torch.zeros_like(like) if tangent is None else tangent
