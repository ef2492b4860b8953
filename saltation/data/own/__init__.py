"""A user's own data: a file or folder in place of the name of a data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from saltation.data.own.folders import of_folders
from saltation.data.own.npz import of_npz
from saltation.data.own.objects import as_file
from saltation.data.own.series import of_csv
from saltation.data.recorded import dvs128, fsdd, hdf5, nmnist
from saltation.data.registry import DATASETS, Spec, known
from saltation.errors import MissingDataError, SaltationError


def _of_archive(path: Path) -> Spec:
    """The set in an archive, which its name tells."""
    return (dvs128.of_dvs128 if dvs128.is_here(path) else fsdd.of_fsdd)(path)


__all__ = ["as_file", "facts_of", "is_path", "remember", "spec_of", "whole_name"]

FORMS: dict[str, Callable[[Path], Spec]] = {
    ".npz": of_npz,
    ".csv": of_csv,
    ".h5": hdf5.of_hdf5,
    ".gz": _of_archive,
}
# Sets of recorded spikes in the layouts of their publishers: how a path is known, and its reader.
RECORDED: tuple[tuple[Callable[[Path], bool], Callable[[Path], Spec]], ...] = (
    (nmnist.is_here, nmnist.of_nmnist),
    (dvs128.is_here, dvs128.of_dvs128),
    (fsdd.is_here, fsdd.of_fsdd),
    (hdf5.is_here, hdf5.of_hdf5),
)
# Of a `Spec`: all that can be written down.
FACTS = (
    *("title", "classes", "shape", "samples", "fingerprint", "dt", "duration"),
    *("regression", "of_moments", "lengths"),
)
# Between a path and the speaker that is held out.
_PART = "#"
HELP = (
    "or a path: an .npz file with x_train, y_train, x_test and y_test, a .csv file of time series, "
    "a folder with train and test, in each a folder of images for every class; or N-MNIST, "
    "DVS128 Gesture, FSDD, SHD and SSC (*_train.h5) as published; FSDD#SPEAKER holds a speaker out "
    "for the test"
)


def is_path(name: str) -> bool:
    """Whether a name of a data set is the path of one."""
    name = _parted(name)[0]
    if Path(name).suffix.lower() in FORMS or "/" in name or "\\" in name:
        return True
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    is_known = any(key.replace("_", "") == plain for key in DATASETS)
    return not is_known and Path(name).expanduser().exists()


# What studies found at paths where there may be nothing any more.
_REMEMBERED: dict[Path, Spec] = {}


def remember(facts: Mapping[str, Any]) -> None:
    """Keep what a study found at a path, for when there is nothing there any more.

    Parameters
    ----------
    facts
        As of `facts_of`.
    """
    place = Path(facts["name"])

    def read(*_: Any) -> Any:
        raise MissingDataError(f"data set '{place}' is not there any more")

    # Before there was a choice targets were of every moment.
    before = {"of_moments": facts.get("regression", False)}
    known_facts = before | dict(facts) | {"shape": tuple(facts["shape"])}
    _REMEMBERED[place] = Spec(**known_facts, read=read, bundled=True)


def facts_of(name: str) -> dict[str, Any]:
    """What `remember` takes of the file or folder at a path.

    Raises
    ------
    SaltationError
        As of `spec_of`.
    """
    spec = spec_of(name)
    return {fact: getattr(spec, fact) for fact in FACTS} | {"name": whole_name(name)}


def whole_name(name: str) -> str:
    """The name of a data set in the registry, or the whole path of one.

    Raises
    ------
    SaltationError
        If there is no such data set.
    """
    if not is_path(name):
        return known(name)
    path, part = _parted(name)
    return f"{_place(path)}{_PART}{part}" if part else str(_place(path))


def spec_of(name: str) -> Spec:
    """What is known of a data set before it is loaded: of the registry, or of the file at a path.

    Raises
    ------
    SaltationError
        If there is no such data set, or the file is damaged or of another form.
    """
    if not is_path(name):
        return DATASETS[known(name)]
    path, part = _parted(name)
    place = _place(path)
    if not place.exists():
        return _REMEMBERED[place]
    entry = place.stat()
    return _spec(place, part, entry.st_mtime_ns, entry.st_size)


@lru_cache(maxsize=32)
def _spec(place: Path, part: str, changed: int, size: int) -> Spec:
    """Of a file as it was changed last, of that size, and what stands behind its path."""
    del changed, size
    if part:
        if not fsdd.is_here(place):
            raise SaltationError(
                f"data set '{place}{_PART}{part}': only of FSDD can a speaker be held out"
            )
        return fsdd.of_fsdd(place, part)
    for is_here, read in RECORDED if place.is_dir() else ():
        if is_here(place):
            return read(place)
    if place.is_dir():
        return of_folders(place)
    if place.suffix.lower() not in FORMS:
        raise SaltationError(
            f"data set '{place}': files of this kind are not read (allowed: "
            f"{', '.join(FORMS)}, or a folder)"
        )
    return FORMS[place.suffix.lower()](place)


def _parted(name: str) -> tuple[str, str]:
    """A path, and what stands behind a # in it; nothing if a file has it in its name, or a study
    remembers the whole and there is no such path."""
    path, _, part = name.rpartition(_PART)
    whole, place = (Path(text).expanduser() for text in (name, path))
    is_one = not path or whole.exists()
    if is_one or (whole.resolve() in _REMEMBERED and not place.exists()):
        return name, ""
    return path, part


def _place(name: str) -> Path:
    place = Path(name).expanduser().resolve()
    if not place.exists() and place not in _REMEMBERED:
        raise MissingDataError(f"data set '{name}': there is no such file or folder")
    return place
