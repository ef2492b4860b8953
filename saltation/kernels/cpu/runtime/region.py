"""A loop's pieces on the threads of OpenMP, with nothing of Python in between.

A piece that is called from Python has to wait for its lock first, and to be woken when that is
free: some 50 us, which is as long as a small loop takes. Here compiled code opens the parallel
region, and its threads run the loop, which is compiled as a part of it.
"""

from __future__ import annotations

import ctypes
import functools
from types import FunctionType
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime.jit import kernel, part_of
from saltation.kernels.cpu.runtime.simd import constant

_I32, _I64, _POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
_NUMBER = ir.FunctionType(_I32, [])
_BODY = ir.FunctionType(ir.VoidType(), [_POINTER])
_REGION = ir.FunctionType(ir.VoidType(), [_BODY.as_pointer(), _POINTER, _I32, _I32])
_CALLED = {
    "GOMP_parallel": _REGION,
    "omp_get_thread_num": _NUMBER,
    "omp_get_num_threads": _NUMBER,
}


def link(library: ctypes.CDLL) -> None:
    """Let compiled code call this OpenMP library; before any `team_of` is called."""
    for name in _CALLED:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        binding.add_symbol(_symbol(name), address)


def _symbol(name: str) -> str:
    """A name of our own: the process may hold another library with the same functions."""
    return f"saltation_{name}"


@functools.cache
def team_of(loop: Any) -> Any:
    """``call(size, pieces, *arguments)``, which calls the kernel ``loop(start, stop, *arguments)``
    for equal pieces of ``range(size)``, each on a thread of its own if there are so many."""
    template, original = _team.__code__, loop.py_func
    # Its name and place are the loop's, by which numba finds it on disk.
    code = template.replace(
        co_filename=original.__code__.co_filename,
        co_firstlineno=original.__code__.co_firstlineno,
    )
    function = FunctionType(code, {"_loop": loop, "_in_region": _in_region}, "team")
    function.__module__ = original.__module__
    function.__qualname__ = f"{original.__qualname__}.team"
    return kernel(function)


def _loop(start: int, stop: int, *arguments: Any) -> None:
    """In whose place `team_of` puts the loop."""
    raise NotImplementedError


def _team(size: int, pieces: int, *arguments: Any) -> None:
    _in_region(_loop, size, pieces, arguments)


def _generate_region(typing: Any, loop: Any, size: Any, pieces: Any, arguments: Any) -> Any:
    i64 = types.int64
    inner = types.void(i64, i64, *arguments)
    signature = types.void(loop, i64, i64, arguments)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        compiled = part_of(typing, loop.dispatcher.py_func, inner.args)
        context.active_code_library.add_linking_library(compiled.library)
        module = builder.module

        def call(builder: Any, name: str, arguments: Any) -> Any:
            kind = _CALLED[name]
            function = cgutils.get_or_insert_function(module, kind, _symbol(name))
            return builder.call(function, arguments)

        shared = cgutils.alloca_once_value(builder, cgutils.pack_struct(builder, given[1:]))
        body = ir.Function(module, _BODY, module.get_unique_name("region"))
        body.linkage = "internal"
        inside = ir.IRBuilder(body.append_basic_block("entry"))
        found = inside.load(inside.bitcast(body.args[0], shared.type))
        size, pieces, packed = cgutils.unpack_tuple(inside, found)
        # Fewer threads than asked for come where the user's settings limit them.
        mine, team = (
            inside.sext(call(inside, name, []), _I64)
            for name in ("omp_get_thread_num", "omp_get_num_threads")
        )
        with cgutils.for_range_slice(inside, mine, pieces, team) as (number, _):
            ends = (number, inside.add(number, constant(1)))
            bounds = [inside.sdiv(inside.mul(size, end), pieces) for end in ends]
            passed = [*bounds, *cgutils.unpack_tuple(inside, packed)]
            # Kernels raise nothing, so that what they return is not looked at.
            context.call_internal_no_propagate(inside, compiled.fndesc, inner, passed)
            [called] = [i for i in inside.block.instructions if isinstance(i, ir.CallInstr)]
            called.attributes.add("noinline")  # a second copy would only take time to compile
        inside.ret_void()
        count, none = builder.trunc(given[2], _I32), ir.Constant(_I32, 0)
        call(builder, "GOMP_parallel", [body, builder.bitcast(shared, _POINTER), count, none])
        return context.get_dummy_value()

    return signature, generate


_in_region: Any = intrinsic(_generate_region)
