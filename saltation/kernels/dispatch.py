"""Choice of the loop that runs: the only file that names backends.

A time loop says what it cannot do (`Kernel.refuses`); ``auto`` takes the first that can, in the
order of `KERNELS`; a backend asked for by name raises with its reason instead of falling back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from saltation.errors import SaltationError, choose
from saltation.kernels import reference, sampling
from saltation.kernels.cpu import loop as cpu_loop
from saltation.kernels.cpu.support import lacks
from saltation.kernels.reference import Trace
from saltation.neurons.base import Neuron, Spike

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
    """

    name: str
    refuses: Refusal
    run: Callable[[Neuron, Any, Tensor, Any, bool], Trace]


def _never(neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool) -> str | None:
    return None


KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        Kernel("cpu", cpu_loop.refuses, cpu_loop.run),
        Kernel("reference", _never, reference.run),
    )
}

BACKENDS = ("auto", *KERNELS)


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
        return KERNELS[backend], "asked for"
    reasons: list[str] = []
    for kernel in KERNELS.values():
        reason = kernel.refuses(neuron, spike, x, state, record)
        if reason is None:
            return kernel, "; ".join(reasons) or "first choice"
        reasons.append(f"{kernel.name}: {reason}")
    raise SaltationError(f"no backend can run this ({'; '.join(reasons)})")


def run(
    backend: str, neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool = False
) -> Trace:
    """Run ``neuron`` over ``x`` of ``[T, B, ...]`` from ``state`` with the kernel for it."""
    kernel, _ = resolve(backend, neuron, spike, x, state, record)
    return kernel.run(neuron, spike, x, state, record)


def bernoulli_trains(
    threshold: Tensor,
    steps: int,
    index: Tensor,
    dtype: torch.dtype,
    *,
    seed: int,
    epoch: int,
    stream: int,
) -> Tensor:
    """`sampling.bernoulli_trains` as numbers 0 and 1 of ``dtype``, ``[T, B, F]``."""
    draw = {"seed": seed, "epoch": epoch, "stream": stream}
    if dtype != torch.float32 or lacks(torch.int64, threshold, index):
        return sampling.bernoulli_trains(threshold, steps, index, **draw).to(dtype)
    from saltation.kernels.cpu import poisson  # imports numba

    spikes: Tensor = poisson.bernoulli_trains(threshold, steps, index, **draw)
    return spikes


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`; on a CPU its cost follows the spikes where ``x`` is sparse."""
    parts = (x, weight) if bias is None else (x, weight, bias)
    if (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or x.shape[-1:] != weight.shape[1:]
        or lacks(torch.float32, *parts)
    ):
        return functional.linear(x, weight, bias)
    from saltation.kernels.cpu import events  # imports numba

    return events.linear(x, weight, bias)
