"""How compiled loops are cached, spread over threads and called from several at once."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import ModuleType

import pytest
import torch
from numba.core.caching import CompileResultCacheImpl
from torch import Tensor

import saltation as st
from saltation.kernels.cpu.jit import kernel, source_of, spread


def double(x: int) -> int:
    """A function to compile."""
    return x * 2


def test_without_a_folder_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is compiled in every process."""
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    assert kernel(double)(4) == 8


def test_changed_equations_are_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number in the signature depends on the text of every module."""
    texts = {"a": "v + 1", "b": "w"}
    monkeypatch.setattr("inspect.getsource", lambda module: texts[module.__name__])
    modules = [ModuleType(name) for name in texts]
    before = source_of(*modules)
    assert source_of(*modules) == before
    texts["b"] = "w + 1"
    assert source_of(*modules) != before


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 1000])
def test_pieces_cover_everything_once(size: int, threads: None) -> None:
    """Whatever the size and the number of threads."""
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        seen = [0] * size

        def note(start: int, stop: int, seen: list[int]) -> None:
            for i in range(start, stop):
                seen[i] += 1

        spread(note, size, seen, least=10)
        assert seen == [1] * size


def test_errors_in_a_thread_arrive(threads: None) -> None:
    """A piece that fails fails the call."""
    torch.set_num_threads(2)

    def fail(start: int, stop: int) -> None:
        if start:
            raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        spread(fail, 10, least=1)


# Enough for two of our threads, and too little for torch's own, which do not survive a fork.
X = 5 * torch.rand(3, 9_000, generator=torch.Generator().manual_seed(0))


def spikes_with_two_threads(x: Tensor) -> Tensor:
    """What several callers run at once."""
    torch.set_num_threads(2)
    return st.LIF(backend="cpu")(x)


def test_called_from_several_threads(threads: None) -> None:
    """Concurrent calls do not disturb each other."""
    expected = spikes_with_two_threads(X)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(s, expected) for s in pool.map(spikes_with_two_threads, [X] * 12))


def _send(pipe: Connection) -> None:
    pipe.send(spikes_with_two_threads(X).sum().item())


def test_called_in_a_forked_child(threads: None) -> None:
    """A child has none of its parent's threads and starts its own."""
    expected = spikes_with_two_threads(X).sum().item()
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_send, args=(there,))
    child.start()
    try:
        assert here.poll(20)
        assert here.recv() == expected
    finally:
        child.kill()
