"""`fetch` from a server on this machine: mirrors, checksums, nothing half done."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from saltation.data import DATASETS, fetch, load
from saltation.errors import DataError, SaltationError
from tests.data import make


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served" / "good").mkdir(parents=True)
    handler = partial(_Silent, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


Publish = Callable[..., None]


@pytest.fixture
def publish(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Serve a small MNIST under ``good``, damaged under ``bad``; point the set at mirrors."""
    source = make.mnist(tmp_path / "source")
    for kind in ("good", "bad"):
        (tmp_path / "served" / kind).mkdir(exist_ok=True)
        for file in source.iterdir():
            damage = b"!" if kind == "bad" else b""
            (tmp_path / "served" / kind / f"{file.name}.gz").write_bytes(file.read_bytes() + damage)

    def _publish(*mirrors: str) -> None:
        downloads = []
        for item in DATASETS["mnist"].downloads:
            name = item.path.rpartition("/")[2]
            content = (tmp_path / "served" / "good" / name).read_bytes()
            checksum = f"md5:{hashlib.md5(content).hexdigest()}"
            urls = tuple(f"{server}/{mirror}/{name}" for mirror in mirrors)
            downloads.append(dataclasses.replace(item, checksum=checksum, urls=urls))
        spec = dataclasses.replace(DATASETS["mnist"], downloads=tuple(downloads))
        monkeypatch.setitem(DATASETS, "mnist", spec)

    return _publish


def test_second_mirror_serves_when_the_first_fails(
    tmp_path: Path, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    publish("gone", "bad", "good")
    where = fetch("mnist", tmp_path / "to", progress=False)
    assert where == tmp_path / "to" / "MNIST" / "raw"
    assert len(load("mnist", tmp_path / "to").train) == 12
    assert len(list(where.iterdir())) == 4
    assert capfd.readouterr() == ("", "")


def test_wrong_checksum_is_refused_and_removed(tmp_path: Path, publish: Publish) -> None:
    publish("bad", "gone")
    with pytest.raises(DataError) as error:
        fetch("mnist", tmp_path / "to", progress=False)
    for part in ("train-images-idx3-ubyte.gz", "/bad/", "hash", "/gone/", "404"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "to" / "MNIST" / "raw").iterdir())


def test_verified_files_are_kept_and_others_replaced(tmp_path: Path, publish: Publish) -> None:
    publish("good")
    where = fetch("mnist", tmp_path, progress=False)
    images, labels = (where / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    before = images.stat().st_mtime_ns
    labels.write_bytes(b"half")
    fetch("mnist", tmp_path, progress=False)
    assert images.stat().st_mtime_ns == before
    assert labels.read_bytes() != b"half"


def test_default_folders(tmp_path: Path, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("good")
    assert fetch("mnist", progress=False).is_relative_to(tmp_path / "cache" / "saltation")
    monkeypatch.setenv("SALTATION_DATA", str(tmp_path / "variable"))
    assert fetch("mnist", progress=False).is_relative_to(tmp_path / "variable")


def test_progress_goes_to_stderr(
    tmp_path: Path, publish: Publish, capfd: pytest.CaptureFixture[str]
) -> None:
    publish("good")
    fetch("mnist", tmp_path / "to")
    assert capfd.readouterr().out == ""


def test_nothing_to_fetch_and_unknown_names() -> None:
    with pytest.raises(SaltationError, match="digits comes with"):
        fetch("digits")
    with pytest.raises(SaltationError, match="unknown data set 'minst'"):
        fetch("minst")


def test_folder_that_cannot_be_made(tmp_path: Path, publish: Publish) -> None:
    publish("good")
    (tmp_path / "MNIST").write_bytes(b"")
    with pytest.raises(DataError, match="could not be fetched"):
        fetch("mnist", tmp_path, progress=False)
