"""A user's own data: a file or folder in place of the name of a data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from saltation.data.own.folders import of_folders
from saltation.data.own.npz import of_npz
from saltation.data.own.series import of_csv
from saltation.data.recorded import fsdd, hdf5, nmnist
from saltation.data.registry import DATASETS, Spec, known
from saltation.errors import MissingDataError, SaltationError

FORMS: dict[str, Callable[[Path], Spec]] = {
    ".npz": of_npz,
    ".csv": of_csv,
    ".h5": hdf5.of_hdf5,
    ".gz": fsdd.of_fsdd,
}
# Sets of recorded spikes in the layouts of their publishers: how a path is known, and its reader.
RECORDED: tuple[tuple[Callable[[Path], bool], Callable[[Path], Spec]], ...] = (
    (nmnist.is_here, nmnist.of_nmnist),
    (fsdd.is_here, fsdd.of_fsdd),
    (hdf5.is_here, hdf5.of_hdf5),
)
# Of a `Spec`: all that can be written down.
FACTS = ("title", "classes", "shape", "samples", "fingerprint", "dt", "duration")
HELP = (
    "or a path: an .npz file with x_train, y_train, x_test and y_test, a .csv file of time series, "
    "a folder with train and test, in each a folder of images for every class; or N-MNIST, FSDD, "
    "SHD and SSC (*_train.h5) as published"
)


def is_path(name: str) -> bool:
    """Whether a name of a data set is the path of one."""
    if Path(name).suffix.lower() in FORMS or "/" in name or "\\" in name:
        return True
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    is_known = any(key.replace("_", "") == plain for key in DATASETS)
    return not is_known and Path(name).expanduser().is_dir()


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

    known_facts = dict(facts) | {"shape": tuple(facts["shape"])}
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
    return str(_place(name)) if is_path(name) else known(name)


def spec_of(name: str) -> Spec:
    """What is known of a data set before it is loaded: of the registry, or of the file at a path.

    Raises
    ------
    SaltationError
        If there is no such data set, or the file is damaged or of another form.
    """
    if not is_path(name):
        return DATASETS[known(name)]
    place = _place(name)
    if not place.exists():
        return _REMEMBERED[place]
    entry = place.stat()
    return _spec(place, entry.st_mtime_ns, entry.st_size)


@lru_cache(maxsize=32)
def _spec(place: Path, changed: int, size: int) -> Spec:
    """Of a file as it was changed last, of that size."""
    del changed, size
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


def _place(name: str) -> Path:
    place = Path(name).expanduser().resolve()
    if not place.exists() and place not in _REMEMBERED:
        raise MissingDataError(f"data set '{name}': there is no such file or folder")
    return place
