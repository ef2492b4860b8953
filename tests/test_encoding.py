"""Encoders: probabilities and intervals, trains fixed by (seed, epoch, sample), shared events."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats
from torch import Tensor

import saltation as st
from saltation.encoding import ENCODERS, POISSON_METHODS
from saltation.kernels.sampling import active, bernoulli_trains, draws
from saltation.random import TEST, TRAIN, philox, words
from tests.facts import within_standard_errors

RANDOM = {
    **{method: partial(st.poisson, method=method) for method in POISSON_METHODS},
    "common_times": st.common_times,
}
PROBABILITY = {
    "exact": lambda x, dt: 1 - math.exp(-x * dt),
    "linear": lambda x, dt: min(x * dt, 1.0),
    "bernoulli": lambda x, dt: x,
    "common_times": lambda x, dt: 1 - math.exp(-x * dt),
}

crowded = pytest.mark.filterwarnings("ignore::saltation.UnitWarning")
every_random_encoder = pytest.mark.parametrize("name", RANDOM)


def rates(*shape: int, seed: int = 0) -> Tensor:
    """Random rates in [0, 1), a quarter of them 0."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return x * (x > 0.25)


@every_random_encoder
@pytest.mark.parametrize("dt", [0.3, 1.0, 4.0])
def test_rates_agree_with_the_probability(name: str, dt: float) -> None:
    """The count of spikes of each rate, over 200 samples and 50 steps, within 4 standard errors."""
    steps, batch = 50, 200
    grid = [0.0, 0.003, 0.1, 0.5, 0.9, 1.0]
    x = torch.tensor(grid, dtype=torch.float64).expand(batch, -1)
    counts = RANDOM[name](x, steps, dt).sum(dim=(0, 1)).tolist()
    for rate, count in zip(grid, counts, strict=True):
        p = PROBABILITY[name](rate, dt)
        assert within_standard_errors(count, steps * batch, p)


@every_random_encoder
def test_rate_zero_never_spikes_and_full_probability_always_does(name: str) -> None:
    """The two ends are exact, not nearly so."""
    x = torch.tensor([[0.0, 1.0]]).expand(500, 2)
    spikes = RANDOM[name](x, 10, 1.0 if name in ("linear", "bernoulli") else 40.0)
    assert spikes[..., 0].sum() == 0
    assert (spikes[..., 1] == 1).all()


@pytest.mark.parametrize("name", ["exact", "common_times"])
def test_intervals_are_exponential(name: str) -> None:
    """Kolmogorov and Smirnov on the first 10 intervals of 300 sites, in steps of 1/200.

    40 units of time hold fewer than 10 events of rate 1 with probability 1e-9, so no interval is
    cut off; the step's share of the statistic is 0.0025, a tenth of its critical value.
    """
    dt, events = 1 / 200, 10
    spikes = RANDOM[name](torch.ones(300, 1), 8000, dt)[..., 0].T
    times = torch.stack([row.nonzero()[:events, 0] for row in spikes]) * dt
    intervals = torch.diff(times, dim=1, prepend=torch.full((300, 1), -dt)) - dt / 2
    assert stats.kstest(intervals.flatten().numpy(), "expon").pvalue > 0.01


@every_random_encoder
def test_spikes_are_independent(name: str) -> None:
    """Neighbouring steps, samples and sites are uncorrelated: |r| < 4 / sqrt(n)."""
    p = 0.5
    rate = p if name in ("linear", "bernoulli") else -math.log(1 - p)
    spikes = RANDOM[name](torch.full((50, 50), rate, dtype=torch.float64), 48).double() - p
    for axis in range(3):
        n = spikes.shape[axis] - 1
        pairs = spikes.narrow(axis, 0, n) * spikes.narrow(axis, 1, n)
        assert abs(pairs.mean().item()) < 4 * p * p / math.sqrt(pairs.numel())


