"""NIR files that are damaged or mean harm: one line each, and no memory or code for them."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import saltation as st

h5py = pytest.importorskip("h5py", reason="NIR files are HDF5")

GOOD = Path(__file__).parent / "graphs" / "lif_norse.nir"


def copy(path: Path, change: Callable[[Any], Any]) -> Path:
    """The single neuron's graph with a change."""
    path.write_bytes(GOOD.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replaced(name: str, **how: Any) -> Callable[[Any], Any]:
    """Another array in the place of one."""

    def change(file: Any) -> None:
        del file[name]
        file.create_dataset(name, **how)

    return change


def linked(link: Any) -> Callable[[Any], Any]:
    def change(file: Any) -> None:
        del file["node/nodes/0/weight"]
        file["node/nodes/0/weight"] = link

    return change


def endless(file: Any) -> None:
    """A graph that is within itself."""
    inner = file.create_group("node/nodes/2")
    inner["type"] = "NIRGraph"
    inner["edges"] = np.zeros((0, 2))
    inner["nodes"] = file["node/nodes"]


def crowd(file: Any) -> None:
    """Graphs of ten graphs of ten graphs ..., all of them the same ones."""
    below = file["node/nodes/0"]
    for level in range(8):
        group = file.create_group(f"level{level}")
        group["type"], group["edges"] = "NIRGraph", np.zeros((0, 2))
        nodes = group.create_group("nodes")
        for number in range(10):
            nodes[str(number)] = below
        below = group
    file["node/nodes/crowd"] = below


def dropped(name: str) -> Callable[[Any], Any]:
    def change(file: Any) -> None:
        del file[name]

    return change


def outside(file: Any) -> None:
    del file["node/nodes/0/weight"]
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_external(b"/etc/passwd", 0, 16)
    space = h5py.h5s.create_simple((2, 1))
    h5py.h5d.create(file["node/nodes/0"].id, b"weight", h5py.h5t.IEEE_F64LE, space, dcpl)


def plugged(file: Any) -> None:
    """An array that a filter from somewhere would unpack."""
    del file["node/nodes/0/weight"]
    dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dcpl.set_chunk((1, 1))
    dcpl.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((1, 1))
    h5py.h5d.create(file["node/nodes/0"].id, b"weight", h5py.h5t.IEEE_F32LE, space, dcpl)


HOSTILE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "huge": (
        replaced("node/nodes/0/weight", shape=(10**6, 10**6), dtype="f4", chunks=(1, 1)),
        "is [1000000, 1000000], and with it the file more than",
    ),
    "huge bias": (
        replaced("node/nodes/0/bias", shape=(2**40,), dtype="f4", chunks=(1,)), "more than"
    ),
    "text": (replaced("node/nodes/0/weight", data="os.system('true')"), "no array of numbers"),
    "objects": (
        replaced("node/nodes/0/weight", shape=(1, 1), dtype=h5py.vlen_dtype(np.float64)),
        "no array of numbers",
    ),
    "complex": (replaced("node/nodes/0/weight", data=np.ones((1, 1), complex)), "no array"),
    "soft link": (linked(h5py.SoftLink("/node/nodes/0/bias")), "a link to somewhere else"),
    "other file": (linked(h5py.ExternalLink("/etc/passwd", "/")), "a link to somewhere else"),
    "external data": (outside, "lies in another file"),
    "plugin": (plugged, "is packed by filter 32015"),
    "itself": (endless, "is there more than once"),
    "crowd": (crowd, "is there more than once"),
    "no weight": (dropped("node/nodes/0/weight"), "node '0', a Affine, has no 'weight'"),
    "no type": (dropped("node/nodes/0/type"), "node '0' has no 'type'"),
    "no node": (dropped("node"), "has no 'node'"),
    "unknown": (replaced("node/nodes/0/type", data="__import__"), "node '0' is a '__import__'"),
    "field": (
        lambda file: file["node/nodes/0"].create_dataset("hook", data=1.0),
        "has 'hook', which is no field of it",
    ),
    "edge": (
        replaced("node/edges", data=[["input", "9"]], dtype=h5py.string_dtype()),
        "names a node that is not there",
    ),
    "edges": (replaced("node/edges", data=np.ones((2, 3))), "are no pairs of names"),
    "nan": (replaced("node/nodes/0/weight", data=np.full((1, 1), np.nan)), "is not finite"),
    "shape": (replaced("node/nodes/input/shape", data=np.array([-1])), "which is none"),
    "scalar": (replaced("node/nodes/0/weight", data=1.0), "needs a weight [out, in]"),
    "tau": (replaced("node/nodes/1/tau", data=np.array([0.0])), "must be above 0"),
    "sizes": (replaced("node/nodes/1/tau", data=np.ones(7)), "is of [7], but is given [1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    """One line that says what is wrong, and no more memory than a small file needs."""
    change, told = HOSTILE[name]
    path = copy(tmp_path / "hostile.nir", change)
    tracemalloc.start()
    try:
        with pytest.raises(st.DataError) as error:
            st.nir.load(path, scheme="exponential", dt=1e-3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told in str(error.value), str(error.value)
    assert "\n" not in str(error.value)
    assert peak < 50 * 2**20


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello"), ("half", GOOD.read_bytes()[:3000])):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(st.DataError, match="is no NIR file that can be read"):
            st.nir.load(path, scheme="euler", dt=1e-3)
    with pytest.raises(st.DataError, match="there is no file"):
        st.nir.load(tmp_path / "nothing", scheme="euler", dt=1e-3)
    with pytest.raises(st.DataError, match="there is no file"):
        st.nir.load(tmp_path, scheme="euler", dt=1e-3)


def test_files_with_bytes_changed(tmp_path: Path, full: bool) -> None:
    """Damage anywhere: a network or one line, never another error."""
    content, noise = GOOD.read_bytes(), random.Random(0)
    path = tmp_path / "changed.nir"
    refused = 0
    for _ in range(2000 if full else 150):
        changed = bytearray(content)
        for _ in range(noise.choice((1, 4, 32))):
            changed[noise.randrange(len(changed))] = noise.randrange(256)
        path.write_bytes(changed)
        told = ""
        try:
            st.nir.load(path, scheme="exponential", dt=1e-3)
        except st.DataError as error:
            told = str(error)
        refused += bool(told)
        assert "\n" not in told
    assert refused > 5
    assert list(tmp_path.iterdir()) == [path]
