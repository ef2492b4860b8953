"""Bounded reading of files nobody vouches for; every failure is a `DataError` with the name.

Nothing is ever written to disk or read beyond a stated size, so an archive can neither
escape its folder nor fill the memory.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from saltation.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_DESCRIPTION = 1 << 16  # bytes of a long name, or of what else a tar archive says of a member
_MEMBERS = 1000


class Stream(Protocol):
    """Anything that reads bytes."""

    def read(self, size: int, /) -> bytes: ...


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, inflated if its content (not its name) says gzip."""
    try:
        # A pipe would be waited for, perhaps for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: cannot be read (not a regular file)")
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


def read_file(path: Path, limit: int) -> bytearray:
    """A whole file, inflated if it is gzip, of at most ``limit`` bytes."""
    with opened(path) as stream:
        content = read_exactly(stream, limit + 1)
    if len(content) > limit:
        raise DataError(f"{path}: holds more than the {limit} bytes its layout allows")
    return content


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


class _Member(tarfile.TarInfo):
    """A member that is described in few bytes and holds all that it claims to."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        described = self.type in (
            *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
            *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
        )
        # tarfile reads a description whole, and its numbers with it.
        if described and not 0 <= self.size <= _DESCRIPTION:
            raise tarfile.TarError(f"a description of {self.size} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse()
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        if member.sparse is not None:
            self._refuse()
        return member

    def _refuse(self, *_: object) -> None:
        # It may claim any size whatever the archive holds.
        raise tarfile.TarError(f"member {self.name[:100]!r} is sparse")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


def read_tar(path: Path, wanted: tuple[str, ...], limit: int) -> dict[str, bytearray]:
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
        If the archive is damaged or larger than ``limit``, lacks a wanted member, names a path
        outside itself, or has members that are sparse, many or described at length.
    """
    found = _read_members(path, wanted.__contains__, limit, _MEMBERS)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{path}: archive lacks {', '.join(missing)}")
    return found


def read_tar_matching(path: Path, pattern: re.Pattern[str], limit: int) -> dict[str, bytes]:
    """The members of a tar archive whose names match, of ten thousand or fewer; as `read_tar`."""
    found = _read_members(
        path, lambda name: pattern.fullmatch(name) is not None, limit, 10 * _MEMBERS
    )
    return {name: bytes(content) for name, content in found.items()}


def _read_members(
    path: Path, wanted: Callable[[str], bool], limit: int, members: int
) -> dict[str, bytearray]:
    found: dict[str, bytearray] = {}
    with opened(path) as stream:
        try:
            capped = _Capped(stream, limit, path)
            # Stream mode: the cap then bounds headers as well as contents.
            with tarfile.open(fileobj=capped, mode="r|", tarinfo=_Member) as archive:  # type: ignore[call-overload]
                for number, member in enumerate(archive):
                    if number == members:
                        raise DataError(f"{path}: more than the {members} members it may have")
                    name = member.name.removeprefix("./")
                    if name.startswith("/") or ".." in name.split("/"):
                        raise DataError(f"{path}: member {name[:100]!r} points outside it")
                    if not 0 <= member.size <= limit:
                        raise DataError(f"{path}: member {name[:100]!r} claims {member.size} bytes")
                    if wanted(name) and member.isreg():
                        body = archive.extractfile(member)
                        found[name] = bytearray() if body is None else read_exactly(body, limit)
            # The checksum of a gzip stream is verified at its end only.
            while capped.read(_CHUNK):
                pass
        except DataError:
            raise
        # Its parser lets pass what Python says of numbers and texts that are none.
        except (
            tarfile.TarError,
            RecursionError,
            ArithmeticError,
            LookupError,
            ValueError,
        ) as error:
            told = isinstance(error, tarfile.TarError)
            reason = " ".join(str(error).split())[:200] if told else type(error).__name__
            raise DataError(f"{path}: truncated or damaged tar archive ({reason})") from error
    return found
