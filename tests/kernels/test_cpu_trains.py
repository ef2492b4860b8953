"""Places of spikes from their bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as some

from saltation.kernels.cpu.events import scan
from saltation.kernels.cpu.events.trains import WORD, emit, list_events, words
from saltation.kernels.cpu.runtime.jit import kernel


@kernel
def listed(lo: int, hi: int, bits: Any, rows: Any, places: Any) -> None:
    """`list_events`, callable from here."""
    list_events(lo, hi, bits, rows, places)


@given(
    count=some.integers(0, 40),
    steps=some.integers(1, 20) | some.integers(60, 70) | some.integers(125, 140),
    density=some.sampled_from([0.0, 0.02, 0.1, 0.45, 0.9, 1.0]),
    seed=some.integers(0, 99),
)
def test_places_of_a_sample(count: int, steps: int, density: float, seed: int) -> None:
    """Those of the ones, step by step; its neighbours' bits and places are left alone."""
    lo, start = 3, 5
    spikes = np.random.default_rng(seed).random((steps, lo + count + 2)) < density
    bits = np.zeros((words(steps), spikes.shape[1]), np.uint64)
    for t in range(steps):
        bits[t // WORD] |= spikes[t].astype(np.uint64) << np.uint64(t % WORD)
    here = spikes[:, lo : lo + count]
    expected = start + here.sum(1).cumsum()
    rows = np.full(steps + 1, start)
    places = np.full(expected[-1] + 9, -1, np.int32)
    listed(lo, lo + count, bits, rows, places)
    assert rows.tolist() == [start, *expected]
    assert places[start : rows[-1]].tolist() == here.nonzero()[1].tolist()
    assert (places[:start] == -1).all()
    assert (places[rows[-1] :] == -1).all()


@kernel
def emitted(b: int, width: int, spikes: Any, rows: Any, places: Any, bits: Any) -> None:
    """`emit`, callable from here."""
    emit(b, width, spikes, rows, places, bits)


@given(
    width=some.integers(1, 20) | some.integers(60, 70) | some.integers(125, 200),
    steps=some.integers(1, 5) | some.integers(63, 66),
    density=some.sampled_from([0.0, 0.02, 0.1, 0.45, 0.9, 1.0]),
    wanted=some.booleans(),
    seed=some.integers(0, 99),
)
def test_spikes_of_a_sample(
    width: int, steps: int, density: float, wanted: bool, seed: int
) -> None:
    """Places and bits of a step's spikes, whatever lies in the bits behind the last neuron; what
    other samples have is left alone."""
    here = np.random.default_rng(seed).random((steps, width)) < density
    marks = np.ones((steps, -(-width // WORD) * WORD), bool)
    marks[:, :width] = here
    spikes = np.packbits(marks, axis=1, bitorder="little").view(np.uint64)
    b, start = 1, steps * width
    rows, places = np.full(steps + 1, start), np.full(3 * start, -1, np.int32)
    bits = np.full((words(steps), 3 * width if wanted else 0), 7, np.uint64)
    emitted(b, width, spikes, rows, places, bits)
    assert rows.tolist() == [start, *(start + here.sum(1).cumsum())]
    assert places[start : rows[-1]].tolist() == here.nonzero()[1].tolist()
    assert (places[:start] == -1).all()
    assert (places[2 * start :] == -1).all()
    if wanted:
        for t in range(steps):
            of_step = bits[t // WORD, width : 2 * width] >> np.uint64(t % WORD) & np.uint64(1)
            assert of_step.tolist() == here[t].tolist()
        assert (bits[:, :width] == 7).all()
        assert (bits[:, 2 * width :] == 7).all()


def test_samples_side_by_side_from_several_threads(threads: None) -> None:
    """Where the events of one sample end, another thread's may already be."""
    torch.set_num_threads(2)
    x = torch.rand(20, 16, 300, generator=torch.Generator().manual_seed(0)) < 0.25
    events = scan.scan(x.float(), 256)
    assert events is not None
    assert torch.equal(events.dense(), x.float())
