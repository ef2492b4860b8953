"""How every loop of this room is compiled."""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numba.core import event, sigutils
from numba.core.caching import FunctionCache
from numba.extending import register_jitable

INLINE: Any = {"forceinline": True}

_log = logging.getLogger("saltation")

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """``function`` compiled at its first call, from then on read from numba's cache on disk.

    The cache is in ``$NUMBA_CACHE_DIR``, else beside this file, else, where that cannot be written,
    in the user's own cache folder. No fast-math: every operation rounds as in torch, and blocks of
    any size give the same bits.
    """
    made: Any = njit(function, nogil=True, error_model="numpy")
    # Without a folder that can be written it is compiled in every process.
    with contextlib.suppress(RuntimeError):
        made._cache = _Cache(function)
    result: F = made
    return result


class _Cache(FunctionCache):
    """numba's cache on disk, safe to be filled by several processes at once.

    numba numbers the files of a function's signatures. Two processes that compile different ones
    can take the same number, and either would read the other's from then on: a kernel with wrong
    types, or one that silently computes another scheme.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except (AttributeError, ImportError, EOFError, pickle.UnpicklingError):
            self.flush()  # written by a version whose types are no longer there, or damaged
            return None
        wanted, _ = sigutils.normalize_signature(sig)
        return found if found and tuple(found.signature.args) == tuple(wanted) else None

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # numba itself watches only the file of the kernel.
        return (*super()._index_key(sig, codegen), SOURCE)


def folder_of(function: Any) -> str:
    """Where what ``function`` is compiled to is kept; empty where nothing can be written."""
    with contextlib.suppress(RuntimeError, OSError):
        cache = _Cache(function)
        cache._impl.locator.ensure_cache_path()
        return str(cache.cache_path)
    return ""


_NO_FOLDER = "in every process; let NUMBA_CACHE_DIR name a folder that can be written"


class _FirstCompilation(event.Listener):
    """Says once per process that kernels are being compiled, for it can take seconds."""

    said = False

    def on_start(self, event: event.Event) -> None:
        dispatcher = event.data["dispatcher"]
        if self.said or not dispatcher.py_func.__module__.startswith("saltation."):
            return
        self.said = True
        folder = dispatcher.stats.cache_path
        kept = f"once; kept in {folder}" if folder else _NO_FOLDER
        line = f"compiling CPU kernels ({kept})"
        if _log.isEnabledFor(logging.INFO):
            _log.info(line)
        elif sys.stderr and (sys.stderr.isatty() or hasattr(sys, "ps1")):  # somebody is waiting
            print(f"saltation: {line}", file=sys.stderr)

    def on_end(self, event: event.Event) -> None: ...


event.register("numba:compile", _FirstCompilation())


def compiled(function: F) -> F:
    """``function`` callable from kernels; in Python it stays what it is.

    Always inlined: a call within a loop would keep it from being vectorised.
    """
    return register_jitable(**INLINE)(function)


def source_of(*files: Path) -> int:
    """A number that changes with the text of ``files``."""
    return zlib.crc32(b"".join(file.read_bytes() for file in files))


def _texts() -> list[Path]:
    """The files whose functions and types are compiled: those of kernels/cpu and the equations."""
    kernels = Path(__file__).parents[1]
    package = kernels.parents[1]
    equations = [package / f"{name}.py" for name in ("random", "surrogate")]
    return [
        *sorted(kernels.rglob("*.py")),
        *equations,
        *sorted((package / "neurons").glob("*.py")),
    ]


# Part of every key of the cache on disk, so that changed equations are compiled anew.
SOURCE = source_of(*_texts())


def f32(numbers: Any) -> Any:
    """A tuple, plain, named or nested, with its numbers rounded as torch rounds scalars."""
    if isinstance(numbers, tuple):
        rounded = map(f32, numbers)
        return type(numbers)(*rounded) if hasattr(numbers, "_fields") else tuple(rounded)
    return numbers if isinstance(numbers, bool) else np.float32(numbers)
