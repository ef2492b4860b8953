"""Bounded reading of files nobody vouches for; every failure is a `DataError` with the name.

Nothing is ever written to disk or read beyond a stated size, so an archive can neither
escape its folder nor fill the memory.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from saltation.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


class Stream(Protocol):
    """Anything that reads bytes."""

    def read(self, size: int, /) -> bytes: ...


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, inflated if its content (not its name) says gzip."""
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if compressed:
                with gzip.GzipFile(fileobj=raw) as inflated:
                    yield inflated  # type: ignore[misc]  # typeshed: not quite a BinaryIO
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: truncated or damaged gzip ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_exactly(stream: Stream, size: int) -> bytearray:
    """``size`` bytes, or fewer where the stream ends.

    Grows by chunks: a size that a file merely claims must not be allocated.
    """
    content = bytearray()
    while len(content) < size:
        chunk = stream.read(min(_CHUNK, size - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def read_file(path: Path, limit: int) -> bytes:
    """A whole file, inflated if it is gzip, of at most ``limit`` bytes."""
    with opened(path) as stream:
        content = read_exactly(stream, limit + 1)
    if len(content) > limit:
        raise DataError(f"{path}: holds more than the {limit} bytes its layout allows")
    return bytes(content)


class _Capped:
    """A stream that refuses to deliver more than ``limit`` bytes in all."""

    def __init__(self, stream: Stream, limit: int, path: Path) -> None:
        self._stream, self._limit, self._path = stream, limit, path
        self._left = limit

    def read(self, size: int, /) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(
                f"{self._path}: unpacks to more than the {self._limit} bytes its layout allows"
            )
        return chunk


def read_tar(path: Path, wanted: tuple[str, ...], limit: int) -> dict[str, bytes]:
    """Named members of a tar archive, gzipped or not, in one pass and in memory.

    Parameters
    ----------
    wanted
        Member names, with their folder.
    limit
        Most bytes that the whole archive may unpack to.

    Raises
    ------
    DataError
        If the archive is damaged or larger than ``limit``, lacks a wanted member, or names a
        path outside itself.
    """
    found: dict[str, bytes] = {}
    with opened(path) as stream:
        try:
            capped = _Capped(stream, limit, path)
            # Stream mode: the cap then bounds headers as well as contents.
            with tarfile.open(fileobj=capped, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    name = member.name.removeprefix("./")
                    if name.startswith("/") or ".." in name.split("/"):
                        raise DataError(f"{path}: member {member.name!r} points outside it")
                    # A sparse member may claim any size whatever the archive holds.
                    if not 0 <= member.size <= limit:
                        raise DataError(f"{path}: member {name!r} claims {member.size} bytes")
                    if name in wanted and member.isreg():
                        body = archive.extractfile(member)
                        found[name] = b"" if body is None else body.read()
            # The checksum of a gzip stream is verified at its end only.
            while capped.read(_CHUNK):
                pass
        except (tarfile.TarError, RecursionError) as error:
            raise DataError(f"{path}: truncated or damaged tar archive ({error})") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{path}: archive lacks {', '.join(missing)}")
    return found
