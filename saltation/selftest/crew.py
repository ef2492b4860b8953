"""Checks of the self-test in processes of this machine, which share what they compile on disk."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from saltation.selftest.row import Row

Performed = Callable[[str], Row]


class _Worker:
    """One process, and the check that it is at."""

    def __init__(self, perform: Performed) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        given = perform, torch.get_num_threads(), theirs
        self._process = context.Process(target=_serve, args=given, daemon=True)
        with _without_spinning():
            self._process.start()
        theirs.close()
        self.name = ""

    def begin(self, name: str) -> None:
        self.name = name
        with contextlib.suppress(OSError):  # it is dead, and `row` will say so
            self.pipe.send(name)

    def row(self) -> Row | None:
        """Of its check; None if it is dead."""
        try:
            found: Row = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return found

    def exit_code(self) -> int | None:
        """Of a process that is dead."""
        self._process.join()
        return self._process.exitcode

    def kill(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.join()


@contextmanager
def _without_spinning() -> Generator[None]:
    """Processes that are started within have threads that wait asleep: there are more of them than
    cores, and others would wait for those that spin."""
    name = "OMP_WAIT_POLICY"
    before = os.environ.get(name)
    os.environ[name] = "passive"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _serve(perform: Performed, threads: int, pipe: Connection[Any, Any]) -> None:
    torch.set_num_threads(threads)
    with contextlib.suppress(EOFError):  # nobody asks any more
        while True:
            name = pipe.recv()
            # The lines of several would run into each other.
            with contextlib.redirect_stderr(io.StringIO()):
                row = perform(name)
            pipe.send(row)


def rows(
    names: Sequence[str], perform: Performed, processes: int, begun: Callable[[str], None]
) -> Generator[Row]:
    """The rows of these checks in the order in which they are done; ``begun`` is told of each.

    A process that dies is the problem of the check that it was at.
    """
    waiting = deque(names)
    crew: dict[Any, _Worker] = {}

    def begin(worker: _Worker) -> None:
        crew[worker.pipe] = worker
        name = waiting.popleft()
        begun(name)
        worker.begin(name)

    try:
        while waiting or crew:
            while waiting and len(crew) < processes:
                begin(_Worker(perform))
            for pipe in wait(list(crew)):
                worker = crew.pop(pipe)
                row = worker.row()
                if row is None:
                    problem = f"its process ended (exit code {worker.exit_code()})"
                    row = Row(worker.name, problem=problem)
                elif waiting:
                    begin(worker)
                if worker.pipe not in crew:
                    worker.kill()
                yield row
    finally:
        for worker in crew.values():
            worker.kill()
