"""Whether a study fits into the machine's memory, told before it begins."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

from saltation.errors import ConfigError

FLOAT = 4
"""Bytes of a number."""
LEARNED = 2 * FLOAT
"""Bytes of a weight in training: itself and its gradient, whatever the optimiser adds."""
PROCESS = 200 << 20
"""Bytes that a process takes with torch and the package in it, at the least."""

# Where control groups (containers, clusters) state the memory that this process may take.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_of(device: torch.device) -> int:
    """Bytes of a GPU, or those that processes of this machine may take; 0 where nobody knows."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    found = []
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not everywhere
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max", or no such group
            found.append(int(Path(limit).read_text()))
    return min(found, default=0)


def require_memory(needed: float, device: torch.device, settings: str) -> None:
    """See whether the machine has so much memory.

    Parameters
    ----------
    needed
        Bytes, at the least.
    device
        Of which memory.
    settings
        Names and values that it follows from.

    Raises
    ------
    ConfigError
        If it has less.
    """
    there = memory_of(device)
    if there and needed > there:
        where = "the GPU" if device.type == "cuda" else "this machine"
        raise ConfigError(
            f"{settings} need at least {_shown(needed)} of memory, more than the {_shown(there)} "
            f"that {where} has"
        )


def _shown(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
