"""The counter-based generator: known answers, one definition for all number types, and chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

import saltation as st
from saltation.random import (
    MAX_EPOCH,
    ORDER,
    STREAMS,
    TEST,
    TRAIN,
    epoch_word,
    key,
    permutation,
    philox,
    uint32,
    words,
)
from tests.facts import PHILOX, within_standard_errors

WORD = some.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("counter", "keys", "expected"), PHILOX)
def test_known_answers(
    counter: tuple[int, ...], keys: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Random123's own vectors, through Python integers, numpy and torch."""
    assert philox(*counter, *keys) == expected
    arrays = philox(*(np.array([c], dtype=np.int64) for c in counter), *keys)
    assert tuple(int(a[0]) for a in arrays) == expected
    tensors = philox(*(torch.tensor([c]) for c in counter), *keys)
    assert tuple(int(t[0]) for t in tensors) == expected


@given(some.tuples(WORD, WORD, WORD, WORD), some.tuples(WORD, WORD))
def test_same_bits_from_integers_and_tensors(
    counter: tuple[int, ...], keys: tuple[int, ...]
) -> None:
    """Signed 64-bit arithmetic that overflows gives what unbounded integers give."""
    exact = philox(*counter, *keys)
    assert all(0 <= word < 2**32 for word in exact)
    assert tuple(int(t) for t in philox(*(torch.tensor(c) for c in counter), *keys)) == exact
    assert tuple(int(a[0]) for a in philox(*(np.array([c]) for c in counter), *keys)) == exact


def test_counter_names_the_place_of_a_draw() -> None:
    """Words are Philox of (block, site, sample, epoch and stream) under the seed."""
    seed, epoch = (7 << 32) | 5, 3
    got = words(11, 12, torch.tensor(13), seed=seed, epoch=epoch, stream=TEST)
    assert tuple(int(w) for w in got) == philox(11, 12, 13, (3 << 4) | TEST, 5, 7)


def test_words_broadcast() -> None:
    """Sites and samples span a grid; each place has its own draw."""
    site, sample = torch.arange(50), torch.arange(40).unsqueeze(1)
    grid = words(0, site, sample, seed=0, epoch=0, stream=TRAIN)
    assert all(w.shape == (40, 50) and w.dtype == torch.int64 for w in grid)
    alone = words(0, 17, torch.tensor(23), seed=0, epoch=0, stream=TRAIN)
    assert [int(w[23, 17]) for w in grid] == [int(w) for w in alone]


def test_uint32_is_one_of_the_words() -> None:
    """Draws are numbered through the blocks of four."""
    sample = torch.tensor([4, 9])
    for draw in range(9):
        block = words(draw // 4, 0, sample, seed=2, epoch=1, stream=ORDER)
        assert torch.equal(uint32(2, 1, ORDER, sample, draw), block[draw % 4])


def test_draws_are_uniform() -> None:
    """All four words, by Kolmogorov and Smirnov on 20,000 draws each."""
    for word in words(0, 0, torch.arange(20_000), seed=0, epoch=0, stream=TRAIN):
        assert stats.kstest(word.double().numpy() / 2**32, "uniform").pvalue > 0.001


def test_seeds_epochs_and_streams_are_unrelated() -> None:
    """Different in at most chance's share of bits, and uncorrelated: |r| < 4 / sqrt(n)."""
    sample = torch.arange(10_000)
    sources = [(0, 0, TRAIN), (1, 0, TRAIN), (1 << 32, 0, TRAIN), (0, 1, TRAIN), (0, 0, TEST)]
    draws = [uint32(*source, sample).double() for source in sources]
    for one, two in itertools.combinations(draws, 2):
        r = torch.corrcoef(torch.stack([one, two]))[0, 1].abs()
        assert r < 4 / len(sample) ** 0.5


def test_epoch_and_stream_do_not_collide() -> None:
    """Each pair has a word of its own."""
    pairs = itertools.product([0, 1, 2, MAX_EPOCH - 1], range(16))
    assert len({epoch_word(epoch, stream) for epoch, stream in pairs}) == 4 * 16
    assert epoch_word(MAX_EPOCH - 1, 15) == 2**32 - 1


@pytest.mark.parametrize("epoch", [-1, MAX_EPOCH, 0.5, True, "0"])
def test_bad_epoch_is_refused(epoch: object) -> None:
    """An epoch that would spill into another counter word is an error."""
    with pytest.raises(st.SaltationError, match=f"epoch must be an integer in .* got {epoch!r}"):
        epoch_word(epoch, TRAIN)  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [-1, STREAMS, 1.0, False, None])
def test_bad_stream_is_refused(stream: object) -> None:
    """A stream of more than four bits would be another epoch's."""
    with pytest.raises(st.SaltationError, match=f"stream must be an integer .* got {stream!r}"):
        epoch_word(0, stream)  # type: ignore[arg-type]


def test_bad_samples_and_draws_are_refused() -> None:
    """Indices and numbers of draws are words of the counter, too."""
    for sample in (torch.tensor([-1]), torch.tensor([2**32]), torch.tensor([0.5])):
        with pytest.raises(st.SaltationError, match=r"sample indices must be (in|integers)"):
            uint32(0, 0, TRAIN, sample)
    with pytest.raises(st.SaltationError, match=r"draw must be an integer in .* got -1"):
        uint32(0, 0, TRAIN, torch.tensor([0]), draw=-1)
    with pytest.raises(st.SaltationError, match=r"n must be an integer in .* got -1"):
        permutation(-1, 0, 0)


def test_integers_of_numpy_and_torch() -> None:
    """Name the same place of a draw."""
    assert key(np.uint64(2**64 - 1)) == key(2**64 - 1)
    assert epoch_word(torch.tensor(3), np.int8(1)) == epoch_word(3, 1)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, True, "0"])
def test_bad_seed_is_refused(seed: object) -> None:
    """Seeds are integers of 64 bits."""
    with pytest.raises(st.SaltationError, match="seed must be an integer"):
        key(seed)  # type: ignore[arg-type]


def test_key_uses_all_bits_of_the_seed() -> None:
    """Low word first."""
    assert key(0x0123456789ABCDEF) == (0x89ABCDEF, 0x01234567)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_permutation_holds_every_index_once(n: int) -> None:
    """A permutation of 0 ... n-1."""
    order = permutation(n, seed=0, epoch=0)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(n))


def test_permutation_is_a_function_of_seed_and_epoch() -> None:
    """The same twice; another one for another epoch or seed."""
    first = permutation(1000, seed=3, epoch=4)
    assert torch.equal(first, permutation(1000, seed=3, epoch=4))
    for seed, epoch in ((3, 5), (4, 4)):
        # Two random permutations agree in one place on average.
        assert (first == permutation(1000, seed, epoch)).sum() < 10


def test_permutations_are_equally_likely() -> None:
    """Each of the six orders of three has probability 1/6, within 4 standard errors."""
    trials = 1200
    seen = [tuple(permutation(3, seed=0, epoch=e).tolist()) for e in range(trials)]
    for order in itertools.permutations(range(3)):
        assert within_standard_errors(seen.count(order), trials, 1 / 6)
