"""The registry of data sets: each set is one `Spec`, registered where it is defined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltation.data.dataset import Split

Reader = Callable[[Path, int | None, int | None], tuple[Split, Split]]


@dataclass(frozen=True)
class Download:
    """One official file: where it goes below the data folder, its checksum, its mirrors.

    ``checksum`` is ``"md5:..."`` or ``"sha256:..."`` of the file as published; ``urls`` are
    tried in order.
    """

    path: str
    checksum: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Spec:
    """A data set: what it is, where it may lie and how it is read.

    Attributes
    ----------
    read
        ``(where, limit_train, limit_test) -> (train, test)``: reads the folder or archive
        that was found. It applies the limits itself so that it need not decode the rest.
    parts
        The files that a folder of this set must hold, each with its accepted names.
    folders, archives
        Where a data folder may hold the set, relative to it, in order of preference.
    bare_folders, bare_if
        Folders whose names say nothing about the set; they count only where the regular
        expression ``bare_if`` is found in the data folder's own name, in lower case.
    bundled
        Whether the set comes with a dependency, so that there is nothing to look for.
    """

    name: str
    title: str
    classes: int
    shape: tuple[int, int, int]
    read: Reader
    parts: tuple[tuple[str, ...], ...] = ()
    folders: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    bare_folders: tuple[str, ...] = (".",)
    bare_if: str = ""
    downloads: tuple[Download, ...] = ()
    bundled: bool = False


DATASETS: dict[str, Spec] = {}


def register(spec: Spec) -> None:
    """Add a data set to `DATASETS` under its name."""
    DATASETS[spec.name] = spec
