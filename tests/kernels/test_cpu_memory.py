"""Buffers that are lent, and the threads that loops run on."""

from __future__ import annotations

import gc
import os
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saltation.kernels.cpu.runtime import threads
from saltation.kernels.cpu.runtime.buffers import Loan, _length, lent
from saltation.kernels.cpu.runtime.jit import kernel
from saltation.kernels.cpu.runtime.threads import spread


def test_a_buffer_is_lent_once() -> None:
    """Two loans of the same shape never share memory; a returned one is used again."""
    one, two = Loan(), Loan()
    a, b = one.array(1000, 7), two.array(1000, 7)
    assert not np.shares_memory(a, b)
    place = a.ctypes.data
    del one, a
    gc.collect()
    assert Loan().array(1000, 7).ctypes.data == place
    other = two.array(1000, 7)
    assert not np.shares_memory(b, other)


def test_other_shapes_share_memory() -> None:
    """What was returned serves arrays of about as many bytes, which it has room for."""
    loan = Loan()
    place = loan.array(900, 77).ctypes.data
    del loan
    gc.collect()
    assert Loan().array(77, 901).ctypes.data == place
    for size in (0, 1, 63, 64, 65, 1000, 2**20 + 1, 10**8):
        assert size <= _length(size) <= max(64, size + size // 8 + 64)


def test_a_lent_tensor_is_used_again() -> None:
    """Once neither it nor a view of it is left, and not before."""
    tensor = lent(900, 79)
    place, view = tensor.data_ptr(), tensor[:3]
    del tensor
    gc.collect()
    other = lent(900, 79)
    assert other.data_ptr() != place
    del view
    gc.collect()
    assert lent(900, 79).data_ptr() == place


def test_loans_from_many_threads() -> None:
    """What one thread writes no other changes, while it holds the loan."""
    broken: list[int] = []

    def borrow(number: int) -> None:
        for _ in range(200):
            loan = Loan()
            mine = loan.array(64)
            mine[:] = number
            if not (mine == number).all():
                broken.append(number)
            del loan, mine

    workers = [threading.Thread(target=borrow, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not broken


def test_buffers_are_aligned() -> None:
    """To 64 bytes, for vectors that do not cross a line of the cache."""
    assert Loan().array(3, 1000).ctypes.data % 64 == 0


@kernel
def count(start: int, stop: int, into: NDArray[Any], step: float) -> None:
    """A loop that notes what it was given, as 1 more for each ``step`` of 1."""
    for i in range(start, stop):
        into[i] += step


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("number", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [0, 1, 9, 100])
def test_every_piece_runs_once(
    library: bool, number: int, size: int, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On torch's threads and on our own."""
    if not library:
        monkeypatch.setattr("saltation.kernels.cpu.runtime.threads._openmp", lambda: None)
    torch.set_num_threads(number)
    seen = np.zeros(size, np.int64)
    spread(count, size, seen, 1, least=3)
    assert (seen == 1).all()
    halves = np.zeros(size, np.float32)
    spread(count, size, halves, 0.5, least=3)  # other types than before
    assert (halves == 0.5).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_run_loops(threads: None) -> None:
    """Though the threads of its parent are not there any more."""
    torch.set_num_threads(2)
    seen = np.zeros(100, np.int64)
    spread(count, 100, seen, 1, least=1)
    child = os.fork()
    if child == 0:
        spread(count, 100, seen, 1, least=1)
        os._exit(0 if (seen == 2).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_torch_brings_its_library() -> None:
    """On Linux wheels loops run on the threads of torch itself."""
    if threads._openmp() is None:
        pytest.skip("this build of torch has no GNU OpenMP library of its own")
    assert threads._openmp().omp_get_max_threads() == torch.get_num_threads()
