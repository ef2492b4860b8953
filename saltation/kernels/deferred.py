"""Products and neurons of spikes that wait until somebody reads them.

A linear layer of spikes, and a layer of neurons behind it, do not compute what nobody has asked
for: their result remembers what it is made of. The next layer takes that and makes it longer;
whoever wants numbers has the whole chain computed in one piece. So a network runs on events in
whatever container it is written.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_leaves, tree_map

from saltation.errors import SaltationError
from saltation.kernels import dispatch, dispatch_chain
from saltation.kernels.events import OF_THE_SHAPE, ROUTES, Events, SpikeTensor, dense_of, settled
from saltation.kernels.origin import Check, Origin
from saltation.kernels.reference import Stage
from saltation.kernels.support import apart


class DeferredTensor(Tensor):
    """Currents or spikes ``[T, B, F]`` that are computed when they are first read.

    From then on it is an ordinary tensor: of class `torch.Tensor`, or `SpikeTensor` for spikes
    without derivatives. Only where something holds on to its memory it stays, and an ordinary
    tensor is used in its place.
    """

    _origin: Origin
    _made: Tensor | None  # what is used in its place
    _seen: Tensor | None  # its numbers, for C++

    @staticmethod
    def __new__(cls, origin: Origin) -> DeferredTensor:
        self: DeferredTensor = Tensor._make_wrapper_subclass(cls, origin.shape, dtype=torch.float32)
        self._origin, self._made, self._seen = origin, None, None
        return self

    def __init__(self, origin: Origin) -> None: ...

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function in _OF_THE_SHAPE:
            return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        return _read(function, args, kwargs or {})

    # What reaches the tensor from C++, below torch's Python functions, has its graph there: that of
    # `_Deferred`. Here only numbers are wanted.
    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return function(*tree_map(_numbers, args), **tree_map(_numbers, kwargs or {}))


class _Deferred(torch.autograd.Function):
    """``(origin, *parts) -> DeferredTensor``: the graph for whoever takes it unread."""

    @staticmethod
    def forward(ctx: Any, origin: Origin, *parts: Tensor) -> Tensor:
        ctx.origin, ctx.out = origin, None
        return DeferredTensor(origin)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts, again = ctx.origin.parts(), torch.is_grad_enabled()
        if ctx.out is None:
            with torch.enable_grad():
                ctx.out = ctx.origin.afresh()
        wanted = [part for part in parts if part.requires_grad]
        found = iter(
            torch.autograd.grad(
                ctx.out, wanted, gradient, retain_graph=True, create_graph=again, allow_unused=True
            )
        )
        return None, *(next(found) if part.requires_grad else None for part in parts)


class _Copied(torch.autograd.Function):
    """A copy, as ``clone``."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return dispatch.copied(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Attached(torch.autograd.Function):
    """``(deferred, numbers) -> numbers``, with the graph that C++ has of the first."""

    @staticmethod
    def forward(ctx: Any, deferred: Tensor, numbers: Tensor) -> Tensor:
        return numbers.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


