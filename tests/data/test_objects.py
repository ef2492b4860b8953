"""Data that a program has in memory: the file of them holds what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import TensorDataset

from saltation.data import as_file, load, spec_of
from saltation.data.sets.bursts import BurstSequences
from saltation.data.sets.spring_mass import SpringMass
from saltation.errors import DataError, SaltationError


class Items(TorchDataset[Any]):
    """Samples from a list."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, n: int) -> Any:
        return self.items[n]


def test_tensors_and_data_sets_become_files() -> None:
    x, y = torch.rand(6, 1, 4, 4), torch.arange(6) % 2
    data = load(as_file((x, y), TensorDataset(x[:4], y[:4])))
    assert torch.equal(data.train.images, x)
    assert torch.equal(data.test.labels, y[:4])
    assert as_file((x, y), (x[:4].numpy(), y[:4].numpy())) == data.name
    assert as_file((x, y), (x[:3], y[:3])) != data.name
    targets = load(as_file((x, torch.rand(6, 2)), (x, torch.rand(6, 2))))
    assert (targets.regression, targets.of_moments) == (True, False)


def test_sequences_of_different_lengths_are_padded() -> None:
    train = Items(*((torch.full((n, 2), float(n)), n % 2) for n in range(1, 6)))
    test = TensorDataset(torch.ones(2, 7, 2), torch.tensor([0, 1]))
    data = load(as_file(train, test, dt=0.5))
    assert data.train.lengths is not None
    assert data.train.lengths.tolist() == [1, 2, 3, 4, 5]
    assert data.test.lengths.tolist() == [7, 7]  # type: ignore[union-attr]
    assert data.train.images.shape == (5, 7, 2)
    assert data.train.images[2].sum() == 3 * 2 * 3
    assert data.dt == 0.5
    of_moments = Items(*((np.zeros((n, 2)), np.full((n, 1), 0.5 * n)) for n in (2, 3)))
    labels = load(as_file(of_moments, of_moments)).train.labels
    assert labels[0].nan_to_num(-7.0).tolist() == [[1], [1], [-7]]


def test_generated_sets_of_any_size_become_files() -> None:
    bursts = BurstSequences(classes=3).dataset(9, 6)
    data = load(as_file(bursts))
    assert (data.classes, data.shape) == (3, (10,))
    for part in ("train", "test"):
        kept, made = getattr(data, part), getattr(bursts, part)
        for one, other in zip(kept.images.recording, made.images.recording, strict=True):
            assert np.array_equal(one, other)
    masses = SpringMass(steps=9).dataset(4, 3)
    data = load(as_file(masses))
    assert (data.dt, data.of_moments) == (1.0, True)
    assert torch.equal(data.test.labels, masses.test.labels)


@pytest.mark.parametrize(
    ("train", "test", "error", "reason"),
    [
        (3, None, SaltationError, "data from Python are a saltation.data.Dataset, or"),
        (Items((torch.ones(2, 2), 1)), 3, SaltationError, "got 3 to test"),
        (Items(), Items(), DataError, "train: the data set holds no sample"),
        (Items(5), Items(5), DataError, "train: sample 0 is int, not"),
        (Items(("a", 1)), Items(), DataError, "train: x of sample 0 is str, not numbers"),
        (Items((object(), 1)), Items(), DataError, "x of sample 0 is object, not numbers"),
        (Items(([[1.0], [1, 2]], 1)), Items(), DataError, "x of sample 0 is list, not numbers"),
        (
            Items((np.ones(2), 1), (np.ones(3), 1)),
            Items(),
            DataError,
            "all must be alike",
        ),
    ],
)
def test_what_is_no_data_is_told(train: Any, test: Any, error: type, reason: str) -> None:
    with pytest.raises(error, match=reason):
        as_file(train, test)


def test_what_a_file_may_not_hold_is_told() -> None:
    path = as_file((torch.full((4, 3), 7.0), torch.arange(4)), (torch.rand(2, 3), torch.arange(2)))
    with pytest.raises(DataError, match="values from 7 to 7"):
        spec_of(path)