@every_random_encoder
def test_a_train_belongs_to_the_sample(name: str) -> None:
    """The same in any order, in part of the batch, alone, and whatever else is in the batch."""
    x, index = rates(7, 2, 3), torch.tensor([5, 0, 99, 3, 2**32 - 1, 60_000, 1])
    encode = partial(RANDOM[name], steps=9, dt=0.7, seed=4, epoch=2)
    whole = encode(x, index=index)
    order = torch.tensor([3, 6, 0, 5, 1, 4, 2])
    assert torch.equal(encode(x[order], index=index[order]), whole[:, order])
    assert torch.equal(encode(x[2:5], index=index[2:5]), whole[:, 2:5])
    for b in range(7):
        assert torch.equal(encode(x[b : b + 1], index=index[b : b + 1]), whole[:, b : b + 1])


@every_random_encoder
def test_more_steps_go_on_where_fewer_end(name: str) -> None:
    """A train does not depend on how long it is drawn."""
    x = rates(5, 6)
    whole = RANDOM[name](x, 23, 0.7)
    for steps in (1, 4, 5, 22):
        assert torch.equal(RANDOM[name](x, steps, 0.7), whole[:steps])


@every_random_encoder
def test_default_index_counts_the_batch(name: str) -> None:
    """Without an index the samples are 0 ... B-1."""
    x = rates(5, 6)
    assert torch.equal(RANDOM[name](x, 10), RANDOM[name](x, 10, index=torch.arange(5)))


@every_random_encoder
def test_trains_differ_by_seed_epoch_stream_and_index(name: str) -> None:
    """Two trains of spike probability 1/2 differ in half of their places, within 4 errors."""
    steps, batch, sites = 20, 20, 25
    rate = 0.5 if name in ("linear", "bernoulli") else math.log(2)
    x = torch.full((batch, sites), rate, dtype=torch.float64)
    base: dict[str, Any] = {"seed": 0, "epoch": 0, "stream": TRAIN, "index": torch.arange(batch)}
    first = RANDOM[name](x, steps, **base)
    other: dict[str, Any] = {"seed": 1, "epoch": 1, "stream": TEST, "index": base["index"] + batch}
    for what, value in other.items():
        second = RANDOM[name](x, steps, **{**base, what: value})
        assert within_standard_errors((first != second).sum().item(), first.numel(), 0.5)


def test_a_spike_is_a_draw_below_the_threshold() -> None:
    """To the bit: at threshold = draw no spike, one above it a spike; 2**32 is certain."""
    site, sample, place = torch.arange(3), torch.zeros(3).long(), {"epoch": 2, "stream": TEST}
    found = draws(37, site, sample + 7, seed=1, **place)

    def train(threshold: Tensor) -> Tensor:
        index = torch.tensor([7])
        sites = active(torch.ones(1, 3))
        return bernoulli_trains(sites, threshold, (37, 1, 3), index, seed=1, **place)[:, 0]

    for step, draw in enumerate(found):
        assert train(draw)[step].tolist() == [False] * 3
        assert train(draw + 1)[step].tolist() == [True] * 3
    assert train(torch.full((3,), 2**32)).all()