@apart
def _read(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """``function``, with ordinary tensors where it cannot wait."""
    if function in _ROUTES and args and type(args[0]) is DeferredTensor:
        out = _ROUTES[function](*args, **kwargs)
        if out is not None:
            return out
    _refuse_late(function, args, kwargs)
    leaves = tree_leaves((args, kwargs))
    deferred = [leaf for leaf in leaves if type(leaf) is DeferredTensor]
    for tensor in deferred:
        settle(tensor)
    if not any(type(tensor) is DeferredTensor for tensor in deferred):
        return function(*args, **kwargs)
    try:
        return function(*tree_map(settle, args), **tree_map(settle, kwargs))
    finally:
        for tensor in deferred:
            _unchanged(tensor)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`dispatch.linear` that waits until it is read, where it can."""
    if torch.compiler.is_compiling():
        return dispatch.linear(x, weight, bias)
    if type(x) is DeferredTensor:
        out = _longer(x, weight, bias)
        if out is not None:
            return out
        x = settle(x)
    x = settled(x)
    events = dispatch.sparse_events(x, weight, bias)
    if events is not None and _can_wait(x):
        out = _deferred(None, None, events, (), weight, bias)
        if out is not None:
            return out
    return dispatch.linear(x, weight, bias, events)


def spikes(x: DeferredTensor, neurons: Callable[..., Stage], check: Check) -> Tensor | None:
    """Spikes of ``neurons(weight, bias)`` driven by currents that wait; None where those have to be
    computed first. ``check`` is called with the currents and the last state if they ever are."""
    origin = _open(x)
    if origin is None or origin.weight is None or not _can_wait(x):
        return None
    stage = neurons(origin.weight, origin.bias)
    # Constants that are tensors may be changed before the numbers are wanted.
    if stage.neuron.tensors or not dispatch_chain.takes(stage):
        return None
    return _wrapped(Origin(x, origin, origin.events, (*origin.given(), stage), check=check))


def _longer(x: DeferredTensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Currents of spikes that wait."""
    origin = _open(x)
    if origin is None or origin.weight is not None or not _can_wait(x):
        return None
    if weight.ndim != 2 or weight.shape[1] != x.shape[2] or not dispatch.usable(weight, bias):
        return None
    return _deferred(x, origin, origin.events, origin.given(), weight, bias)


def _deferred(
    x: DeferredTensor | None,
    source: Origin | None,
    events: Events,
    stages: tuple[Stage, ...],
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor | None:
    """Currents behind the stages; None where a weight is not finite."""
    # Copies: what happens to the layer's own before the numbers are wanted must not reach them.
    parts: list[Tensor] = [
        _Copied.apply(part) if part.requires_grad else dispatch.copied(part)  # type: ignore[no-untyped-call]
        for part in (weight, bias)
        if part is not None
    ]
    if not all(math.isfinite(float(part.detach().sum())) for part in parts):
        return None
    held = parts[1] if bias is not None else None
    return _wrapped(Origin(x, source, events, stages, parts[0], held))


def _wrapped(origin: Origin) -> Tensor:
    if not origin.wants:
        return DeferredTensor(origin)
    return _Deferred.apply(origin, *origin.parts())  # type: ignore[no-any-return,no-untyped-call]


def _can_wait(x: Tensor) -> bool:
    """Whether nobody watches what is computed of ``x``, and nothing changes what it means."""
    return not (_watched() or (type(x) is Tensor and (x.requires_grad or x.ndim != 3)))


def _watched() -> bool:
    """Whether a mode or a trace records torch's operations."""
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def _open(x: DeferredTensor) -> Origin | None:
    """The origin of a tensor without numbers, to which nobody has done anything."""
    origin: Origin = x.__dict__["_origin"]
    untouched = x.__dict__["_made"] is None and x.__dict__["_seen"] is None
    same = origin.inference == torch.is_inference_mode_enabled()
    return origin if untouched and same and _is_own(x, origin) else None


def _is_own(x: DeferredTensor, origin: Origin) -> bool:
    """Whether the graph that C++ has of ``x`` is that of `_Deferred`."""
    with torch._C.DisableTorchFunctionSubclass():
        node, wants = x.grad_fn, x.requires_grad
    return getattr(node, "origin", None) is origin if origin.wants else not wants


def settle(x: Any) -> Any:
    """``x``; a `DeferredTensor` becomes an ordinary tensor, or the one in its place is returned."""
    if type(x) is not DeferredTensor:
        return x
    with _lock:
        # Another thread may have been here.
        if type(x) is not DeferredTensor:
            return x
        return _settled(x) if x.__dict__["_made"] is None else x.__dict__["_made"]


def _settled(x: DeferredTensor) -> Tensor:
    """`settle` of a tensor without numbers."""
    origin: Origin = x.__dict__["_origin"]
    made: Tensor
    if x.__dict__["_seen"] is None and _is_own(x, origin):
        made = origin.made(settle)
    else:
        made = _numbers(x)
        with torch._C.DisableTorchFunctionSubclass():
            if x.requires_grad:
                with origin.as_it_was(grad=True):
                    made = _Attached.apply(x, made)  # type: ignore[no-untyped-call]
        origin.settled = True
    # Past a tensor that was left out of another's graph no gradient must seem to be asked for.
    guarded = origin.fused and origin.wants
    out = _put(x, made, swap=not guarded and x.__dict__["_seen"] is None)
    # It may be changed from here on; what was made of it before was made of it unchanged.
    origin.make_children(settle)
    return out


def _put(x: DeferredTensor, made: Tensor, swap: bool) -> Tensor:
    """Make ``x`` what ``made`` is, or have ``made`` used in its place."""
    own = {k: v for k, v in x.__dict__.items() if k not in ("_origin", "_made", "_seen")}
    if swap:
        try:
            torch.utils.swap_tensors(x, made)  # type: ignore[no-untyped-call]
        except RuntimeError:  # somebody holds on to its memory
            pass
        else:
            x.__dict__.update(own)
            return x
    wants = x.__dict__["_origin"].wants
    x.__dict__.update(_made=made, _version=made._version if wants else None)
    return made


def _numbers(x: Any) -> Any:
    """``x``; the numbers of a `DeferredTensor`, without a graph."""
    if type(x) is not DeferredTensor:
        return x
    with _lock:
        if type(x) is not DeferredTensor:
            return x.detach()
        if x.__dict__["_made"] is not None:
            _unchanged(x)
            return _dense(x.__dict__["_made"]).detach()
        if x.__dict__["_seen"] is None:
            origin: Origin = x.__dict__["_origin"]
            with torch.no_grad():
                x.__dict__["_seen"] = _dense(origin.afresh())
        return x.__dict__["_seen"]


def _dense(x: Tensor) -> Tensor:
    return dense_of(x) if type(x) is SpikeTensor else x


def _unchanged(x: Tensor) -> None:
    """Raise if what is used in the place of ``x``, and has another graph, was changed."""
    if type(x) is not DeferredTensor or x.__dict__["_made"] is None:
        return
    version = x.__dict__["_version"]
    if version is not None and x.__dict__["_made"]._version != version:
        raise SaltationError(
            "currents or spikes that others use already were changed in place: change a clone()"
        )


def _refuse_late(function: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Raise where a gradient is asked for that no longer passes through the tensor."""
    if function in _GRADIENTS:
        asked = args[:1]
    elif function is torch.autograd.grad:
        asked = args[1:2] or (kwargs.get("inputs"),)
    else:
        return
    for x in tree_leaves(asked):
        if type(x) is DeferredTensor and x.__dict__["_origin"].fused:
            raise SaltationError(
                "the gradient of hidden currents or spikes must be asked for before the layer "
                "after the next is read: it was computed in one piece with them; call "
                "retain_grad(), register_hook() or requires_grad on them in the forward pass, or "
                "give the neurons backend='reference'"
            )


def _dropout(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor | None:
    return x if not training and 0 <= p <= 1 else None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """`linear` where the weights are ordinary tensors."""
    plain = all(type(w) in (Tensor, torch.nn.Parameter) for w in (weight, bias) if w is not None)
    return linear(x, weight, bias) if plain and not _watched() else None


_GRADIENTS = {Tensor.retain_grad, Tensor.register_hook, Tensor.grad.__get__}  # type: ignore[union-attr]
# A tensor becomes an ordinary one in several steps, of which no other thread must see a part.
_lock = threading.RLock()
# Whether it requires a gradient is asked by those who then do something with it.
_OF_THE_SHAPE = OF_THE_SHAPE - {Tensor.requires_grad.__get__}  # type: ignore[attr-defined]
_ROUTES: dict[Any, Callable[..., Tensor | None]] = {
    functional.linear: _product,
    functional.dropout: _dropout,
}
ROUTES[functional.linear] = _product
