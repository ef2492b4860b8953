"""How compiled loops are cached, spread over threads and called from several at once."""

from __future__ import annotations

import gc
import importlib.util
import io
import logging
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from numba.core.caching import CompileResultCacheImpl
from numba.core.codegen import JitEngine
from torch import Tensor

import saltation as st
from saltation.kernels.cpu.neurons.generated import Loop
from saltation.kernels.cpu.runtime import jit, native
from saltation.kernels.cpu.runtime.jit import compiled, kernel, source_of, subroutine
from saltation.kernels.cpu.runtime.threads import spread


def double(x: int) -> int:
    """A function to compile."""
    return x * 2


def test_without_a_folder_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is compiled in every process."""
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    assert kernel(double)(4) == 8


SOURCE = """
from saltation.kernels.cpu.runtime.jit import kernel

@kernel
def halved(numbers):
    return numbers[0] // 2
"""


def _loaded(path: Path, name: str) -> Any:
    """The kernel of that module, as a new process would see it."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.halved


def test_a_cache_filled_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two have written files of the same number, neither is taken for the other."""
    # Its files are looked for beside the module, wherever others are to be kept.
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    path = tmp_path / "shared.py"
    path.write_text(SOURCE)
    first = _loaded(path, "first")
    assert (first((7,)), first((7.0,))) == (3, 3.0)
    one, two = sorted((tmp_path / "__pycache__").glob("*.nbc"))
    one.rename(tmp_path / "one")
    two.rename(one)
    (tmp_path / "one").rename(two)
    second = _loaded(path, "second")
    assert (second((7,)), second((7.5,))) == (3, 3.0)
    assert type(second((7,))) is int
    assert not second.stats.cache_hits
    # And it has been put right.
    third = _loaded(path, "third")
    assert (third((7,)), third((7.5,))) == (3, 3.0)
    assert sum(third.stats.cache_hits.values()) == 2


class Terminal(io.StringIO):
    """What somebody looks at."""

    def isatty(self) -> bool:
        return True


def _compiling(module: str, folder: str | None = "/a/folder") -> Any:
    """The event that numba sends when it compiles a function of ``module``."""
    dispatcher = SimpleNamespace(
        py_func=SimpleNamespace(__module__=module), stats=SimpleNamespace(cache_path=folder)
    )
    return SimpleNamespace(data={"dispatcher": dispatcher})


def test_compilation_is_said_once_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for our kernels, none for other functions."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    listener = jit._FirstCompilation()
    listener.on_start(_compiling("somebody.elses"))
    assert sys.stderr.getvalue() == ""
    for _ in range(2):
        listener.on_start(_compiling("saltation.kernels.cpu.neurons.lif"))
    assert sys.stderr.getvalue() == ("saltation: compiling CPU kernels (once; kept in /a/folder)\n")


def test_compilation_is_not_said_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody waits."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    jit._FirstCompilation().on_start(_compiling("saltation.kernels.cpu.neurons.lif"))
    assert sys.stderr.getvalue() == ""


def test_compilation_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And then not printed as well; without a folder it says what to do."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with caplog.at_level(logging.INFO, "saltation"):
        jit._FirstCompilation().on_start(_compiling("saltation.kernels.cpu.neurons.lif", None))
    assert len(caplog.messages) == 1
    assert "in every process; let NUMBA_CACHE_DIR name" in caplog.text
    assert sys.stderr.getvalue() == ""


def test_garbage_is_not_looked_for_while_a_kernel_is_compiled() -> None:
    """And after it, also one within another, as it was before."""
    listener, ours = jit._Uncollected(), _compiling("saltation.kernels.cpu.neurons.lif")
    assert gc.isenabled()
    listener.on_start(_compiling("somebody.elses"))
    assert gc.isenabled()
    listener.on_start(ours)
    listener.on_start(ours)
    assert not gc.isenabled()
    listener.on_end(ours)
    assert not gc.isenabled()
    listener.on_end(ours)
    assert gc.isenabled()
    gc.disable()
    try:
        listener.on_start(ours)
        listener.on_end(ours)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_parts_of_a_kernel_are_made_machine_code_of_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what they are linked into."""
    kernel(lambda x: x)(2.0)  # with the first one, numba makes what all of them need
    made: list[Any] = []
    finalize = JitEngine.finalize_object
    monkeypatch.setattr(JitEngine, "finalize_object", lambda one: [made.append(1), finalize(one)])

    @subroutine
    def twice(x: float) -> float:
        return x + x

    @compiled
    def more(x: float) -> float:
        return twice(x) + 1.0

    assert kernel(lambda x: twice(more(x)))(2.0) == 10.0
    assert len(made) == 1


TRAINING = """
import logging, torch, saltation as st
logging.basicConfig(level=logging.INFO)
for neuron in st.NEURONS:
    net = st.spiking_mlp((196, 32, 10), neuron=neuron)
    net(st.poisson(torch.rand(4, 196), 8)).logsumexp(1).sum().backward()
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """A training step is read from the cache, wherever that is."""

    def said() -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", TRAINING]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stderr

    assert said().count(f"INFO:saltation:compiling CPU kernels (once; kept in {tmp_path}") == 1
    assert "compiling" not in said()


def test_changed_equations_are_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept on disk is kept for one text of all files that are compiled."""
    files = [tmp_path / name for name in ("a.py", "b.py")]
    for file in files:
        file.write_text("v + 1")
    before = source_of(*files)
    assert source_of(*files) == before
    files[1].write_text("v + 2")
    assert source_of(*files) != before

    path = tmp_path / "changing.py"
    path.write_text(SOURCE)
    assert _loaded(path, "changing")((7,)) == 3
    again = _loaded(path, "changing")
    assert again((7,)) == 3
    assert again.stats.cache_hits
    monkeypatch.setattr(jit, "SOURCE", jit.SOURCE + 1)
    changed = _loaded(path, "changing")
    assert changed((7,)) == 3
    assert not changed.stats.cache_hits


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


LOOP = """
import torch, saltation as st
from saltation.kernels.cpu.neurons import cell
layer = st.LIF(dt=0.3)
layer(torch.rand(3, 2, 5))
print(layer(3 * torch.ones(9, 1, 1)).sum().item())
"""


def test_damaged_object_code_is_compiled_anew(tmp_path: Path) -> None:
    """Where a file was cut, changed or emptied; the numbers are the same."""

    def run() -> float:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", LOOP]
        return float(subprocess.check_output(command, env=environment, text=True))

    expected = run()
    assert expected > 0
    (file,) = tmp_path.rglob("loop_*.obj")
    whole = file.read_bytes()
    for damaged in (whole[:-100], b"", whole[:200] + b"\xcc" + whole[201:]):
        file.write_bytes(damaged)
        assert native._read(file) is None
    assert run() == expected
    assert file.read_bytes() == whole
    assert not list(tmp_path.rglob("tmp*"))


def test_machine_code_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are compiled in every process."""
    monkeypatch.setattr(native, "_folder", lambda: "")
    loop = Loop(("numbers",))
    loop.builder.ret_void()
    assert native.address_of(loop.module) > 0


def test_equal_loops_are_loaded_once() -> None:
    """A second one of the same text would define its function again."""
    modules = []
    for _ in range(2):
        loop = Loop(("numbers", "width"))
        loop.builder.ret_void()
        modules.append(loop.module)
    assert native.address_of(modules[0]) == native.address_of(modules[1])
