"""Choice of the loop that runs. Beside the other files of dispatch it alone names backends.

A time loop says what it cannot do (`Kernel.refuses`); ``auto`` takes the first that can, in the
order of `KERNELS`; a backend asked for by name raises with its reason instead of falling back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from saltation.errors import SaltationError, choose
from saltation.kernels import reference
from saltation.kernels.cpu.neurons import loop as cpu_loop
from saltation.kernels.cpu.neurons import operator
from saltation.kernels.cpu.runtime import buffers
from saltation.kernels.events import Events, SpikeTensor, dense_of, events_of, settled
from saltation.kernels.gpu import loop as gpu_loop
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.recurrent import run as recurrent_reference
from saltation.kernels.reference import Trace
from saltation.kernels.support import has_tangents, lacks, unfit, with_tangent
from saltation.neurons.base import Neuron, Spike

_log = logging.getLogger("saltation")
_said: set[tuple[str, str]] = set()

R = TypeVar("R")
Refusal = Callable[[Neuron, Spike, Tensor, Any, bool], str | None]


@dataclass(frozen=True)
class Kernel:
    """A time loop of the signature of `reference.run`.

    Attributes
    ----------
    name
        The backend, as users write it.
    refuses
        ``(neuron, spike, x, state, record) -> reason`` why the kernel cannot run this, or None.
    run
        ``(neuron, spike, x, state, record) -> Trace``.
    device
        The type of device that it is for, or None for any.
    absent
        ``() -> reason`` why it can run nothing on this machine, or None.
    """

    name: str
    refuses: Refusal
    run: Callable[[Neuron, Any, Tensor, Any, bool], Trace]
    device: str | None = None
    absent: Callable[[], str | None] = lambda: None


def _never(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool) -> str | None:
    return None


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel("cpu", cpu_loop.refuses, cpu_loop.run, "cpu"),
        Kernel("triton", gpu_loop.refuses, gpu_loop.run, "cuda", gpu_loop.absent),
        Kernel("reference", _never, reference.run),
    )
}

BACKENDS = ("auto", *KERNELS)

FIRST, ASKED = "first choice", "asked for"  # reasons for a kernel that need no explanation


def resolve(
    backend: str,
    neuron: Neuron,
    spike: Spike,
    x: Tensor,
    state: Any = None,
    record: bool = False,
) -> tuple[Kernel, str]:
    """The kernel that runs this request, and why; without a state, from rest.

    Raises
    ------
    SaltationError
        If ``backend`` is unknown, or named and unable; the message gives the kernel's reason.
    """
    choose("backend", backend, BACKENDS)
    if backend != "auto":
        reason = KERNELS[backend].refuses(neuron, spike, x, state, record)
        if reason:
            raise SaltationError(f"backend '{backend}' cannot run this: {reason}")
        return KERNELS[backend], ASKED
    reasons: list[str] = []
    for kernel in _meant_for(x.device.type):
        reason = kernel.refuses(neuron, spike, x, state, record)
        if reason is None:
            if not reasons:
                return kernel, FIRST
            why = "; ".join(reasons)
            _say(f"{neuron.title} runs in the {kernel.name} loop", why)
            return kernel, why
        reasons.append(f"{kernel.name}: {reason}")
    raise SaltationError(f"no backend can run this ({'; '.join(reasons)})")


def _meant_for(device: str) -> list[Kernel]:
    """The kernels for that type of device; all of them where none is for it alone."""
    kernels = list(KERNELS.values())
    own = [kernel for kernel in kernels if kernel.device in (None, device)]
    return own if any(kernel.device for kernel in own) else kernels


def _say(what: str, why: str) -> None:
    """Log what runs elsewhere than in the first choice, once for every reason."""
    if torch.compiler.is_compiling() or not _log.isEnabledFor(logging.DEBUG):
        return
    if (what, why) not in _said:
        _said.add((what, why))
        _log.debug("%s: %s", what, why)


def in_words(choice: tuple[Kernel, str]) -> str:
    """What `resolve` returned: the kernel's name, and where it is not the first choice, why."""
    kernel, reason = choice
    return kernel.name if reason in (FIRST, ASKED) else f"{kernel.name} ({reason})"


def run(
    backend: str, neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool = False
) -> Trace:
    """Run ``neuron`` over ``x`` of ``[T, B, ...]`` from ``state`` with the kernel for it."""
    kernel, _ = resolve(backend, neuron, spike, x, state, record)
    return kernel.run(neuron, spike, x, state, record)


