"""CIFAR: the official pickles, and what a pickle may not do."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saltation.data import load
from saltation.data.files import read_tar
from saltation.data.pickles import read_dict
from saltation.errors import DataError
from tests.data import make
from tests.data.conftest import real

FOLDER = "cifar-10-batches-py"


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_real_subset_is_balanced(name: str, classes: int) -> None:
    data = load(name, real(f"cifar-{classes}-python.tar.gz"))
    assert (data.shape, data.classes) == ((3, 32, 32), classes)
    for split in (data.train, data.test):
        counts = split.labels.bincount(minlength=classes)
        assert (counts == len(split) // classes).all()
    # Photographs: colours are not noise, and channels come as planes, not interleaved.
    red = data.train.images[:500, 0].float()
    assert (red[..., 1:] - red[..., :-1]).abs().mean() < 15


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_protocols_and_layouts_agree(protocol: int, tmp_path: Path) -> None:
    files = make.cifar10(test_batch=make.cifar_batch(3, protocol=protocol))
    make.write(tmp_path / "a" / FOLDER, files)
    members = {f"./{FOLDER}/{name}": content for name, content in files.items()}
    (tmp_path / "b" / "cifar10").mkdir(parents=True)
    make.tar(tmp_path / "b" / "cifar10" / "cifar-10-python.tar.gz", members)
    (tmp_path / "c").mkdir()
    make.tar(tmp_path / "c" / "cifar-10-python.tar", members, mode="w")
    expected = np.random.default_rng(3).integers(0, 256, (3, 3072), dtype=np.uint8)
    for place in ("a", "b", "c", f"a/{FOLDER}"):
        data = load("cifar10", tmp_path / place)
        assert len(data.train) == 20
        assert data.test.labels.tolist() == [0, 1, 2]
        assert torch.equal(data.test.images.reshape(3, -1), torch.from_numpy(expected))


def test_pickle_of_python_2() -> None:
    # What Python 2 wrote, in miniature: byte strings, and the module as numpy 1 names it.
    content = (
        b"\x80\x02}q\x01U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01"
        b"\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06abcdeftbs."
    )
    read = read_dict(content, "test")["data"]
    assert isinstance(read, np.ndarray)
    assert read.tolist() == [[97, 98, 99], [100, 101, 102]]


class _Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self._reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, np.save])
def test_hostile_pickle_is_refused_and_not_run(
    function: Any, protocol: int, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    command = {eval: f"open({str(marker)!r}, 'w')", np.save: str(marker)}
    attack = _Calls(function, command.get(function, f"touch {marker}"))
    hostile = pickle.dumps({b"data": attack, b"labels": [0]}, protocol=protocol)
    make.write(tmp_path / FOLDER, make.cifar10(data_batch_3=hostile))
    with pytest.raises(DataError, match=r"data_batch_3: .*wants to import"):
        load("cifar10", tmp_path)
    assert not list(tmp_path.glob("marker*"))
    pickle.loads(pickle.dumps(_Calls(Path.touch, marker)))
    assert marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": np.array([None, 1])}, 2), "array of dtype 'O8', not of numbers"),
        (pickle.dumps({"data": _Calls(__import__, "antigravity")}, 2), "wants to import"),
        (b"c_codecs\nencode\n(Vx\nVzlib_codec\ntR.", "wants the codec 'zlib_codec'"),
        (b"(cos\nsystem\nV:\no.", "wants to import 'os.system'"),
        (b"cnumpy\nndarray\n)\x81}b.", "creates objects other than arrays"),
        (b"cnumpy\ndtype\nN}V__init__\nNs\x86b.", "sets the state of something"),
        (b"N.", "not a pickled dict"),
        (b"", r"damaged pickle \(EOFError\)"),
        # Asks the interpreter in C for a table of 2**31 places.
        (b"Nr\xff\xff\xff\x7f0", r"damaged pickle \(EOFError\)"),
    ],
)
def test_pickles_that_ask_for_more_than_arrays(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dict(content, "file")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_pickles_are_data_errors(data: st.DataObject) -> None:
    content = bytearray(make.cifar_batch(1)[-600:] if data.draw(st.booleans()) else SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    # Anything but a dict or this error fails the test.
    with contextlib.suppress(DataError):
        assert isinstance(read_dict(bytes(content), "file"), dict)


SMALL = pickle.dumps({b"data": np.arange(6, dtype=np.uint8), b"labels": [0, 1]}, protocol=2)


def _batch(**entries: object) -> bytes:
    good = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    return pickle.dumps({**good, **entries}, protocol=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_batch(data=np.zeros((2, 3072))), "not an array of unsigned bytes"),
        (_batch(data=[1, 2]), "not an array of unsigned bytes"),
        (_batch(data=np.zeros((2, 3071), np.uint8)), r"\[2, 3071\], not \[N, 3072\]"),
        (_batch(data=np.zeros((3, 3072), np.uint8)), "3 images but 2 labels"),
        (_batch(labels=[0, 10]), "label 10 is not in 0..9"),
        (_batch(labels=[-1, 0]), "label -1 is not in 0..9"),
        (_batch(labels=[0, 1 << 70]), "no list of 64-bit integers"),
        (_batch(labels=[0, 1.5]), "no list of 64-bit integers under 'labels'"),
        (_batch(labels=None), "no list of 64-bit integers under 'labels'"),
    ],
)
def test_inconsistent_contents_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    make.write(tmp_path / FOLDER, make.cifar10(data_batch_2=content))
    with pytest.raises(DataError, match=rf"data_batch_2: .*{message}"):
        load("cifar10", tmp_path)


def test_labels_may_be_an_array(tmp_path: Path) -> None:
    content = _batch(labels=np.array([4, 5]))
    make.write(tmp_path / FOLDER, make.cifar10(test_batch=content))
    assert load("cifar10", tmp_path).test.labels.tolist() == [4, 5]


def _members(**extra: bytes) -> dict[str, bytes]:
    return {f"{FOLDER}/{name}": content for name, content in make.cifar10().items()} | extra


def test_archive_that_points_outside_itself(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("../escaped", "/tmp/escaped", f"{FOLDER}/../../escaped"):
        make.tar(folder / "cifar-10-python.tar.gz", _members(**{name: b"x"}))
        with pytest.raises(DataError, match="points outside"):
            load("cifar10", folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "cifar-10-python.tar.gz"]


def test_truncated_or_incomplete_archive(tmp_path: Path) -> None:
    archive = make.tar(tmp_path / "cifar-10-python.tar.gz", _members())
    whole = archive.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-4], gzip.compress(bytes(range(256)) * 9)):
        archive.write_bytes(content)
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: truncated or damaged"):
            load("cifar10", tmp_path)
    members = _members()
    del members[f"{FOLDER}/data_batch_4"]
    make.tar(archive, members)
    with pytest.raises(DataError, match=f"archive lacks {FOLDER}/data_batch_4"):
        load("cifar10", tmp_path)


def test_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    bomb = make.tar(tmp_path / "bomb.tar.gz", {"zeros": bytes(1 << 24), "wanted": b"x"})
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(DataError, match="claims 16777216 bytes"):
        read_tar(bomb, ("wanted",), 1 << 20)
    many = make.tar(tmp_path / "many.tar.gz", {f"{n}": bytes(1 << 19) for n in range(4)})
    with pytest.raises(DataError, match="unpacks to more than the 1048576 bytes"):
        read_tar(many, ("wanted",), 1 << 20)


def test_archive_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        load("cifar10", tmp_path)
