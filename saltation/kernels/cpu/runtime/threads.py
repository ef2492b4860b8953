"""How the work of a compiled loop is spread over threads: those of torch, where they can be had.

After every parallel operation torch's threads wait for the next one without giving up their core,
for milliseconds, and threads of anybody else share what is left. So our loops run on the very same
threads, through the library of torch's that owns them (GNU OpenMP, on Linux). Elsewhere, and in a
forked child, whose parent's threads are gone, they run on a small pool of our own. numba's own
``parallel`` is not used: its only layer that is always there aborts the process when two Python
threads use it at once, and the choice of layer belongs to the user's program.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from numba.core.dispatcher import Dispatcher

from saltation.kernels.cpu.runtime import region

_HOME = os.getpid()


@functools.cache
def _openmp() -> Any:
    """torch's GNU OpenMP library, which compiled code can then call, or None."""
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "GOMP_parallel"):
            region.link(library)
            return library
    return None


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="saltation")


def _in_pool(loop: Callable[..., None], size: int, count: int, arguments: Any) -> None:
    bounds = [size * i // count for i in range(count + 1)]
    first, *others = itertools.pairwise(bounds)
    waited_for = [_pool(os.getpid()).submit(loop, *piece, *arguments) for piece in others]
    loop(*first, *arguments)
    for other in waited_for:
        other.result()


def spread(loop: Callable[..., None], size: int, *arguments: Any, least: int) -> None:
    """Call ``loop(start, stop, *arguments)`` over ``range(size)`` in one piece per torch thread.

    Pieces shorter than ``least`` are not worth a thread. Results must not depend on the pieces.
    """
    count = max(1, min(torch.get_num_threads(), size // least))
    if isinstance(loop, Dispatcher) and os.getpid() == _HOME and _openmp() is not None:
        # Also for one piece, so that the loop is compiled once.
        region.team_of(loop)(size, count, *arguments)
    elif count == 1:
        loop(0, size, *arguments)
    else:
        _in_pool(loop, size, count, arguments)