def operator_key(neuron: Any, spike: Any) -> operator.Key | None:
    """What `run_captured` needs to know of neuron and surrogate; None where it cannot run."""
    return operator.key_of(neuron, spike)


def is_key_of(key: operator.Key, neuron: Any, spike: Any) -> bool:
    """Whether neuron and surrogate still are what the key was made of."""
    return operator.is_key_of(key, neuron, spike)


def run_captured(key: str, neuron: Neuron, x: Tensor, state: Any) -> Trace | None:
    """`run` as one node of a graph that torch.compile captures, or None where it cannot be."""
    if any(part.device.type != "cpu" or part.dtype != torch.float32 for part in (x, *state)):
        return None
    spikes, *last = operator.neuron_loop(x, list(state), key)
    return Trace(spikes, neuron.State(*last))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, events: Events | None = None) -> Tensor:
    """`torch.nn.functional.linear`; on a CPU its cost follows the spikes where ``x`` is sparse.

    ``events`` are those of ``x``, where they are known.
    """
    x = settled(x)
    events = sparse_events(x, weight, bias) if events is None else events
    if events is not None:
        from saltation.kernels.cpu.linear import product

        out = unless_not_finite(product.linear, x, events, weight, bias)
        if out is not None:
            return out
    return functional.linear(dense_of(x) if type(x) is SpikeTensor else x, weight, bias)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: str | tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """`torch.nn.functional.conv2d`; on a CPU its cost follows the spikes where ``x`` is sparse."""
    given = [part for part in (x, weight, bias) if part is not None]
    same = weight.shape[2:] == (3, 3) and padding in ("same", (1, 1))
    plain = same and stride == dilation == (1, 1) and groups == 1 and x.ndim == 4
    if plain and has_tangents() and bias is None and not _elsewhere():
        pair = with_tangent(x, weight)
        if pair is not None:
            from saltation.kernels.cpu.conv import product as conv  # imports numba

            return _dual(*conv.of_both(*pair, weight))
    if plain and not _elsewhere() and not lacks(torch.float32, *given):
        from saltation.kernels.cpu.conv import product as conv  # imports numba

        out = conv.run(x, weight, bias)
        return conv.dense(x, weight, bias) if out is None else out
    return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


def pooled(x: Tensor) -> Tensor | None:
    """Means of windows of 2x2 of ``[N, C, H, W]``; None where no kernel can, as for channels that
    do not come last in memory."""
    if _elsewhere() or x.ndim != 4 or min(x.shape[2:]) < 2 or unfit(torch.float32, x):
        return None
    if x.shape[1] % 16 or not x.is_contiguous(memory_format=torch.channels_last):
        return None
    from saltation.kernels.cpu.conv import pooling  # imports numba

    if not has_tangents():
        return pooling.pooled(x)
    pair = with_tangent(x)
    return None if pair is None else _dual(*pooling.pooled_both(*map(_last, pair)))


