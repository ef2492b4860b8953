"""A NIR file as plain numbers: nothing of it is executed, and no more of it read than is allowed.

A file comes from anywhere. So sizes are looked at before memory is taken, links to other files and
data that plugins would unpack are refused, and what is no field of a known node is, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from saltation.errors import DataError

# Fields of every node that is known; those behind `None` may be missing.
FIELDS: dict[str, tuple[str | None, ...]] = {
    "Input": ("shape",),
    "Output": ("shape",),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Conv1d": ("weight", "stride", "padding", "dilation", "groups", "bias", None, "input_shape"),
    "Conv2d": ("weight", "stride", "padding", "dilation", "groups", "bias", None, "input_shape"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "Flatten": ("start_dim", "end_dim", None, "input_type"),
    "I": ("r",),
    "LI": ("tau", "r", "v_leak"),
    "IF": ("r", "v_threshold", None, "v_reset"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", None, "v_reset"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", None, "w_in"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", None, "v_reset", "w_in"),
    "NIRGraph": ("nodes", "edges"),
}
LIMIT = 2**30  # bytes of all arrays together
MOST = 20_000  # groups and arrays
_DEEPEST = 16
# Filters that HDF5 itself brings, and gzip and lzf: deflate, shuffle, fletcher32, szip, nbit,
# scaleoffset, lzf. Others would be loaded as a library from wherever a path says.
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}


def read(path: str | Path) -> dict[str, Any]:
    """The root node of a file: its type, its fields as arrays, text or, of a graph, nodes.

    Raises
    ------
    DataError
        If it is no NIR file, is damaged, or holds what is not allowed.
    """
    try:
        import h5py
    except ImportError:
        raise DataError("NIR files need h5py: pip install 'saltation[nir]'") from None
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            return _File(path, h5py).node(file, "node", "the graph", 0)
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a NIR file") from None
    except Exception as error:  # h5py raises nearly anything for a damaged file
        told = str(error).partition("\n")[0]
        raise DataError(f"{path} is no NIR file that can be read: {told}") from None


class _File:
    """One file and what was read of it."""

    def __init__(self, path: Path, h5py: Any) -> None:
        self._path = path
        self._h5py = h5py
        self._bytes = 0
        self._objects = 0

    def _refuse(self, why: str) -> DataError:
        return DataError(f"{self._path}: {why}")

    def _member(self, group: Any, name: str, where: str) -> Any:
        """An object that lies in this file, in this place."""
        self._objects += 1
        if self._objects > MOST:
            raise self._refuse(f"it holds more than {MOST:,} objects")
        link = group.get(name, getlink=True)
        if link is None:
            raise self._refuse(f"{where} has no '{name}'")
        if not isinstance(link, self._h5py.HardLink):
            raise self._refuse(f"'{name}' of {where} is a link to somewhere else")
        member = group[name]
        # Nor is it there twice: graphs within themselves, or ten times ten times ... the same one.
        if self._h5py.h5o.get_info(member.id).rc > 1:
            raise self._refuse(f"'{name}' of {where} is there more than once")
        return member

    def node(self, parent: Any, name: str, where: str, depth: int) -> dict[str, Any]:
        """A node and all that is in it."""
        if depth > _DEEPEST:
            raise self._refuse(f"graphs are nested more than {_DEEPEST} deep")
        group = self._member(parent, name, "the file" if depth == 0 else where)
        if not isinstance(group, self._h5py.Group):
            raise self._refuse(f"{where} is no group")
        kind = self._text(self._member(group, "type", where), where)
        known(kind, where, str(self._path))
        names = [str(key) for key in group if key not in ("type", "metadata", "version")]
        check_fields(kind, names, where, str(self._path))
        found: dict[str, Any] = {"type": kind}
        for field in names:
            member = self._member(group, field, where)
            if kind == "NIRGraph" and field == "nodes":
                if not isinstance(member, self._h5py.Group):
                    raise self._refuse(f"the nodes of {where} are no group")
                found[field] = {
                    str(key): self.node(member, str(key), f"node '{key}'", depth + 1)
                    for key in member
                }
            elif field == "edges":
                found[field] = self._edges(member, where)
            elif field == "padding" and self._is_text(member):
                found[field] = self._text(member, where)
            else:
                found[field] = self._numbers(member, field, where)
        return found

    def _data(self, data: Any, what: str) -> Any:
        """An array that is safe to read: of this file, unpacked by HDF5 itself, and not large."""
        if not isinstance(data, self._h5py.Dataset):
            raise self._refuse(f"{what} is no array")
        plist = data.id.get_create_plist()
        if data.is_virtual or data.external:
            raise self._refuse(f"{what} lies in another file")
        filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
        if filters - _FILTERS:
            raise self._refuse(f"{what} is packed by filter {min(filters - _FILTERS)}")
        if data.shape is None:
            raise self._refuse(f"{what} is empty")
        size = int(np.prod([int(n) for n in data.shape], dtype=object)) * data.dtype.itemsize
        self._bytes += size
        if self._bytes > LIMIT:
            raise self._refuse(
                f"{what} is {list(data.shape)}, and with it the file more than {LIMIT:,} bytes"
            )
        return data

    def _is_text(self, data: Any) -> bool:
        return self._h5py.check_string_dtype(getattr(data, "dtype", np.dtype(int))) is not None

    def _text(self, data: Any, where: str) -> str:
        what = f"the text of {where}"
        if not self._is_text(self._data(data, what)) or data.shape != ():
            raise self._refuse(f"{what} is no text")
        value = data[()]
        text = value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)
        return text[:100]

    def _numbers(self, data: Any, field: str, where: str) -> Any:
        what = f"'{field}' of {where}"
        if self._data(data, what).dtype.kind not in "iuf":
            raise self._refuse(f"{what} is no array of numbers, but of {data.dtype}")
        return np.asarray(data[()])

    def _edges(self, data: Any, where: str) -> list[tuple[str, str]]:
        self._data(data, f"the edges of {where}")
        if data.shape in ((0,), (0, 2)):
            return []
        if not self._is_text(data) or data.ndim != 2 or data.shape[1] != 2:
            raise self._refuse(f"the edges of {where} are no pairs of names")
        return [(_name(a), _name(b)) for a, b in data[()]]


def _name(value: Any) -> str:
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


def known(kind: str, where: str, source: str) -> None:
    """Refuse a node that saltation does not have."""
    if kind not in FIELDS:
        raise DataError(
            f"{source}: {where} is a '{kind}', which saltation has none of (known: "
            f"{', '.join(FIELDS)})"
        )


def check_fields(kind: str, given: list[str], where: str, source: str) -> None:
    """Refuse a node that lacks a field or has one that nobody knows."""
    fields = FIELDS[kind]
    needed = fields[: fields.index(None)] if None in fields else fields
    for name in needed:
        if name not in given:
            raise DataError(f"{source}: {where}, a {kind}, has no '{name}'")
    for name in given:
        if name not in fields:
            raise DataError(
                f"{source}: {where}, a {kind}, has '{name}', which is no field of it and would be "
                f"left out"
            )
