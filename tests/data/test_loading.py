"""`load`, `describe` and the contract that every registered set keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from saltation.data import DATASETS, Dataset, Spec, Split, describe, load
from saltation.data.loading import resize
from saltation.errors import DataError, MissingDataError, SaltationError
from tests.data import make


def test_digits_are_always_there() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test), data.shape) == (1442, 355, (1, 8, 8))
    assert data.train.images.max() == 255
    # The first row of the first stored image: 0 0 5 13 9 1 0 0 sixteenths.
    assert data.train.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert data.train.labels[:5].tolist() == [0, 1, 2, 3, 4]
    assert data.test.labels[:4].tolist() == [5, 0, 9, 8]
    assert data.test.labels.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]


def test_limits_keep_the_first_in_stored_order() -> None:
    whole = load("digits")
    some = load("digits", limit_train=7, limit_test=100_000)
    assert torch.equal(some.train.images, whole.train.images[:7])
    assert torch.equal(some.train.labels, whole.train.labels[:7])
    assert len(some.test) == 355


@pytest.mark.parametrize("keyword", ["side", "limit_train", "limit_test"])
@pytest.mark.parametrize("value", [0, -3])
def test_numbers_below_one_are_refused_before_reading(keyword: str, value: int) -> None:
    with pytest.raises(SaltationError, match=f"{keyword} must be at least 1, got {value}") as error:
        load("mnist", **{keyword: value})  # type: ignore[arg-type]
    assert not isinstance(error.value, MissingDataError)


def test_unknown_name() -> None:
    with pytest.raises(SaltationError, match=r"'mnst'.*'mnist'.*fashion_mnist"):
        load("mnst")


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if not spec.bundled])
def test_missing_set_names_places_and_both_ways(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALTATION_DATA", str(tmp_path / "variable"))
    with pytest.raises(MissingDataError) as error:
        load(name, tmp_path / "given")
    places = [tmp_path / "given", tmp_path / "variable", tmp_path / "cache" / "saltation"]
    found = [str(error.value).find(str(place)) for place in places]
    assert -1 < found[0] < found[1] < found[2]
    assert "--data-dir" in str(error.value)
    assert f"saltation data fetch {name}" in str(error.value)
    assert "\n" not in str(error.value)


def test_order_of_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, count in (("cache/saltation", 3), ("variable", 4), ("given", 5)):
        make.mnist(tmp_path / place / "MNIST" / "raw", train=count)
    assert len(load("mnist").train) == 3
    monkeypatch.setenv("SALTATION_DATA", str(tmp_path / "variable"))
    assert len(load("mnist").train) == 4
    assert len(load("mnist", tmp_path / "given").train) == 5
    assert len(load("mnist", tmp_path / "elsewhere").train) == 4


def test_incomplete_set_and_file_as_data_folder(tmp_path: Path) -> None:
    folder = make.mnist(tmp_path / "MNIST" / "raw")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="incomplete: no t10k-labels-idx1-ubyte"):
        load("mnist", tmp_path)
    with pytest.raises(DataError, match="is a file"):
        load("mnist", folder / "t10k-images-idx3-ubyte")


def test_describe(tmp_path: Path) -> None:
    make.mnist(tmp_path / "MNIST" / "raw")
    make.write(tmp_path / "cifar-10-batches-py", {"data_batch_1": b""})
    found = {presence.name: presence for presence in describe(tmp_path)}
    assert list(found) == list(DATASETS)
    assert found["digits"].present
    assert found["mnist"].present
    assert found["mnist"].where == tmp_path / "MNIST" / "raw"
    assert not found["cifar10"].present
    assert "no data_batch_2" in found["cifar10"].note
    assert found["tiny_imagenet"].where is None
    assert found["tiny_imagenet"].note == "saltation data fetch tiny_imagenet"


@pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS)
def test_every_spec_can_be_found_and_fetched(spec: Spec) -> None:
    assert spec.title
    # Images [C, H, W], sequences [T, F], spikes of units [F].
    assert len(spec.shape) == (3 if spec.dt is spec.duration is None else 2 if spec.dt else 1)
    assert spec.bundled == (not spec.downloads)
    for item in spec.downloads:
        assert re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", item.checksum)
        assert len(item.urls) >= 2
        # What is fetched must be what load then finds.
        assert item.path in spec.archives or item.path.startswith(spec.folders)


@pytest.mark.parametrize("side", [5, 14, 28, 40])
def test_resize_keeps_constants_and_mean(side: int) -> None:
    flat = torch.full((3, 2, 28, 28), 77, dtype=torch.uint8)
    assert (resize(flat, side) == 77).all()
    ramp = torch.arange(0, 252, 9, dtype=torch.uint8).expand(1, 1, 28, 28)
    resized = resize(ramp, side)
    assert resized.shape == (1, 1, side, side)
    assert resized.dtype == torch.uint8
    assert resized.double().mean().item() == pytest.approx(ramp.double().mean().item(), abs=0.6)


def test_shrinking_averages_and_chunks_do_not_show() -> None:
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 255
    images = board.to(torch.uint8).expand(1001, 1, 16, 16)
    small = resize(images, 4)
    # Without a filter the corners of a checkerboard would alias to 0 or 255.
    assert small.min() > 100
    assert small.max() < 155
    assert torch.equal(small[0], small[1000])


def test_side_of_a_loaded_set() -> None:
    data = load("digits", side=16, limit_train=3, limit_test=2)
    assert (data.side, data.test.images.shape) == (16, (2, 1, 16, 16))


def test_split_checks_itself() -> None:
    images, labels = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(DataError, match="samples must be images, uint8 or float32"):
        Split(images.double(), labels)
    with pytest.raises(DataError, match="float32 images are from 0 to 1, got 0 to 255"):
        Split(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1), labels)
    with pytest.raises(DataError, match="labels must be int64"):
        Split(images, labels.int())
    with pytest.raises(DataError, match="2 images but 1 labels"):
        Split(images, labels[:1])


def test_to_moves_both_splits() -> None:
    data = load("digits", limit_train=2, limit_test=2).to("meta")
    assert isinstance(data, Dataset)
    assert {data.train.images.device.type, data.test.labels.device.type} == {"meta"}
