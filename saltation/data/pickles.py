"""Reading a pickled dict of arrays without trusting it.

A pickle is a program. This reader runs it with nothing to call: the few names that numpy
arrays are made of stand for inert classes below, every other import is refused, and numpy
only ever sees a plain buffer, a numeric dtype and a shape that fit together. It runs on a
budget of memory, which bounds its time too, and makes nothing nested: keys are names, lists
hold plain values, tuples are few and shallow.
"""

from __future__ import annotations

import codecs
import pickle
import re
import struct
from typing import Any, ClassVar, NoReturn, cast

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
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("holds an array of numbers in no order of bytes")
        self.code = order + self.code[-2:]


class _Array:
    """Stands for ``numpy.ndarray``: becomes ``value`` once the pickle has given its state."""

    value: np.ndarray

    def restore(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, buffer = state
        self.value = _as_array(buffer, dtype, shape, "F" if fortran else "C")


class _Tuple(tuple[Any, ...]):
    """A tuple that knows how deep it is."""

    depth: int


def _as_array(buffer: object, dtype: _Dtype, shape: object, order: Any) -> np.ndarray:
    if not isinstance(buffer, bytes | bytearray):
        raise TypeError(f"the content of an array is no {type(buffer).__name__}")
    return np.frombuffer(buffer, dtype.code).reshape(cast(Any, shape), order=order)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(buffer: object, dtype: _Dtype, shape: object, order: Any) -> _Array:
    # How numpy writes arrays in protocol 5.
    array = _Array()
    array.value = _as_array(buffer, dtype, shape, order)
    return array


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


_ADMITTED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
}


# Instructions that make objects in other ways than calling an admitted name, or sets, whose
# members are hashed.
_CREATING = b"".join(
    [
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
        *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),
        *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    ]
)

_PLAIN = (int, float, str, bytes, bytearray, _Array, type(None))
# The 50,000 images of CIFAR-100 come to 436 million bytes and 1.2 million calls where they take
# most: in protocols 0 to 2 of Python 3, where bytes are first a text.
_BUDGET = 480_000_000
_CALLS = 2_000_000
_OBJECT = 100  # bytes of a small object and of its place in a list, the stack or the memo
_DEPTH, _WIDTH = 4, 32  # of tuples; the state of an array has 3 and 9
_LONG = 1 << 16
_LATIN = bytes(range(0xC4))  # what Latin-1 characters take in UTF-8


