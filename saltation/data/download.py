"""`fetch`: download a data set's official files and verify them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from saltation.data.places import locate, roots
from saltation.data.quiet import pooch
from saltation.data.registry import DATASETS, Download, known
from saltation.errors import DataError, SaltationError

_CHUNK = 1 << 16


def fetch(name: str, data_dir: str | Path | None = None, *, progress: bool = True) -> Path:
    """Download what is not there yet, each file from the first mirror that has it.

    Parameters
    ----------
    name
        A key of `DATASETS`.
    data_dir
        Folder to write to, in torchvision's layout; otherwise ``$SALTATION_DATA``, otherwise
        the user's cache.
    progress
        Show a progress bar per file on stderr.

    Returns
    -------
    The folder or archive that `load` will now read.

    Raises
    ------
    SaltationError
        If the name is unknown or the set needs no download.
    DataError
        If the folder cannot be written, or no mirror gave a file with the right checksum;
        says why for each mirror. A file appears under its name only once it is verified.
    """
    spec = DATASETS[known(name)]
    if spec.bundled:
        raise SaltationError(f"{name} comes with saltation's dependencies: nothing to fetch")
    root = roots(data_dir)[0]
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    display = Progress(*columns, console=Console(stderr=True), disable=not progress)
    # Older versions of rich end a display by an empty line even where it is disabled.
    shown: AbstractContextManager[object] = display if progress else nullcontext()
    with shown, _quiet_pooch():
        for item in spec.downloads:
            _fetch(item, root, display)
    where = locate(spec, root)
    if where is None:
        raise DataError(f"{name} was fetched into {root} but is not found there")
    return where


def _fetch(item: Download, root: Path, progress: Progress) -> None:
    target = root / item.path
    failures = []
    for url in item.urls:
        bar = _Bar(progress, target.name)
        # Servers that take .gz for an encoding would have it inflated on the way; the
        # checksum is that of the .gz.
        downloader = pooch.HTTPDownloader(
            progressbar=bar, chunk_size=_CHUNK, headers={"Accept-Encoding": "identity"}
        )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pooch.retrieve(url, item.checksum, target.name, target.parent, downloader=downloader)
            return
        # requests' errors are OSErrors; pooch raises ValueError for a wrong checksum.
        except (OSError, ValueError) as error:
            failures.append(f"{url}: {' '.join(str(error).split())}")
        finally:
            bar.remove()
    raise DataError(f"{target} could not be fetched from any mirror: {'; '.join(failures)}")


class _Bar:
    """One line of a rich progress display, as pooch wants it."""

    total = 0

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    def update(self, size: int) -> None:
        self._progress.update(self._task, total=self.total, advance=size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.stop_task(self._task)

    def remove(self) -> None:
        self._progress.remove_task(self._task)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from logging to the terminal."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
