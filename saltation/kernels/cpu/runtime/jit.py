"""How every loop of this room is compiled."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import pickle
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numba import njit, types
from numba.core import compiler, event, sigutils
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing.templates import infer, infer_global, make_intrinsic_template

_log = logging.getLogger("saltation")

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """``function`` compiled at its first call, from then on read from numba's cache on disk.

    The cache is in ``$NUMBA_CACHE_DIR``, else beside this file, else, where that cannot be written,
    in the user's own cache folder. No fast-math: every operation rounds as in torch, and blocks of
    any size give the same bits.
    """
    options: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    made: Any = njit(function, **options)
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


def _is_ours(event: event.Event) -> bool:
    """Whether a function of this package is compiled, not a user's."""
    module: str = event.data["dispatcher"].py_func.__module__
    return module.startswith("saltation.")


class _FirstCompilation(event.Listener):
    """Says once per process that kernels are being compiled, for it can take seconds."""

    said = False

    def on_start(self, event: event.Event) -> None:
        if self.said or not _is_ours(event):
            return
        self.said = True
        folder = event.data["dispatcher"].stats.cache_path
        kept = f"once; kept in {folder}" if folder else _NO_FOLDER
        line = f"compiling CPU kernels ({kept})"
        if _log.isEnabledFor(logging.INFO):
            _log.info(line)
        elif sys.stderr and (sys.stderr.isatty() or hasattr(sys, "ps1")):  # somebody is waiting
            print(f"saltation: {line}", file=sys.stderr)

    def on_end(self, event: event.Event) -> None: ...


class _Uncollected(event.Listener):
    """Puts off Python's search for garbage while a kernel is compiled.

    What a compilation makes sets it off again and again, and every time it goes through all that
    torch and the compiler hold: two fifths of the time of a first training step. numba's lock is
    held between start and end.
    """

    def __init__(self) -> None:
        self._within: list[bool] = []

    def on_start(self, event: event.Event) -> None:
        if _is_ours(event):
            self._within.append(gc.isenabled())
            gc.disable()

    def on_end(self, event: event.Event) -> None:
        if _is_ours(event) and self._within.pop():
            gc.enable()


event.register("numba:compile", _FirstCompilation())
event.register("numba:compile", _Uncollected())


def compiled(function: F) -> F:
    """``function`` callable from kernels; in Python it stays what it is.

    Always inlined: a call within a loop would keep it from being vectorised.
    """
    return _within_kernels(function, inline=True)


def subroutine(function: F) -> F:
    """As `compiled`, but inlined only where LLVM thinks it worth its size."""
    return _within_kernels(function, inline=False)


def _within_kernels(function: F, *, inline: bool) -> F:
    """As numba's `register_jitable`, in less time.

    numba would make machine code and two wrappers for each function that it compiles, also for
    those that nobody calls but other kernels.
    """
    known: dict[Any, Any] = {}

    def generic(typing: Any, *arguments: Any) -> Any:
        if arguments not in known:
            known[arguments] = part_of(typing, function, arguments, inline=inline)
        part = known[arguments]

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            context.active_code_library.add_linking_library(part.library)
            return context.call_internal(builder, part.fndesc, signature, values)

        return part.signature, generate

    parameters = list(inspect.signature(function).parameters.values())
    typing = inspect.Parameter("typing", inspect.Parameter.POSITIONAL_ONLY)
    generic.__signature__ = inspect.Signature([typing, *parameters])  # type: ignore[attr-defined]
    template = make_intrinsic_template(function, generic, function.__name__)
    infer(template)
    infer_global(function, types.Function(template))
    return function


class _PartLibrary(JITCodeLibrary):
    """Code that is linked into other code, and there optimised with it and made machine code of.

    numba would do both here too, which is most of what compiling takes.
    """

    def _optimize_final_module(self) -> None: ...

    def _finalize_final_module(self) -> None:
        self._finalized = True


def part_of(typing: Any, function: Any, arguments: Any, *, inline: bool = False) -> Any:
    """``function`` for these types, to be linked into what calls it."""
    flags: Any = compiler.Flags()
    flags.nrt, flags.error_model, flags.forceinline = True, "numpy", inline
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    with global_compiler_lock:
        target = cpu_target.target_context
        library = _PartLibrary(target.codegen(), function.__name__)
        return compiler.compile_internal(
            typing, target, library, function, arguments, None, flags, {}
        )


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
