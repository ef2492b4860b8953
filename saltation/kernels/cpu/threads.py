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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

_HOME = os.getpid()


@functools.cache
def _openmp() -> Any:
    """torch's GNU OpenMP library, or None."""
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "GOMP_parallel"):
            return library
    return None


_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _in_region(library: Any, pieces: Sequence[Callable[[], None]]) -> None:
    """Run the pieces in a parallel region of as many threads."""
    errors: list[BaseException] = []

    def body(_: Any) -> None:
        try:
            # Fewer threads than asked for come where the user's settings limit them.
            mine, team = library.omp_get_thread_num(), library.omp_get_num_threads()
            for piece in pieces[mine::team]:
                piece()
        except BaseException as error:
            errors.append(error)

    library.GOMP_parallel(_REGION(body), None, len(pieces), 0)
    if errors:
        raise errors[0]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of one process."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="saltation")


def _in_pool(pieces: Sequence[Callable[[], None]]) -> None:
    others = [_pool(os.getpid()).submit(piece) for piece in pieces[1:]]
    pieces[0]()
    for other in others:
        other.result()


def spread(loop: Callable[..., None], size: int, *arguments: Any, least: int) -> None:
    """Call ``loop(start, stop, *arguments)`` over ``range(size)`` in one piece per torch thread.

    Pieces shorter than ``least`` are not worth a thread. Results must not depend on the pieces.
    """
    count = max(1, min(torch.get_num_threads(), size // least))
    if count == 1:
        loop(0, size, *arguments)
        return
    bounds = [size * i // count for i in range(count + 1)]
    pieces = [
        functools.partial(loop, start, stop, *arguments)
        for start, stop in itertools.pairwise(bounds)
    ]
    library = _openmp() if os.getpid() == _HOME else None
    if library is None:
        _in_pool(pieces)
    else:
        _in_region(library, pieces)