def _last(x: Tensor) -> Tensor:
    """``x`` [N, C, H, W] with channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def _dual(value: Tensor, tangent: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        made: Tensor = forward_ad.make_dual(value, tangent)  # type: ignore[no-untyped-call]
        return made


def batch_norm_of_both(x: Tensor, together: bool, norm: nn.BatchNorm2d) -> Tensor | None:
    """``x`` [T, B, C, H, W], which has a tangent, normalised by the statistics of every step or of
    all ``together``, which nobody counts; None where no kernel can, as for channels that do not
    come last in memory."""
    pair = None if _elsewhere() or x.ndim != 5 else with_tangent(x, norm.weight, norm.bias)
    if pair is None:
        return None
    steps, samples, channels, height, width = x.shape
    last = [part.permute(0, 1, 3, 4, 2) for part in pair]
    if not all(part.is_contiguous() for part in last):
        return None
    from saltation.kernels.cpu.neurons import carried_norm  # imports numba

    groups = 1 if together else steps
    values, tangents = (part.reshape(groups, -1, channels) for part in last)
    found = carried_norm.run(values, tangents, norm.weight, norm.bias, norm.eps)
    shape = steps, samples, height, width, channels
    return _dual(*(part.view(shape).permute(0, 1, 4, 2, 3) for part in found))


def normalised(
    x: Tensor, steps: int, together: bool, norm: nn.BatchNorm2d, neuron: Neuron, spike: Spike
) -> tuple[Tensor, Any] | None:
    """Spikes ``[T, B, C, H, W]`` of ``neuron`` behind ``norm`` in training, and the statistics of
    every step or of all ``together``; None where no kernel can, as for channels that do not come
    last in memory. Currents ``x`` are [T, B, C, H, W], or [1, B, C, H, W] if all steps are."""
    last = x.permute(0, 1, 3, 4, 2)
    rows, channels = last[0, ..., 0].numel(), x.shape[2]
    if _elsewhere() or rows < 2 or channels % 16 or not last.is_contiguous():
        return None
    if lacks(torch.float32, norm.weight, norm.bias):
        return None
    if cpu_loop.refuses(neuron, spike, x, None, False) or neuron.tensors:
        return None
    from saltation.kernels.cpu.neurons import behind_norm  # imports numba

    affine = norm.weight, norm.bias, norm.eps
    return behind_norm.run(x, steps, together, *affine, neuron, spike)


def _elsewhere() -> bool:
    """Whether torch itself decides how products are computed."""
    return torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")


def usable(weight: Tensor, bias: Tensor | None) -> bool:
    """Whether compiled products can be used with these weights, here and now."""
    given = (weight,) if bias is None else (weight, bias)
    return not (_elsewhere() or lacks(torch.float32, *given))


def copied(weight: Tensor) -> Tensor:
    """A copy of a weight that is `usable`."""
    return buffers.copied(weight)


def unless_not_finite(kernel: Callable[..., R], *arguments: Any) -> R | None:
    """What ``kernel`` returns; None where its result would hide numbers that are not finite."""
    from saltation.kernels.cpu.runtime.finite import NotFinite  # imports numba

    try:
        return kernel(*arguments)
    except NotFinite:
        return None


def sparse_events(x: Tensor, weight: Tensor, *parts: Tensor | None) -> Events | None:
    """The spikes ``x`` as events, if the compiled products with them can be used and would pay."""
    events = known_events(x, weight, *parts)
    # Without bits no derivative can follow.
    if events is None or not events.has_bits:
        return None
    from saltation.kernels.cpu.events import scan  # imports numba

    return events if scan.sparse_enough(events.density, len(weight)) else None


def known_events(x: Tensor, weight: Tensor, *parts: Tensor | None) -> Events | None:
    """The spikes ``x`` as events, if compiled products with them can be used."""
    given = (weight, *(part for part in parts if part is not None))
    if _elsewhere() or lacks(torch.float32, *given):
        return None
    if type(x) is not SpikeTensor and (lacks(torch.float32, x) or x.ndim < 3):
        return None
    from saltation.kernels.cpu.events import scan  # imports numba

    events = events_of(x) if isinstance(x, SpikeTensor) else scan.scan(x, len(weight))
    return None if events is None or events.shape[2] != weight.shape[1] else events


def recurrent(
    backend: str,
    neuron: Neuron,
    spike: Spike,
    x: Tensor,
    feedback: Feedback,
    state: RecurrentState,
    record: bool = False,
    memory: str = "store",
) -> Trace:
    """Run ``neuron`` over ``x`` of ``[T, B, F]``, its spikes fed back, with the kernel for it.

    Raises
    ------
    SaltationError
        If ``backend`` is named and unable; the message gives the reason.
    """
    kernel, _ = resolve(backend, neuron, spike, x, state.neuron, record)
    if kernel.name == "reference":
        return recurrent_reference(neuron, spike, x, feedback, state, record)
    parts = (feedback.weight, state.spikes, feedback.bias)
    given = (part for part in parts if part is not None)
    reason = lacks(torch.float32, *given, device=x.device.type)
    if kernel.name == "triton" and reason is None:
        from saltation.kernels.gpu import recurrent as printed

        return printed.run(neuron, spike, x, feedback, state)
    if torch.is_autocast_enabled("cpu"):
        reason = "it takes no part in autocast"
    if reason is None:
        from saltation.kernels.cpu.recurrent import loop as compiled  # imports numba

        return compiled.run(neuron, spike, x, feedback, state, memory)  # type: ignore[arg-type]
    if backend == kernel.name:
        raise SaltationError(f"backend '{backend}' cannot run this: {reason}")
    _say(f"recurrent {neuron.title} runs in the reference loop", reason)
    return recurrent_reference(neuron, spike, x, feedback, state, record)
