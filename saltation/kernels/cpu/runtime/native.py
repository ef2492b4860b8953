"""Generated code that is compiled by LLVM itself and called by its address.

numba would compile whatever calls such a loop anew for every loop. Called by address, a loop costs
its own compilation alone, and once: its object code is kept on disk beside numba's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import llvmlite
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from saltation.kernels.cpu.runtime import jit
from saltation.kernels.cpu.runtime.simd import check

_I64 = ir.IntType(64)
SIGNATURE = ir.FunctionType(ir.VoidType(), [_I64.as_pointer()])  # of every loop: a packed frame
_DIGEST = 32  # bytes of a SHA-256

_lock = threading.RLock()
_loaded: dict[str, int] = {}  # addresses by key


class _Engine:
    """What compiles for this machine, and holds what was compiled as long as the process lives."""

    def __init__(self) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        self._cpu, self._features = binding.get_host_cpu_name(), get_host_cpu_features()
        target = binding.Target.from_triple(binding.get_process_triple())
        self._machine = target.create_target_machine(
            self._cpu,
            self._features,
            opt=3,
            reloc="static" if target.name.startswith("x86") else "default",  # as numba
            codemodel="jitdefault",
            jit=True,
        )
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), self._machine)

    def key(self, text: str) -> str:
        """Different for whatever would be compiled to other code."""
        parts = text, self._cpu, self._features, llvmlite.__version__, binding.llvm_version_info
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def compile(self, text: str) -> bytes:
        """Object code of a module."""
        module = binding.parse_assembly(text)
        module.verify()
        options = binding.create_pipeline_tuning_options(speed_level=3)
        builder = binding.create_pass_builder(self._machine, options)
        builder.getModulePassManager().run(module, builder)
        code: bytes = self._machine.emit_object(module)
        return code

    def load(self, code: bytes, name: str) -> int:
        """Address of the function ``name`` in object code."""
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        return int(self._engine.get_function_address(name))


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def address_of(module: ir.Module) -> int:
    """Where the only function of ``module`` that can be called, ``loop``, lies once compiled."""
    with _lock:
        text = str(module)
        key = _engine().key(text)
        if key not in _loaded:
            _loaded[key] = _made(text, f"loop_{key}")
        return _loaded[key]


def _made(text: str, name: str) -> int:
    """Address of the function, which gets a name of its own: the engine tells them apart by it."""
    file = Path(_folder()) / f"{name}.obj" if _folder() else None
    code = _read(file) if file else None
    if code is None:
        code = _engine().compile(text.replace('@"loop"', f'@"{name}"'))
        if file:
            _write(file, code)
    return _engine().load(code, name)


@functools.cache
def _folder() -> str:
    """Where numba keeps what it compiled; empty where nothing can be written."""
    return jit.folder_of(address_of)


def _read(file: Path) -> bytes | None:
    """What `_write` wrote; None if there is nothing, or it is not whole."""
    try:
        whole = file.read_bytes()
    except OSError:
        return None
    digest, code = whole[:_DIGEST], whole[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(file: Path, code: bytes) -> None:
    """Keep it, so that no other process sees a part of it."""
    with contextlib.suppress(OSError):  # a full disk only costs a compilation
        number, name = tempfile.mkstemp(dir=file.parent)
        try:
            with os.fdopen(number, "wb") as out:
                out.write(hashlib.sha256(code).digest() + code)
            Path(name).replace(file)
        except OSError:
            Path(name).unlink()
            raise


def _generate_call(typing: Any, address: Any, frame: Any) -> Any:
    """Calls the loop at ``address`` with ``frame``, a tuple of int64."""
    signature = types.void(types.int64, frame)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, frame = arguments
        given = zip(cgutils.unpack_tuple(builder, frame), signature.args[1], strict=True)
        values = [context.cast(builder, value, kind, types.int64) for value, kind in given]
        place = cgutils.alloca_once(builder, ir.ArrayType(_I64, len(values)))
        for number, value in enumerate(values):
            builder.store(value, cgutils.gep_inbounds(builder, place, 0, number))
        function = builder.inttoptr(address, SIGNATURE.as_pointer())
        builder.call(function, [cgutils.gep_inbounds(builder, place, 0, 0)])
        return context.get_dummy_value()

    return signature, generate


call: Any = intrinsic(_generate_call)


def _pointer(dtype: Any) -> Any:
    """Gives the address of a number of a C-ordered array of ``dtype``, counted from its first."""

    def point(typing: Any, array: Any, number: Any) -> Any:
        check(array, dtype)
        signature = types.int64(array, types.int64)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            return builder.ptrtoint(builder.gep(data, [arguments[1]]), _I64)

        return signature, generate

    return intrinsic(point)


floats_at, bits_at, ints_at, longs_at = map(
    _pointer, (types.float32, types.uint16, types.int32, types.int64)
)
