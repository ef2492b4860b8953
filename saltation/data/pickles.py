"""Reading a pickled dict of arrays without trusting it.

A pickle is a program. This reader runs it with nothing to call: the few names that numpy
arrays are made of stand for inert classes below, every other import is refused, and numpy
only ever sees a plain buffer, a numeric dtype and a shape that fit together.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from typing import Any, ClassVar, NoReturn

import numpy as np

from saltation.errors import DataError

# What the interpreter of a pickle raises on bytes that make no sense to it.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class _Dtype:
    """Stands for ``numpy.dtype``: admits plain numbers, so never an array of objects."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _text(code)
        if not re.fullmatch("[biuf][1248]", self.code):
            raise pickle.UnpicklingError(f"holds an array of dtype {self.code!r}, not of numbers")

    def restore(self, state: tuple[Any, ...]) -> None:
        self.code = _text(state[1]) + self.code


class _Array:
    """Stands for ``numpy.ndarray``: becomes ``value`` once the pickle has given its state."""

    value: np.ndarray

    def restore(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, buffer = state
        flat = np.frombuffer(buffer, dtype.code)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, codec: str) -> bytes:
    # How Python 3 writes bytes in protocol 2. Another codec could import a module or inflate.
    if codec != "latin1":
        raise pickle.UnpicklingError(f"wants the codec {codec!r}")
    return text.encode("latin1")


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


# Instructions that make objects in other ways than calling an admitted name.
_CREATING = b"".join(
    [
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
    ]
)


# The interpreter written in Python, because the one in C allocates room for whatever slot
# number a (damaged) byte names, up to 64 GiB, and cannot be held to fewer instructions.
class _ArrayUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            wish = repr(f"{module}.{name}")
            raise pickle.UnpicklingError(f"wants to import {wish}") from None

    def _build(self) -> None:
        # The usual instruction would set attributes on anything, these classes included.
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state = stack.pop()
        if not isinstance(stack[-1], (_Array, _Dtype)):
            raise pickle.UnpicklingError("sets the state of something that is no array")
        stack[-1].restore(state)

    def _refuse(self) -> NoReturn:
        raise pickle.UnpicklingError("creates objects other than arrays")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(_CREATING, _refuse),
        pickle.BUILD[0]: _build,
    }


def read_dict(content: bytes, source: str) -> dict[str, object]:
    """The dict that a pickle holds; of its values, arrays come as numpy arrays.

    Parameters
    ----------
    content
        The pickle, of any protocol up to 4, written by Python 2 or 3.
    source
        What to call it in errors.

    Raises
    ------
    DataError
        If it is damaged, is no dict, or wants to import anything that arrays do not need.
        Nothing it asks for has then been run.
    """
    try:
        loaded = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{source}: refused pickle: {error}") from error
    except _DAMAGE as error:
        raise DataError(f"{source}: damaged pickle ({type(error).__name__})") from error
    if not isinstance(loaded, dict) or not all(isinstance(key, (str, bytes)) for key in loaded):
        raise DataError(f"{source}: not a pickled dict with names as keys")
    return {
        _text(key): getattr(value, "value", None) if isinstance(value, _Array) else value
        for key, value in loaded.items()
    }
