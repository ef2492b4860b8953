"""The registry of data sets: each set is one `Spec`, registered where it is defined."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saltation.data.dataset import Split
from saltation.errors import choose

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
    samples
        Training samples of the published set.
    read
        ``(where, limit_train, limit_test) -> (train, test)``: reads the folder or archive
        that was found. It applies the limits itself so that it need not decode the rest.
    parts
        The files that a folder of this set must hold, each with its accepted names, and with a /
        at their end the folders.
    folders, archives
        Where a data folder may hold the set, relative to it, in order of preference.
    tops
        Folders in the data folder that may hold all of these, as a root that was given to
        torchvision does.
    bare_folders, bare_if
        Folders whose names say nothing about the set; they count only where the regular
        expression ``bare_if`` is found in the data folder's own name, in lower case.
    telling
        Whether the names of the parts say which set it is, so that a data folder that holds all
        of them needs no name.
    bundled
        Whether there is nothing to look for: it comes with a dependency, or it is a user's file.
    fingerprint
        What changes with the content of a user's file; empty for sets that do not.
    dt
        The time between the samples of a sequence; None for images.
    duration
        The time of the last event of recorded spikes; None for images and sequences.
    regression
        Whether targets are numbers in place of labels: ``[classes]`` of them at every moment, or a
        sample.
    of_moments
        Whether these are targets of every moment, ``[T, classes]``.
    lengths
        Whether sequences are of different lengths, padded to that of the longest.
    """

    name: str
    title: str
    classes: int
    shape: tuple[int, ...]
    samples: int
    read: Reader
    parts: tuple[tuple[str, ...], ...] = ()
    folders: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    bare_folders: tuple[str, ...] = (".",)
    bare_if: str = ""
    telling: bool = False
    downloads: tuple[Download, ...] = ()
    bundled: bool = False
    fingerprint: str = ""
    dt: float | None = None
    duration: float | None = None
    regression: bool = False
    of_moments: bool = False
    lengths: bool = False

    @property
    def is_image(self) -> bool:
        """Whether samples have a height and a width: no sequences, no vectors."""
        is_still = self.dt is None and self.duration is None
        return is_still and len(self.shape) == 3 and self.shape[1] > 1


DATASETS: dict[str, Spec] = {}


def register(spec: Spec) -> None:
    """Add a data set to `DATASETS` under its name."""
    DATASETS[spec.name] = spec


def known(name: str) -> str:
    """The key of the data set of that name, in whatever case and spelling: ``MNIST``, ``CIFAR-10``.

    Raises
    ------
    SaltationError
        If there is none.
    """
    plain = re.sub(r"[^a-z0-9]", "", str(name).lower())
    for key in DATASETS:
        if key.replace("_", "") == plain:
            return key
    return choose("data set", name, DATASETS)
