"""Choice of the time loop: the only file that names backends.

A kernel says what it cannot do (`Kernel.refuses`); ``auto`` takes the first that can, in the order
of `KERNELS`; a backend asked for by name raises with its reason instead of falling back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from saltation.errors import SaltationError, choose
from saltation.kernels import reference
from saltation.kernels.reference import Trace
from saltation.neurons.base import Neuron, Spike

Refusal = Callable[[Neuron, Spike, Tensor, bool], str | None]


@dataclass(frozen=True)
class Kernel:
    """A time loop of the signature of `reference.run`.

    Attributes
    ----------
    name
        The backend, as users write it.
    refuses
        ``(neuron, spike, x, record) -> reason`` why the kernel cannot run this, or None.
    run
        ``(neuron, spike, x, state, record) -> Trace``.
    """

    name: str
    refuses: Refusal
    run: Callable[[Neuron, Spike, Tensor, Any, bool], Trace]


def _never(neuron: Neuron, spike: Spike, x: Tensor, record: bool) -> str | None:
    return None


KERNELS: dict[str, Kernel] = {"reference": Kernel("reference", _never, reference.run)}

BACKENDS = ("auto", *KERNELS)


def resolve(
    backend: str, neuron: Neuron, spike: Spike, x: Tensor, record: bool = False
) -> tuple[Kernel, str]:
    """The kernel that runs this request, and why.

    Raises
    ------
    SaltationError
        If ``backend`` is unknown, or named and unable; the message gives the kernel's reason.
    """
    choose("backend", backend, BACKENDS)
    if backend != "auto":
        reason = KERNELS[backend].refuses(neuron, spike, x, record)
        if reason:
            raise SaltationError(f"backend '{backend}' cannot run this: {reason}")
        return KERNELS[backend], "asked for"
    reasons: list[str] = []
    for kernel in KERNELS.values():
        reason = kernel.refuses(neuron, spike, x, record)
        if reason is None:
            return kernel, "; ".join(reasons) or "first choice"
        reasons.append(f"{kernel.name}: {reason}")
    raise SaltationError(f"no backend can run this ({'; '.join(reasons)})")


def run(
    backend: str, neuron: Neuron, spike: Spike, x: Tensor, state: Any, record: bool = False
) -> Trace:
    """Run ``neuron`` over ``x`` of ``[T, B, ...]`` from ``state`` with the kernel for it."""
    kernel, _ = resolve(backend, neuron, spike, x, record)
    return kernel.run(neuron, spike, x, state, record)