class _Source:
    """The bytes of a pickle: what is read is paid for, and what is not there is not allocated."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content
        self._view = memoryview(content)
        self._place = 0
        self._left, self._calls = _BUDGET, _CALLS

    def pay(self, size: int) -> None:
        """Count bytes that something takes, and one object."""
        self._left -= size + _OBJECT
        self._calls -= 1
        if self._left < 0 or self._calls < 0:
            raise pickle.UnpicklingError("makes more objects, or larger ones, than its layout has")

    def view(self, size: int) -> memoryview:
        """The next bytes without a copy of them."""
        found = self._view[self._place :][:size]
        if len(found) < size:
            raise EOFError
        self._place += size
        return found

    def read(self, size: int) -> bytes:
        self.pay(size)
        return bytes(self.view(size))

    def line(self) -> memoryview:
        """The bytes up to the end of a line, without it."""
        end = self._content.find(b"\n", self._place)
        if end < 0:
            raise EOFError
        return self.view(end + 1 - self._place)[:-1]

    def readline(self) -> bytes:
        found = self.line()
        if len(found) > _LONG:
            raise pickle.UnpicklingError("holds a number or a name that is longer than any")
        self.pay(len(found))
        return bytes(found) + b"\n"


# The interpreter written in Python, because the one in C allocates room for whatever slot
# number a (damaged) byte names, up to 64 GiB, and cannot be held to fewer instructions.
class _ArrayUnpickler(pickle._Unpickler):
    stack: list[Any]

    def __init__(self, source: _Source) -> None:
        super().__init__(source, encoding="bytes")
        self._source = source

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return _ADMITTED[module, name]
        except KeyError:
            wish = repr(f"{module}.{name}"[:200])
            raise pickle.UnpicklingError(f"wants to import {wish}") from None

    def _encode(self, text: str, codec: str) -> bytes:
        # How Python 3 writes bytes in protocol 2. Another codec could import a module or inflate.
        if codec != "latin1":
            raise pickle.UnpicklingError(f"wants the codec {repr(codec)[:200]}")
        self._source.pay(len(text))
        return text.encode("latin1")

    def _build(self) -> None:
        # The usual instruction would set attributes on anything, these classes included.
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _Dtype)):
            raise pickle.UnpicklingError("sets the state of something that is no array")
        self.stack[-1].restore(state)

    def _refuse(self) -> NoReturn:
        raise pickle.UnpicklingError("creates objects other than arrays")

    def _frame(self) -> None:
        self._source.read(8)  # a frame is only an advice to read ahead

    def _bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self._source.read(8))
        self.stack.append(bytearray(self._source.read(size)))

    def _text_of(self, size: int) -> None:
        found = self._source.view(size)
        # One character beyond Latin-1 would make all the others two or four bytes wide.
        chunks = range(0, size if size > _LONG else 0, _LONG)
        if any(bytes(found[at : at + _LONG]).translate(None, _LATIN) for at in chunks):
            raise pickle.UnpicklingError("holds a long text that is no content of an array")
        self._push(str(found, "utf-8", "surrogatepass"))

    def _push(self, text: str) -> None:
        self._source.pay(len(text))
        self.stack.append(text)

    def _short_text(self) -> None:
        self._text_of(self._source.read(1)[0])

    def _middle_text(self) -> None:
        self._text_of(*struct.unpack("<I", self._source.read(4)))

    def _long_text(self) -> None:
        self._text_of(*struct.unpack("<Q", self._source.read(8)))

    def _line_of_text(self) -> None:
        found = self._source.line()
        if len(found) > _LONG and re.search(rb"\\U|\\u(?!00)", found):
            raise pickle.UnpicklingError("holds a long text that is no content of an array")
        self._push(str(found, "raw-unicode-escape"))

    def _quoted_line(self) -> None:
        found = self._source.line()
        if len(found) < 2 or found[0] != found[-1] or chr(found[0]) not in "'\"":
            raise pickle.UnpicklingError("holds a string without quotes")
        self._source.pay(len(found))
        self.stack.append(codecs.escape_decode(found[1:-1])[0])

    def _tuple(self) -> None:
        self._tuple_of(self.pop_mark())  # type: ignore[attr-defined]

    def _last(self, count: int) -> None:
        values = self.stack[-count:]
        if len(values) < count:
            raise EOFError
        del self.stack[-count:]
        self._tuple_of(values)

    def _tuple_of(self, values: list[Any]) -> None:
        made = _Tuple(values)
        made.depth = 1 + max(
            (value.depth for value in made if isinstance(value, _Tuple)), default=0
        )
        if len(made) > _WIDTH or made.depth > _DEPTH:
            raise pickle.UnpicklingError("holds tuples that no array is made of")
        self._source.pay(_OBJECT)
        self.stack.append(made)

    def _list(self) -> None:
        values = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append([])
        self._append_all(values)

    def _append(self) -> None:
        self._append_all([self.stack.pop()])

    def _appends(self) -> None:
        self._append_all(self.pop_mark())  # type: ignore[attr-defined]

    def _append_all(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list or not all(isinstance(v, _PLAIN) for v in values):
            raise pickle.UnpicklingError("holds lists of more than plain values")
        self.stack[-1].extend(values)

    def _dict(self) -> None:
        values = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append({})
        self._set_all(values)

    def _setitem(self) -> None:
        self._set_all([self.stack.pop() for _ in range(2)][::-1])

    def _setitems(self) -> None:
        self._set_all(self.pop_mark())  # type: ignore[attr-defined]

    def _set_all(self, values: list[Any]) -> None:
        names, found = values[::2], values[1::2]
        if type(self.stack[-1]) is not dict or not all(type(n) in (str, bytes) for n in names):
            raise pickle.UnpicklingError("holds something else than names as keys")
        if any(isinstance(value, dict) for value in found):
            raise pickle.UnpicklingError("holds a dict in a dict")
        self.stack[-1].update(zip(names, found, strict=True))

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        **dict.fromkeys(_CREATING, _refuse),
        pickle.BUILD[0]: _build,
        pickle.FRAME[0]: _frame,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.STRING[0]: _quoted_line,
        pickle.UNICODE[0]: _line_of_text,
        pickle.SHORT_BINUNICODE[0]: _short_text,
        pickle.BINUNICODE[0]: _middle_text,
        pickle.BINUNICODE8[0]: _long_text,
        pickle.TUPLE[0]: _tuple,
        pickle.EMPTY_TUPLE[0]: lambda self: self._tuple_of([]),
        pickle.TUPLE1[0]: lambda self: self._last(1),
        pickle.TUPLE2[0]: lambda self: self._last(2),
        pickle.TUPLE3[0]: lambda self: self._last(3),
        pickle.LIST[0]: _list,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.DICT[0]: _dict,
        pickle.SETITEM[0]: _setitem,
        pickle.SETITEMS[0]: _setitems,
    }


def read_dict(content: bytes | bytearray, source: str) -> dict[str, object]:
    """The dict that a pickle holds; of its values, arrays come as numpy arrays.

    Parameters
    ----------
    content
        The pickle, of any protocol up to 5, written by Python 2 or 3.
    source
        What to call it in errors.

    Raises
    ------
    DataError
        If it is damaged, is no dict, or wants to import anything that arrays do not need.
        Nothing it asks for has then been run.
    """
    try:
        loaded = _ArrayUnpickler(_Source(content)).load()
    except pickle.UnpicklingError as error:
        raise DataError(f"{source}: refused pickle: {error}") from error
    except _DAMAGE as error:
        raise DataError(f"{source}: damaged pickle ({type(error).__name__})") from error
    if not isinstance(loaded, dict):
        raise DataError(f"{source}: not a pickled dict with names as keys")
    try:
        names = [_text(key) for key in loaded]
    except UnicodeDecodeError:
        raise DataError(f"{source}: damaged pickle (a name that is no ASCII text)") from None
    return {
        name: getattr(value, "value", None) if isinstance(value, _Array) else value
        for name, value in zip(names, loaded.values(), strict=True)
    }
