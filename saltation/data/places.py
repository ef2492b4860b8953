"""Where data sets lie: the folders searched, what is in them, and what is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltation.data.quiet import pooch
from saltation.data.registry import DATASETS, Spec
from saltation.errors import DataError, MissingDataError

VARIABLE = "SALTATION_DATA"


def roots(data_dir: str | Path | None) -> list[Path]:
    """The data folders to search, in order: the given one, ``$SALTATION_DATA``, the cache.

    Raises
    ------
    DataError
        If one of them is a file.
    """
    given = [data_dir, os.environ.get(VARIABLE) or None, pooch.os_cache("saltation")]
    found = list(dict.fromkeys(_expanded(Path(place)) for place in given if place is not None))
    for root in found:
        if _holds(Path.is_file, root):
            raise DataError(f"data folder {root} is a file; give the folder that holds it")
    return found


def _expanded(place: Path) -> Path:
    """The path with ~ as the home it stands for; as it is where nobody has that name."""
    try:
        return place.expanduser()
    except RuntimeError:
        return place


def find_part(folder: Path, names: tuple[str, ...]) -> Path | None:
    """What goes by one of the accepted names in the folder, whatever their case.

    A name that ends with / is a folder's. A file may also lie in a folder of its own name, as some
    unpackers leave it. What is neither is found last, to be told that it cannot be read.
    """
    anything = (place for name in names if name[-1] != "/" for place in _named(folder, name))
    return _readable(folder, names) or next(anything, None)


def _readable(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the accepted names that is what it should be."""
    found = [(name, place) for name in names for place in _named(folder, name)]
    for name, place in found:
        if _holds(Path.is_dir if name[-1] == "/" else Path.is_file, place):
            return place
    within = (
        file
        for name, place in found
        if name[-1] != "/"
        for other in (name, *names)
        for file in _named(place, other)
    )
    return next((file for file in within if _holds(Path.is_file, file)), None)


def _named(folder: Path, name: str) -> list[Path]:
    """What is at a relative path in the folder: as it is written, or else in another case."""
    places = [folder]
    for part in name.rstrip("/").split("/"):
        exact = [place / part for place in places if _holds(Path.exists, place / part)]
        places = exact or [
            other
            for place in places
            for other in sorted(_entries(place))
            if other.name.casefold() == part.casefold()
        ]
    return places


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it is none, or may not be read."""
    try:
        return list(folder.iterdir())
    except (OSError, ValueError):
        return []


def _holds(question: Callable[[Path], bool], path: Path) -> bool:
    """Ask about a path; no is the answer too where the folder above may not be entered."""
    try:
        return question(path)
    except (OSError, ValueError):
        return False


def locate(spec: Spec, root: Path) -> Path | None:
    """The folder or archive below ``root`` that holds at least a part of the set.

    Where no name says that it is this set, the folder must hold all parts of it.
    """
    own = root.absolute()
    # torchvision's FashionMNIST/raw is about fashion.
    name = own.parent.name if own.name == "raw" else own.name
    says_so = re.search(spec.bare_if, name.lower()) is not None
    below = (*spec.folders, *(f"{top}/{folder}" for top in spec.tops for folder in spec.folders))
    for folder in (*below, *(spec.bare_folders if says_so else ())):
        for place in _named(root, folder) if folder != "." else [root]:
            if any(find_part(place, part) for part in spec.parts):
                return place
    archive = find_part(root, spec.archives)
    if archive is None and spec.telling and all(_readable(root, part) for part in spec.parts):
        return root
    return archive


def missing_parts(spec: Spec, where: Path) -> list[str]:
    """The official names of the files that a located folder lacks; none for an archive."""
    archives = {Path(archive).name.casefold() for archive in spec.archives}
    if _holds(Path.is_file, where) or where.name.casefold() in archives:
        return []
    return [part[0].rstrip("/") for part in spec.parts if find_part(where, part) is None]


def find(spec: Spec, data_dir: str | Path | None) -> Path:
    """The folder or archive to read; the first root for a bundled set, which needs none.

    Raises
    ------
    MissingDataError
        If no root holds the set: names what was looked for, where, and how to get it.
    DataError
        If the first place that holds it lacks a file.
    """
    searched = roots(data_dir)
    if spec.bundled:
        return searched[0]
    for root in searched:
        where = locate(spec, root)
        if where is None:
            continue
        missing = missing_parts(spec, where)
        if missing:
            raise DataError(f"{spec.name} in {where} is incomplete: no {', '.join(missing)}")
        return where
    looked_for = ", ".join([spec.folders[0] + "/", *spec.archives[:1]])
    places = ", ".join(
        f"{root}{'' if _holds(Path.is_dir, root) else ' (no such folder)'}" for root in searched
    )
    raise MissingDataError(
        f"{spec.name} not found: looked for {looked_for} and other usual names in {places}. "
        f"Put its files in a folder named by --data-dir or ${VARIABLE}, "
        f"or run: saltation data fetch {spec.name}"
    )


@dataclass(frozen=True)
class Presence:
    """Whether a data set can be loaded, for ``saltation data list``."""

    name: str
    title: str
    present: bool
    where: Path | None
    note: str


def describe(data_dir: str | Path | None = None) -> list[Presence]:
    """What is present of every registered data set. Looks at names only; opens no file."""
    return [_presence(spec, data_dir) for spec in DATASETS.values()]


def _presence(spec: Spec, data_dir: str | Path | None) -> Presence:
    if spec.bundled:
        return Presence(
            spec.name, spec.title, True, None, "needs no files: generated, or part of a dependency"
        )
    for root in roots(data_dir):
        where = locate(spec, root)
        if where is not None:
            missing = missing_parts(spec, where)
            note = f"incomplete: no {', '.join(missing)}" if missing else ""
            return Presence(spec.name, spec.title, not missing, where, note)
    return Presence(spec.name, spec.title, False, None, f"saltation data fetch {spec.name}")
