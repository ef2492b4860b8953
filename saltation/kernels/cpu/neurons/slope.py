"""The derivatives of `saltation.surrogate` for compiled loops."""

from __future__ import annotations

from typing import Any

from saltation.kernels.cpu.runtime.jit import f32
from saltation.surrogate import SLOPES, Surrogate


def slope_numbers(spike: Any) -> Any:
    """The numbers of a surrogate's derivative in float32; None where it has no compiled form."""
    if not isinstance(spike, Surrogate) or type(spike).derivative is not Surrogate.derivative:
        return None
    return f32(spike.numbers)


def slope(u: Any, n: Any) -> Any:
    """The derivative whose numbers ``n`` are, at ``u``."""
    return SLOPES[type(n)](u, n)
