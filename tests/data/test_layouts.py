"""Where people have their files: layouts of tutorials, unpackers and Kaggle, in any case."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from saltation.data import describe, load
from saltation.errors import DataError, MissingDataError, SaltationError
from tests.data import make


def _mnist(root: Path, layout: str) -> None:
    """MNIST's files at the paths that a layout gives for their name {s}, or dotted {d}."""
    plain = make.mnist(root / "made")
    for file in sorted(plain.iterdir()):
        place = root / "data" / layout.format(s=file.name, d=file.name.replace("-idx", ".idx"))
        place.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        place.write_bytes(gzip.compress(content) if place.suffix.lower() == ".gz" else content)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("mnist", "{s}/{s}"),  # unpackers that make a folder of a file's name
        ("mnist", "{d}/{s}"),
        ("mnist", "{d}"),
        ("mnist", "mnist/{d}/{d}"),
        ("mnist", "mnist/MNIST/raw/{s}"),  # torchvision with root="data/mnist", asked for in data
        ("mnist", "MNIST/MNIST/raw/{s}.gz"),
        ("mnist", "Mnist/RAW/{s}"),
        ("mnist", "{s}.GZ"),
        ("fashion_mnist", "fashion_mnist/FashionMNIST/raw/{s}"),
        ("fashion_mnist", "FASHIONMNIST/{s}/{s}"),
        ("fashion_mnist", "fashion-mnist/data/fashion/{s}.gz"),
    ],
)
def test_mnist(name: str, layout: str, tmp_path: Path) -> None:
    _mnist(tmp_path, layout)
    root = tmp_path / "data"
    assert {p.name: p.present for p in describe(root)}[name]
    assert len(load(name, root).train) == 12
    other = "mnist" if name == "fashion_mnist" else "fashion_mnist"
    with pytest.raises(MissingDataError):
        load(other, root)


def test_a_folder_of_a_files_name_gives_way_to_the_file(tmp_path: Path) -> None:
    """What Kaggle's archive of MNIST holds: both, and only one of them may be whole."""
    _mnist(tmp_path, "{s}/{s}")
    root = tmp_path / "data"
    for file in (tmp_path / "made").iterdir():
        (root / file.name.replace("-idx", ".idx")).write_bytes(file.read_bytes())
        (root / file.name / file.name).write_bytes(b"cut off")
    assert len(load("mnist", root).train) == 12


CIFAR10 = make.cifar10(**{f"data_batch_{n}": make.cifar_batch(2) for n in range(1, 6)})
CIFAR100 = {name: make.cifar_batch(10, key="fine_labels") for name in ("train", "test")}


@pytest.mark.parametrize(
    ("name", "place", "root"),
    [
        ("cifar10", "cifar10", ""),
        ("cifar10", "cifar10", "cifar10"),
        ("cifar10", "CIFAR-10", ""),
        ("cifar10", "anything", "anything"),
        ("cifar10", "CIFAR10/CIFAR-10-BATCHES-PY", ""),
        ("cifar10", "cifar-10-python/cifar-10-batches-py", ""),
        ("cifar10", "cifar10/cifar-10-batches-py", "cifar10"),
        ("cifar100", "cifar100", ""),
        ("cifar100", "cifar100", "cifar100"),
        ("cifar100", "Cifar_100", ""),
        ("cifar100", "anything", "anything"),
        ("cifar100", "cifar-100-python/cifar-100-python", ""),
    ],
)
@pytest.mark.parametrize("form", ["plain", "gz", "upper"])
def test_cifar(name: str, place: str, root: str, form: str, tmp_path: Path) -> None:
    for file, content in (CIFAR10 if name == "cifar10" else CIFAR100).items():
        if form == "gz":
            make.write(tmp_path / place, {f"{file}.gz": gzip.compress(content)})
        else:
            make.write(tmp_path / place, {file.upper() if form == "upper" else file: content})
    assert len(load(name, tmp_path / root).train) == 10
    with pytest.raises(MissingDataError):
        load("cifar100" if name == "cifar10" else "cifar10", tmp_path / root)


def test_half_a_set_is_told_only_where_a_name_says_what_it_is(tmp_path: Path) -> None:
    make.write(tmp_path / "cifar10", {"data_batch_1": make.cifar_batch(2)})
    with pytest.raises(DataError, match="incomplete: no data_batch_2"):
        load("cifar10", tmp_path)
    # Many folders have a train, and a file of that name alone says nothing.
    make.write(tmp_path / "other" / "train" / "images", {"a": b""})
    make.write(tmp_path / "other", {"test": b""})
    with pytest.raises(MissingDataError):
        load("cifar100", tmp_path / "other")


@pytest.mark.parametrize(
    ("place", "root"),
    [
        ("tiny-imagenet-200", ""),
        ("Tiny-ImageNet-200", ""),
        ("tiny-imagenet/tiny-imagenet-200", ""),
        ("tiny-imagenet-200/tiny-imagenet-200", ""),
        ("tiny-imagenet-200/tiny-imagenet-200", "tiny-imagenet-200"),
        ("TinyImageNet", ""),
        ("anything", "anything"),
    ],
)
def test_tiny_imagenet(place: str, root: str, tmp_path: Path) -> None:
    make.write(tmp_path / place, make.tiny_imagenet())
    assert len(load("tiny_imagenet", tmp_path / root).train) == 6


@pytest.mark.parametrize("name", ["MNIST", "Mnist", "mnist"])
def test_names_in_any_case(name: str, tmp_path: Path) -> None:
    make.mnist(tmp_path)
    assert load(name, tmp_path).name == "mnist"


def test_spellings_of_names(tmp_path: Path) -> None:
    make.write(tmp_path / "cifar10", CIFAR10)
    assert load("CIFAR-10", tmp_path).name == "cifar10"
    make.mnist(tmp_path / "FashionMNIST" / "raw")
    assert load("FashionMNIST", tmp_path).name == "fashion_mnist"
    with pytest.raises(SaltationError, match=r"unknown data set 'MNST'; did you mean 'mnist'\?"):
        load("MNST")


def test_a_home_that_nobody_has_is_a_name_like_others() -> None:
    with pytest.raises(MissingDataError, match="~nosuchuser/x"):
        load("mnist", "~nosuchuser/x")


@pytest.mark.parametrize("root", ["a" * 5000, "a\0b", "[/bold]", "\udce9", "x\ny"])
def test_any_text_is_a_path(root: str) -> None:
    with pytest.raises(DataError):
        load("mnist", root)


def test_limits_of_arrays_are_those_of_numbers(tmp_path: Path) -> None:
    make.mnist(tmp_path)
    assert len(load("mnist", tmp_path, limit_train=np.int64(3)).train) == 3  # type: ignore[arg-type]
