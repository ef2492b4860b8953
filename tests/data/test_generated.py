"""Generated tasks: what their samples are, and that a sample is a function of its number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from saltation.data import Split, load
from saltation.data.generated import Generated
from saltation.data.sets.bursts import BurstSequences
from saltation.data.sets.mackey_glass import MackeyGlass
from saltation.data.sets.spring_mass import SpringMass
from saltation.data.summary import in_words
from saltation.errors import DataError, SaltationError

TASKS: dict[str, Callable[[int], Generated]] = {
    "bsd": lambda seed: BurstSequences(classes=3, steps=60, seed=seed),
    "spring_mass": lambda seed: SpringMass(masses=2, steps=60, seed=seed),
    "mackey_glass": lambda seed: MackeyGlass(steps=60, seed=seed),
}


def at_steps(images: Any, steps: int = 60, dt: float = 1.0) -> torch.Tensor:
    """Samples ``[N, T, F]``, of spikes or numbers."""
    is_numbers = isinstance(images, torch.Tensor)
    return images if is_numbers else images.at(steps, dt).to_dense().transpose(0, 1)


@pytest.mark.parametrize("name", TASKS)
def test_a_sample_is_a_function_of_its_number(name: str) -> None:
    """However many there are; another in the other split, and with another seed."""
    task = TASKS[name](0)
    data = task.dataset(7, 5)
    assert (len(data.train), len(data.test)) == (7, 5)
    whole = at_steps(data.train.images)
    assert torch.equal(at_steps(task.split(3).images), whole[:3])
    assert torch.equal(task.split(3).labels, data.train.labels[:3])
    for other in (data.test, TASKS[name](1).split(5)):
        assert not (at_steps(other.images) == whole[:5]).flatten(1).all(1).any()


def test_sets_of_the_registry_in_words() -> None:
    data = load("bsd", limit_train=40, limit_test=20)
    assert (data.classes, data.shape, data.duration) == (20, (10,), 200.0)
    assert data.train.labels.bincount().tolist() == [2] * 20
    assert "spikes of [10] units over 200" in in_words(data)[0]
    data = load("spring_mass", limit_train=3, limit_test=2)
    assert data.regression
    assert data.train.labels.shape == (3, 500, 4)
    assert in_words(data)[-1].startswith("targets [T, k] = [500, 4] from -")
    assert load("mackey-glass", limit_train=2, limit_test=1).train.images.shape == (2, 500, 1)


def test_bursts_tell_their_class_by_when_they_are() -> None:
    """Three channels of ten, at the same times in every sample; the others whenever."""
    task = BurstSequences()
    told = task.templates()
    assert (~told.isnan()).sum(1).tolist() == [3] * 20
    assert told.nan_to_num(100).min() >= 10
    assert told.nan_to_num(100).max() <= 190
    times = task.bursts(torch.arange(60))
    assert torch.equal(times[0, ~told[0].isnan()], times[20, ~told[0].isnan()])
    assert not (times[0] == times[20])[told[0].isnan()].any()
    # Probabilities: the floor far from every burst, and the peak at it.
    spikes = task.spikes(torch.arange(2000)).double()
    assert spikes.shape == (2000, 200, 10)
    place = task.bursts(torch.arange(2000))
    away = (torch.arange(200)[None, :, None] + 0.5 - place[:, None]).abs()
    assert spikes[away > 25].mean().item() == pytest.approx(0.05, abs=0.001)
    assert spikes[away < 0.5].mean().item() == pytest.approx(0.8, abs=0.015)


def test_bursts_are_events_of_their_steps() -> None:
    task = BurstSequences(classes=2, steps=50)
    split = task.split(5)
    spikes = task.spikes(torch.arange(5))
    assert torch.equal(at_steps(split.images, 50).bool(), spikes)
    assert split.images.counts.tolist() == spikes.sum((1, 2)).tolist()
    # Every dt sees the same events.
    fine = at_steps(split.images, 200, 0.25)
    assert torch.equal(fine.view(5, 50, 4, 10).sum(2).bool(), spikes)


def test_masses_move_as_their_springs_say() -> None:
    """Against an integration of the equations; the energy stays; input is 0 where it ends."""
    task = SpringMass()
    motion = task.motion(torch.arange(4))
    matrix = task.matrix().numpy()
    assert np.allclose(matrix, matrix.T)
    assert (task.springs() >= 500).all()

    def velocity(_: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([y[4:], -matrix @ y[:4]])

    start = np.concatenate([motion[1, 0].numpy(), np.zeros(4)])
    found = solve_ivp(
        velocity, (0, 0.5), start, t_eval=np.arange(501) / 1000, rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(motion[1].numpy(), found.y[:4].T, atol=1e-6)
    split = task.split(4)
    assert torch.equal(split.images[:, 1:250], split.labels[:, :249])
    assert split.images[:, 250:].abs().max() == 0
    assert SpringMass(observed=1.0).split(1).images[0, -1].abs().max() > 0


def test_mackey_glass_is_the_solution() -> None:
    """Against steps an eighth as long, and on the attractor."""
    task = MackeyGlass(steps=200)
    series = task.series(torch.arange(3)).numpy()
    assert 0.2 < series.min() < 0.5
    assert 1.2 < series.max() < 1.4
    split = task.split(3)
    assert torch.equal(split.images[:, 15:, 0], split.labels[:, :-15, 0])
    # The equation by central differences, within the error of a unit of time.
    middle = series[:, 18:-1]
    slope = (series[:, 19:] - series[:, 17:-2]) / 2
    delayed = series[:, 1 : series.shape[1] - 18]
    wanted = 0.2 * delayed / (1 + delayed**10) - 0.1 * middle
    assert np.abs(slope - wanted).max() < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BurstSequences(telling=10), "telling must be fewer than the 10 channels, got 10"),
        (lambda: BurstSequences(classes=0), "classes must be a positive integer, got 0"),
        (lambda: BurstSequences(width=60.0), "width must be at most steps / 4 = 50, got 60"),
        (lambda: BurstSequences(probability=(0.5, 1.5)), "probability must be at most 1"),
        (lambda: BurstSequences(within=(0.5, 1.5)), "within must be at most 1"),
        (lambda: BurstSequences(within=(0.5, 0.1)), "within must be two ascending numbers"),
        (lambda: SpringMass(stiffness=(5.0, 1.0)), "stiffness must be two ascending numbers"),
        (lambda: SpringMass(observed=0.0), "observed must be above 0 and at most 1, got 0"),
        (lambda: MackeyGlass(ahead=0), "ahead must be a positive integer, got 0"),
        (lambda: MackeyGlass().dataset(0, 1), "train must be a positive integer, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SaltationError, match=message):
        make()


def test_targets_are_of_every_moment() -> None:
    x = torch.zeros(2, 5, 3)
    assert len(Split(x, torch.zeros(2, 5, 1))) == 2
    with pytest.raises(DataError, match=r"targets \[2, 4, 1\] are of every moment"):
        Split(x, torch.zeros(2, 4, 1))
    with pytest.raises(DataError, match="are of every moment of sequences"):
        Split(torch.zeros(2, 1, 3, 3), torch.zeros(2, 5, 1))