def test_a_draw_is_a_byte_and_the_rest() -> None:
    """Byte t % 16 of block t // 16 on top, the top of word t % 4 of block 2**31 + t // 4 below."""
    found = draws(40, torch.tensor([5]), torch.tensor([9]), seed=3, epoch=1, stream=TRAIN)
    place = (5, 9, (1 << 4) | TRAIN, 3, 0)
    for t, draw in enumerate(found.flatten().tolist()):
        top = philox(t // 16, *place)[t % 16 // 4] >> 8 * (t % 4) & 0xFF
        rest = philox(2**31 + t // 4, *place)[t % 4] >> 8
        assert draw == top << 24 | rest


def test_methods_share_their_draws() -> None:
    """More probability only adds spikes: p(exact) < p(linear), so its spikes are among those."""
    x = rates(20, 30)
    exact, linear = (st.poisson(x, 20, 0.5, method=m) for m in ("exact", "linear"))
    assert (exact <= linear).all()
    assert (exact < linear).any()


@crowded
@given(
    dt=some.sampled_from([0.05, 0.1, 0.3, 1.0, 2.5, 7.0]) | some.floats(0.01, 5.0),
    steps=some.integers(1, 30),
    seed=some.integers(0, 2**64 - 1),
)
def test_common_times_at_dt_are_those_at_half_merged(dt: float, steps: int, seed: int) -> None:
    """Bins of dt spike exactly where one of their two halves does."""
    x = 3 * rates(3, 4, seed=seed % 1000)
    coarse = st.common_times(x, steps, dt, seed=seed)
    fine = st.common_times(x, 2 * steps, dt / 2, seed=seed)
    assert torch.equal(coarse, fine.view(steps, 2, 3, 4).amax(dim=1))


def test_common_times_follow_the_rate() -> None:
    """Twice the rate is the same train in half the time; a tiny rate is legal and never spikes."""
    x = rates(4, 5).double()
    assert torch.equal(st.common_times(2 * x, 30, 0.25), st.common_times(x, 30, 0.5))
    assert st.common_times(torch.full((2, 3), 1e-300, dtype=torch.float64), 5).sum() == 0


def event_by_event(x: Tensor, steps: int, dt: float, seed: int) -> Tensor:
    """The train of each rate of ``x`` [B, F], one event after the other."""
    spikes = torch.zeros(steps, *x.shape)
    for b, f in x.nonzero().tolist():
        time, rate, block = 0.0, float(x[b, f]), 0
        while time < steps * dt:
            place: dict[str, Any] = {"seed": seed, "epoch": 0, "stream": TRAIN}
            for draw in words(block, f, torch.tensor(b), **place):
                time += -float(torch.log((draw.double() + 0.5) / 2**32)) / rate
                if time / dt < steps:
                    spikes[int(time / dt), b, f] = 1
            block += 1
    return spikes


@crowded
@pytest.mark.parametrize(
    ("high", "dt"), [(0.01, 1.0), (1.0, 0.1), (5.0, 0.7), (40.0, 0.5), (300.0, 0.05)]
)
def test_common_times_event_by_event(high: float, dt: float) -> None:
    """The same spikes as one event after the other gives, whatever is drawn at once."""
    x = high * rates(2, 5, seed=3).double()
    ours = st.common_times(x, 30, dt, seed=5)
    assert torch.equal(ours, event_by_event(x, 30, dt, 5).double())


def test_common_times_of_large_rates() -> None:
    """With 23 events in a step each bin has one, as no interval can be longer than 22.9 / rate;
    just below, too, though nobody says so, and beyond any number it costs nothing."""
    longest = -math.log(0.5 / 2**32)
    assert 22.8 < longest < 23
    crowded = torch.tensor([[22.9, 23.1, 1e6, 1e30, 1e300]], dtype=torch.float64)
    with pytest.warns(st.UnitWarning, match="nearly every step has a spike"):
        spikes = st.common_times(crowded, 200)
    assert (spikes == 1).all()
    with pytest.warns(st.UnitWarning):
        assert st.common_times(torch.full((2, 3), 1e7), 1000, 1e-4).all()


@every_random_encoder
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_spikes_keep_dtype_and_shape(name: str, dtype: torch.dtype) -> None:
    """[B, ...] to [T, B, ...], of the input's dtype, 0 or 1."""
    spikes = RANDOM[name](rates(2, 3, 4, 5).to(dtype), 6)
    assert (spikes.dtype, spikes.shape) == (dtype, (6, 2, 3, 4, 5))
    assert set(spikes.unique().tolist()) == {0.0, 1.0}


@every_random_encoder
def test_empty_batch_and_no_sites(name: str) -> None:
    """Nothing in, nothing out, of the right shape."""
    assert RANDOM[name](torch.zeros(0, 3), 5).shape == (5, 0, 3)
    assert RANDOM[name](torch.zeros(2, 0), 5).shape == (5, 2, 0)


@every_random_encoder
@pytest.mark.parametrize("rate", [-1e-3, float("nan"), float("inf")])
def test_bad_rates_are_refused(name: str, rate: float) -> None:
    """One bad rate among good ones is found."""
    x = torch.full((2, 3), 0.5)
    x[1, 2] = rate
    with pytest.raises(st.SaltationError, match="rates must be finite and at least 0"):
        RANDOM[name](x, 5)


@every_random_encoder
@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_bad_steps_are_refused(name: str, steps: int) -> None:
    """Steps are positive integers."""
    with pytest.raises(st.SaltationError, match="steps must be a positive integer, got"):
        RANDOM[name](torch.ones(2, 3), steps)


@every_random_encoder
@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_dt_is_refused(name: str, dt: float) -> None:
    """dt is a finite number above 0."""
    with pytest.raises(st.SaltationError, match="dt must be a finite number above 0"):
        RANDOM[name](torch.ones(2, 3), 5, dt)


@every_random_encoder
@pytest.mark.parametrize(
    "index",
    [
        torch.arange(3),
        torch.tensor([0.0, 1.0]),
        torch.tensor([True, False]),
        torch.tensor([-1, 0]),
        torch.tensor([0, 2**32]),
        torch.zeros(2, 1, dtype=torch.int64),
    ],
)
def test_bad_index_is_refused(name: str, index: Tensor) -> None:
    """One integer in [0, 2**32) per sample, nothing else."""
    with pytest.raises(st.SaltationError, match=r"ind(ex|ices) must"):
        RANDOM[name](torch.ones(2, 3), 5, index=index)


@every_random_encoder
def test_integer_images_are_refused(name: str) -> None:
    """A uint8 image is not a rate."""
    wrong = r"floating-point tensor .* torch\.uint8 \[2, 3\]; divide pixels of 0 to 255 by 255"
    with pytest.raises(st.SaltationError, match=wrong):
        RANDOM[name](torch.ones(2, 3, dtype=torch.uint8), 5)


@every_random_encoder
@pytest.mark.parametrize("numbers", [np.ones((2, 3)), [[0.5]], 0.5, None, "rates"])
def test_what_is_no_tensor_is_refused(name: str, numbers: Any) -> None:
    """By the name of its type."""
    wrong = f"x must be a torch tensor, got {type(numbers).__name__}"
    with pytest.raises(st.SaltationError, match=wrong):
        RANDOM[name](numbers, 5)


@every_random_encoder
def test_a_gradient_is_refused(name: str) -> None:
    """Spikes that are drawn have none; without grad mode nobody asks for it."""
    x = rates(2, 3).requires_grad_()
    with pytest.raises(st.SaltationError, match=r"spikes have no gradient .* detach it"):
        RANDOM[name](x, 5)
    with torch.no_grad():
        assert torch.equal(RANDOM[name](x, 5), RANDOM[name](x.detach(), 5))


@every_random_encoder
def test_numbers_of_numpy_and_torch(name: str) -> None:
    """Are taken where numbers of Python are, for the same train."""
    x = rates(2, 3)
    train = RANDOM[name](x, 10, 0.5, seed=3, epoch=2, stream=TEST)
    whole = {"seed": np.uint64(3), "epoch": torch.tensor(2), "stream": np.int8(TEST)}
    for steps, dt in (
        (np.int64(10), np.float32(0.5)),
        (torch.tensor(10), torch.tensor(0.5)),
        (np.array(10), Fraction(1, 2)),
    ):
        assert torch.equal(RANDOM[name](x, steps, dt, **whole), train)
    for dt in ("0.5", None, True, np.ones(2), torch.ones(1)):
        with pytest.raises(st.SaltationError, match="dt must be a finite number above 0, got"):
            RANDOM[name](x, 10, dt)


@every_random_encoder
@pytest.mark.parametrize(
    ("what", "value"),
    [
        *(("stream", value) for value in (16, -1, 1.0)),
        *(("epoch", value) for value in (2**28, 0.5, True)),
        *(("seed", value) for value in ("0", -1)),
    ],
)
def test_what_fixes_the_train_is_checked(name: str, what: str, value: Any) -> None:
    """Stream 16 of epoch 0 would be epoch 1; refused where nothing is drawn, too."""
    for x in (rates(2, 3), torch.zeros(0, 3)):
        with pytest.raises(st.SaltationError, match=f"{what} must be an integer in .*, got"):
            RANDOM[name](x, 5, **{what: value})


@pytest.mark.parametrize("name", ["exact", "linear", "common_times"])
@pytest.mark.parametrize(
    ("high", "dt", "warns"),
    [(255.0, 1.0, True), (200.0, 0.05, True), (255.0, 0.01, False), (1.0, 40.0, False)],
)
def test_pixels_as_rates_warn(name: str, high: float, dt: float, warns: bool) -> None:
    """Where nearly every step would have a spike; rates of at most 1 are meant."""
    x = high * torch.ones(2, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RANDOM[name](x, 5, dt)
    assert [w.category for w in caught] == [st.UnitWarning] * warns
    assert all(w.filename == __file__ for w in caught)


def test_rounding_above_one_is_one() -> None:
    """A probability of 1 + 1e-7 is 1; more is refused with its digits."""
    for dtype, excess in ((torch.float32, 1e-7), (torch.float64, 1e-7), (torch.bfloat16, 7e-3)):
        x = torch.full((2, 3), 1 + excess, dtype=dtype)
        assert x[0, 0] > 1
        assert st.poisson(x, 20, method="bernoulli").all()
        assert st.latency(x, 20)[0].all()
    x = torch.full((2, 3), 1.00001, dtype=torch.float64)
    with pytest.raises(st.SaltationError, match=r"up to 1\.00001$"):
        st.poisson(x, 20, method="bernoulli")


def test_bernoulli_and_latency_refuse_more_than_one() -> None:
    """Probabilities and intensities end at 1; rates do not."""
    x = torch.tensor([[0.5, 1.5]])
    with pytest.raises(st.SaltationError, match=r"bernoulli takes probabilities .* up to 1\.5"):
        st.poisson(x, 5, method="bernoulli")
    with pytest.raises(st.SaltationError, match=r"latency takes intensities .* up to 1\.5"):
        st.latency(x, 5)
    for encode in (partial(st.poisson, method="bernoulli"), st.latency):
        with pytest.raises(st.SaltationError, match=r"up to 191\.25; divide pixels .* by 255"):
            encode(torch.tensor([[0.0, 191.25]]), 5)
    with pytest.raises(st.SaltationError, match="did you mean 'exact'"):
        st.poisson(x, 5, method="exakt")


def test_latency_by_hand() -> None:
    """One spike at round(4 (1 - x)); nothing for 0."""
    x = torch.tensor([[1.0, 0.75, 0.4, 0.01, 0.0]])
    spikes = st.latency(x, 5)
    assert spikes.sum(0).tolist() == [[1, 1, 1, 1, 0]]
    assert spikes.argmax(0)[0, :4].tolist() == [0, 1, 2, 4]
    assert st.latency(x, 1).tolist() == [[[1, 1, 1, 1, 0]]]


def test_direct_repeats_the_image_without_a_copy() -> None:
    """The same memory at every step."""
    x = rates(2, 3)
    sequence = st.direct(x, 4)
    assert sequence.shape == (4, 2, 3)
    assert (sequence == x).all()
    assert sequence.data_ptr() == x.data_ptr()


def test_encoders_by_name_are_the_functions() -> None:
    """What studies call is what users call."""
    x, index = rates(3, 4), torch.tensor([8, 1, 5])
    draw: dict[str, Any] = {"index": index, "seed": 6, "epoch": 7, "stream": TEST}
    expected = {name: encode(x, 5, 0.5, **draw) for name, encode in RANDOM.items()}
    expected |= {"latency": st.latency(x, 5), "direct": st.direct(x, 5)}
    assert set(ENCODERS) == set(expected)
    for name, train in expected.items():
        assert torch.equal(ENCODERS[name](x, 5, 0.5, **draw), train)
