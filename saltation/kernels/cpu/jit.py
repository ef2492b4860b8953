"""How every loop of this room is compiled, and how its work is spread over threads.

Threads are a small pool of our own that calls compiled functions without the interpreter's lock,
not numba's ``parallel``: its only layer that is always there aborts the process when two Python
threads use it at once, and the choice of layer belongs to the user's program.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from numba import njit
from numba.extending import register_jitable

INLINE: Any = {"forceinline": True}

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """``function`` compiled at its first call, from then on read from numba's cache on disk.

    No fast-math: every operation rounds as in torch, and blocks of any size give the same bits.
    """
    options: Any = {"nogil": True, "error_model": "numpy"}
    try:
        return njit(function, cache=True, **options)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder that numba can write to
        return njit(function, **options)  # type: ignore[no-any-return]


def compiled(function: F) -> F:
    """``function`` callable from kernels; in Python it stays what it is.

    Always inlined: a call within a loop would keep it from being vectorised.
    """
    return register_jitable(**INLINE)(function)


def source_of(*modules: ModuleType) -> int:
    """A number that changes with the text of ``modules``.

    The disk cache watches only the file of the kernel itself. As the default of an argument this
    number is part of the compiled signature, so that changed equations are compiled anew.
    """
    return zlib.crc32("".join(map(inspect.getsource, modules)).encode())


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process; a forked child, whose parent's threads are gone, gets its own."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="saltation")


def spread(loop: Callable[..., None], size: int, *arguments: Any, least: int) -> None:
    """Call ``loop(start, stop, *arguments)`` over ``range(size)`` in one piece per torch thread.

    Pieces shorter than ``least`` are not worth a thread. Results must not depend on the pieces.
    """
    pieces = max(1, min(torch.get_num_threads(), size // least))
    bounds = [size * i // pieces for i in range(pieces + 1)]
    others = [
        _pool(os.getpid()).submit(loop, start, stop, *arguments)
        for start, stop in itertools.pairwise(bounds[1:])
    ]
    loop(bounds[0], bounds[1], *arguments)
    for other in others:
        other.result()


def f32(numbers: Any) -> Any:
    """A tuple, plain, named or nested, with its numbers rounded as torch rounds scalars."""
    if isinstance(numbers, tuple):
        rounded = map(f32, numbers)
        return type(numbers)(*rounded) if hasattr(numbers, "_fields") else tuple(rounded)
    return numbers if isinstance(numbers, bool) else np.float32(numbers)
