"""What a training step must cost on this machine: bytes, operations, and their rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

import saltation as st
from benchmarks.networks import Task


def _best(function: Callable[[], object], times: int = 7) -> float:
    """Seconds of the fastest of several calls."""
    function()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


class Machine(NamedTuple):
    """Rates of all threads: memory and cache in GB/s (read and written), products in GFLOP/s."""

    memory: float
    cache: float
    products: float


def machine() -> Machine:
    """Measured with torch's own operations."""
    large, small = torch.rand(2**25), torch.rand(2**16)
    into, near = torch.empty_like(large), torch.empty_like(small)
    a = torch.rand(2048, 2048)
    repeats = 200

    def in_cache() -> None:
        for _ in range(repeats):
            torch.add(small, 1.0, out=near)

    memory = 2 * large.nbytes / _best(lambda: into.copy_(large)) / 1e9
    cache = 2 * small.nbytes * repeats / _best(in_cache) / 1e9
    cache *= torch.get_num_threads()  # so small an operation runs on one thread
    products = 2 * 2048**3 / _best(lambda: a @ a) / 1e9
    return Machine(memory, cache, products)


class Work(NamedTuple):
    """What a step cannot do without.

    Weight and gradient rows are read from cache once for every input spike, forward and backward;
    potentials of all steps are written and read once; a row of weights per step and neuron is what
    a dense product multiplies instead.
    """

    spikes: int
    row_bytes: float
    state_bytes: float
    dense_flop: float

    def bound(self, machine: Machine) -> float:
        """Milliseconds, if memory and cache are used at their full rates and nothing else costs."""
        cache, memory = self.row_bytes / machine.cache, self.state_bytes / machine.memory
        return 1e3 * (cache + memory) / 1e9

    def dense_bound(self, machine: Machine) -> float:
        """Milliseconds of the dense products alone."""
        return 1e3 * self.dense_flop / machine.products / 1e9


def work(task: Task) -> Work:
    """Of the first layer of a network, which is nearly all of it."""
    sites, width = task.sizes[:2]
    rows = task.steps * len(task.x)
    spikes = int(st.poisson(task.x, task.steps, task.dt).sum())
    weights = sites * width * 4
    # Adam reads and writes weight, gradient and two averages.
    states = 2 * rows * width * 4 + 7 * weights
    return Work(spikes, 2 * spikes * width * 4, states, 2 * 2 * rows * sites * width)
