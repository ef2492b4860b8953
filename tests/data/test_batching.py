"""Batches, and augmentation that depends on (seed, epoch, sample) alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from saltation.data import Augment, Split, batches, random_crop, random_flip
from saltation.errors import SaltationError


def _split(count: int, side: int = 5) -> Split:
    images = torch.arange(count * side * side).reshape(count, 1, side, side) % 256
    return Split(images.to(torch.uint8), torch.arange(count) % 10)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 40),
    size=st.integers(1, 50),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
)
def test_every_sample_once_in_an_order_of_seed_and_epoch(
    count: int, size: int, seed: int, epoch: int
) -> None:
    split = _split(count)
    made = list(batches(split, size, seed=seed, epoch=epoch, shuffle=True))
    index = torch.cat([batch.index for batch in made])
    assert sorted(index.tolist()) == list(range(count))
    assert all(len(batch.index) == size for batch in made[:-1])
    whole = next(batches(split, count, seed=seed, epoch=epoch, shuffle=True))
    assert torch.equal(whole.index, index)
    assert torch.equal(whole.labels, split.labels[index])
    assert torch.equal(whole.images, split.images[index].float() / 255)


def test_orders_differ_between_seeds_and_epochs() -> None:
    orders = [
        next(batches(_split(30), 30, seed=seed, epoch=epoch, shuffle=True)).index.tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert next(batches(_split(30), 30)).index.tolist() == list(range(30))


def test_pixels_become_zero_to_one() -> None:
    batch = next(batches(Split(torch.tensor([[[[0, 255]]]]).byte(), torch.tensor([3])), 1))
    assert batch.images.dtype == torch.float32
    assert batch.images.flatten().tolist() == [0.0, 1.0]


def test_drop_last() -> None:
    sizes = [len(batch.index) for batch in batches(_split(10), 4, drop_last=True)]
    assert sizes == [4, 4]
    with pytest.raises(SaltationError, match="batch_size 11 is above the 10 samples"):
        batches(_split(10), 11, drop_last=True)
    with pytest.raises(SaltationError, match="batch_size must be at least 1, got 0"):
        batches(_split(10), 0)


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(12)),
    size=st.integers(1, 12),
    padding=st.integers(0, 6),
    seed=st.integers(0, 2**64 - 1),
    epoch=st.integers(0, 1000),
)
def test_augmentation_knows_nothing_of_the_batch(
    order: list[int], size: int, padding: int, seed: int, epoch: int
) -> None:
    images = torch.rand(12, 2, 5, 7)
    augment = Augment(padding=padding)
    whole = augment(images, torch.arange(12), seed=seed, epoch=epoch)
    assert whole.shape == images.shape
    index = torch.tensor(order)[:size]
    assert torch.equal(augment(images[index], index, seed=seed, epoch=epoch), whole[index])


def test_crop_is_a_window_of_the_padded_image_and_takes_every_offset() -> None:
    count, padding = 400, 2
    images = (torch.rand(1, 3, 6, 4) + 0.1).expand(count, 3, 6, 4)
    cropped = random_crop(images, torch.arange(count), padding=padding, seed=7, epoch=3)
    padded = pad(images[0], (padding,) * 4)
    windows = {
        (top, left): padded[:, top : top + 6, left : left + 4]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    }
    seen = [
        next(key for key, window in windows.items() if torch.equal(window, crop))
        for crop in cropped
    ]
    assert set(seen) == set(windows)


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(1, 1, 2, 3).expand(2000, 1, 2, 3)
    flipped = random_flip(images, torch.arange(2000), seed=1, epoch=0)
    mirrored = (flipped == images.flip(-1)).all(dim=(1, 2, 3))
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    # Five standard deviations of 2000 fair coins.
    assert abs(mirrored.sum().item() - 1000) < 112


def test_augmentation_changes_with_seed_and_epoch() -> None:
    images, index = torch.rand(50, 1, 8, 8), torch.arange(50)
    made = [Augment()(images, index, seed=s, epoch=e) for s, e in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    nothing = Augment(padding=0, flip=False)(images, index, seed=0, epoch=0)
    assert torch.equal(nothing, images)


def test_batches_augment_by_index() -> None:
    split = _split(9)
    plain = list(batches(split, 4, seed=3, epoch=2, shuffle=True))
    for batch, bare in zip(
        batches(split, 4, seed=3, epoch=2, shuffle=True, augment=Augment()), plain, strict=True
    ):
        expected = Augment()(bare.images, bare.index, seed=3, epoch=2)
        assert torch.equal(batch.images, expected)


def test_wrong_arguments() -> None:
    images = torch.zeros(2, 1, 4, 4)
    with pytest.raises(SaltationError, match="padding must be at least 0, got -1"):
        Augment(padding=-1)
    with pytest.raises(SaltationError, match=r"\[2, 1, 4, 4\] and \[3\]"):
        random_flip(images, torch.arange(3), seed=0, epoch=0)
    with pytest.raises(SaltationError, match=r"\[1, 4, 4\] and \[1\]"):
        random_crop(images[0], torch.arange(1), padding=1, seed=0, epoch=0)
