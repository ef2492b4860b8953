"""A user's own files as data sets: read right, or refused by name before anything is trained."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from saltation.data import at_steps, batches, load, spec_of
from saltation.data.summary import in_words
from saltation.errors import DataError, LayoutWarning, SaltationError, UnitWarning

Arrays = dict[str, Any]


def arrays(**changes: Any) -> Arrays:
    """Images of two classes, with some of the arrays replaced."""
    random = np.random.default_rng(0)
    made: Arrays = {}
    for part, count in (("train", 12), ("test", 6)):
        made[f"x_{part}"] = random.random((count, 1, 5, 5)).astype(np.float32)
        made[f"y_{part}"] = np.arange(count) % 2
    return made | changes


def npz(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **{k: v for k, v in arrays(**changes).items() if v is not None})
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(2, 4, 6), (7,)], ids=["images", "vectors"])
def test_what_is_read_is_what_was_written(
    tmp_path: Path, dtype: Any, shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (12, *shape))
    x = (values if dtype is np.uint8 else values / 255).astype(dtype)
    data = load(str(npz(tmp_path, x_train=np.asfortranarray(x), x_test=x[:6])))
    assert data.sample_shape == shape
    (batch,) = batches(data.train, 12)
    torch.testing.assert_close(
        batch.images.reshape(12, *shape), torch.from_numpy(values / 255).float()
    )
    assert data.classes == 2
    assert len(load(str(tmp_path / "mine.npz"), limit_train=5).train) == 5


def test_sequences_have_a_time(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((12, 9, 3)) * 40
    data = load(str(npz(tmp_path, x_train=x, x_test=x[:6], dt=0.5)))
    assert (data.dt, data.shape) == (0.5, (3,))
    assert "9 moments of 3 numbers, 0.5 apart, 4.5 in all" in in_words(data)[0]
    assert spec_of(str(npz(tmp_path, x_train=x, x_test=x[:6]))).dt == 1.0
    with pytest.raises(SaltationError, match="side resizes images"):
        load(str(tmp_path / "mine.npz"), side=8)


@settings(max_examples=60, deadline=None)
@given(
    samples=some.integers(1, 9),
    sample_dt=some.floats(0.05, 4),
    dt=some.floats(0.05, 4),
    seed=some.integers(0, 99),
)
def test_every_step_sees_the_mean_of_the_current(
    samples: int, sample_dt: float, dt: float, seed: int
) -> None:
    """The integral of the input is the same at every dt, and each step's is its own part of it."""
    x = torch.randn(2, samples, 3, generator=torch.Generator().manual_seed(seed)).double()
    seen = at_steps(x, sample_dt, dt)
    torch.testing.assert_close(seen.sum(0) * dt, x.sum(1) * sample_dt)
    ends = torch.arange(len(seen) + 1, dtype=torch.float64) * dt
    for step in range(len(seen)):
        covered = torch.tensor(
            [
                max(
                    0.0,
                    min(float(ends[step + 1]), (k + 1) * sample_dt)
                    - max(float(ends[step]), k * sample_dt),
                )
                for k in range(samples)
            ]
        ).double()
        torch.testing.assert_close(seen[step] * dt, torch.einsum("k,bkf->bf", covered, x))


class Trap:
    """Unpickled, it would write a file."""

    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("sprung"), "x"))


def with_nan(place: tuple[int, ...]) -> Any:
    x = arrays()["x_train"]
    x[place] = np.nan
    return x


WRONG: dict[str, tuple[Arrays, str]] = {
    "no labels": ({"y_test": None}, "has no y_test"),
    "objects": ({"x_train": np.array([Trap()] * 12, dtype=object)}, "is object, not numbers"),
    "strings": ({"y_train": np.array(["cat"] * 12)}, "not numbers"),
    "complex": ({"x_train": np.zeros((12, 4), complex)}, "not numbers"),
    "records": ({"x_train": np.zeros(12, [("a", "f4")])}, "not numbers"),
    "NaN": ({"x_train": with_nan((3, 0, 2, 1))}, r"1 numbers that are not finite.*\[3, 0, 2, 1\]"),
    "infinite": ({"x_test": np.full((6, 1, 5, 5), np.inf)}, "x_test has 150 numbers"),
    "beyond float32": ({"x_test": np.full((6, 1, 5, 5), 1e300)}, "in float32"),
    "rates": ({"x_train": np.full((12, 1, 5, 5), 7.0)}, "values from 7 to 7"),
    "below 0": ({"x_train": np.full((12, 1, 5, 5), -0.1)}, "must lie in 0 to 1"),
    "integers": ({"x_train": np.zeros((12, 1, 5, 5), np.int64)}, "is int64: samples are uint8"),
    "grey": ({"x_train": np.zeros((12, 5, 5), np.uint8)}, r"\[N, 1, H, W\]"),
    "channels last": ({"x_train": np.zeros((12, 32, 32, 3), np.uint8)}, "channels come first"),
    "five dimensions": ({"x_train": np.zeros((12, 1, 1, 5, 5))}, "samples are images"),
    "empty": ({"x_train": np.zeros((0, 1, 5, 5))}, "samples are images"),
    "fewer labels": ({"y_train": np.zeros(11, int)}, "11 labels for 12 samples"),
    "label -1": ({"y_train": np.arange(12) - 1}, "the label -1"),
    "label 10^9": ({"y_train": np.arange(12) * 10**9}, "has the label"),
    "float labels": ({"y_train": np.zeros(12)}, r"labels are integers .*; as of y.astype\(int\)"),
    "targets of one": ({"y_train": np.arange(12) / 8}, r"; targets are \[N, k\], as of y\[:, None"),
    "a column": ({"y_train": np.zeros((12, 1), int)}, r"labels are integers .*; as of y\[:, 0\]"),
    "one-hot": ({"y_train": np.eye(12, dtype=int)}, r"labels are integers .*; as of y.argmax\(1\)"),
    "one-hot floats": ({"y_train": np.eye(12)}, r"these are labels, as of y.argmax\(1\)"),
    "labels from 1": (
        {"y_train": np.arange(12) % 2 + 1, "y_test": np.ones(6, int)},
        r"class 0 of 3 has no training sample \(labels are from 0: give y - 1\)",
    ),
    "bits": (
        {"x_train": np.ones((12, 1, 5, 5), np.uint8)},
        "uint8 with values of 0 and 1, and uint8",
    ),
    "time first": ({"x_train": np.ones((9, 12, 3))}, "12 labels for 9 samples, which come first"),
    "empty class": ({"y_test": np.array([0, 1, 2, 3, 0, 1])}, "class 2 and 1 more of 4"),
    "one class": ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, "one class"),
    "other shape": ({"x_test": np.zeros((6, 1, 5, 6))}, "those to test on"),
    "other dtype": ({"x_test": np.zeros((6, 1, 5, 5), np.uint8)}, "those to test on"),
    "dt of images": ({"dt": 0.5}, "dt is of sequences"),
    "targets of fewer": ({"y_train": np.zeros((11, 2))}, "targets are floating-point numbers"),
    "targets of moments": ({"y_train": np.zeros((12, 1, 2))}, "targets are floating-point numbers"),
    "no targets": ({"y_train": np.zeros((12, 0))}, "targets are floating-point numbers"),
    "NaN targets": ({"y_train": np.full((12, 1), np.nan)}, "y_train has 12 numbers that are not"),
    "labels beside": ({"y_train": np.zeros((12, 1))}, "y to train on are"),
    "other targets": (
        {"y_train": np.zeros((12, 1)), "y_test": np.zeros((6, 2))},
        "y to train on are",
    ),
    "lengths of images": ({"lengths_train": np.ones(12, int)}, "lengths are of sequences"),
}
SEQUENCES = {"x_train": np.zeros((12, 9, 3)), "x_test": np.zeros((6, 9, 3))}
LENGTHS = {"lengths_train": np.full(12, 9), "lengths_test": np.full(6, 4)}
WRONG |= {
    f"lengths {what}": (SEQUENCES | LENGTHS | {"lengths_train": given}, reason)
    for what, given, reason in (
        ("0", np.arange(12), "has the length 0: sequences have 1 to 9 moments"),
        ("10", np.full(12, 10), "has the length 10"),
        ("fewer", np.ones(11, int), r"lengths are integers \[12\]"),
        ("floats", np.ones(12), r"lengths are integers \[12\]"),
        ("alone", None, "both lengths_train and lengths_test, or neither"),
    )
}
SPIKES = {
    "x_train": None,
    "x_test": None,
    "times_train": np.arange(24.0) % 6,
    "units_train": np.arange(24) % 8,
    "offsets_train": np.arange(0, 25, 2),
    "times_test": np.arange(6.0) % 2,
    "units_test": np.arange(6),
    "offsets_test": np.arange(7),
    "units_shape": np.array([2, 4]),
}
WRONG |= {
    f"spikes: {what}": (SPIKES | changes, reason)
    for what, changes, reason in (
        ("no units", {"units_train": None}, "has no units_train"),
        ("no shape", {"units_shape": None}, "has no units_shape"),
        ("both", {"x_train": np.zeros((12, 4))}, "has x_train beside spikes"),
        ("dt", {"dt": 1.0}, "has dt beside spikes"),
        ("unsorted", {"times_train": -np.arange(24.0) + 30}, "times_train are not sorted, at .* 1"),
        ("negative", {"times_train": np.arange(24.0) - 3}, "train: a spike has the time -3"),
        ("NaN", {"times_test": np.full(6, np.nan)}, "test: 6 times of spikes are not finite"),
        ("far units", {"units_test": np.full(6, 8)}, "unit 8: units are from 0 to 7"),
        ("float units", {"units_test": np.zeros(6)}, "units_test is float64"),
        ("fewer units", {"units_test": np.zeros(5, int)}, "6 times for 5 units"),
        ("offsets", {"offsets_test": np.arange(1, 8)}, "offsets_test must ascend from 0 to the 6"),
        ("shape", {"units_shape": np.array([0, 4])}, "units_shape must be one to three"),
        ("vast", {"units_shape": np.array([1 << 40])}, "units_shape must be one to three"),
        ("labels", {"y_train": np.zeros(11, int)}, "11 labels for 12 samples"),
        ("targets", {"y_train": np.zeros((12, 2, 4))}, r"of spikes targets are \[N, k\]"),
        ("silent", {"times_train": np.zeros(24), "times_test": np.zeros(6)}, "has the time 0"),
    )
}


def test_targets_lengths_and_spikes(tmp_path: Path) -> None:
    """Numbers of samples, sequences that end early, and events, as they were written."""
    y = {"y_train": np.arange(24.0).reshape(12, 2), "y_test": np.ones((6, 2))}
    data = load(str(npz(tmp_path, **y)))
    assert (data.regression, data.of_moments, data.classes) == (True, False, 2)
    assert data.train.labels.tolist() == y["y_train"].tolist()
    data = load(str(npz(tmp_path, **SEQUENCES, **LENGTHS)))
    batch = next(batches(data.test, 2))
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [4, 4]
    assert data.train.first(3).lengths.tolist() == [9, 9, 9]  # type: ignore[union-attr]
    data = load(str(npz(tmp_path, **SPIKES)))
    assert (data.shape, data.duration, data.dt, data.classes) == ((2, 4), 5.0, None, 2)
    found = torch.as_tensor(data.train.images[torch.tensor([4])].at(6, 1.0))[:, 0]
    assert found.nonzero().tolist() == [[2, 0], [3, 1]]


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arrays_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    changes, reason = WRONG[what]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=reason) as caught:
        load(str(npz(tmp_path, **changes)))
    assert "\n" not in str(caught.value)
    assert "mine.npz" in str(caught.value)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("dt", [0.0, -1.0, np.nan, np.inf, [1.0, 2.0], "a"])
def test_wrong_times_are_named(tmp_path: Path, dt: Any) -> None:
    x = np.zeros((12, 4, 3))
    with pytest.raises(DataError, match="dt"):
        load(str(npz(tmp_path, x_train=x, x_test=x[:6], dt=dt)))


def test_every_truncation_is_told(tmp_path: Path) -> None:
    whole = npz(tmp_path).read_bytes()
    path = tmp_path / "short.npz"
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"short\.npz"):
            load(str(path))


def test_every_changed_byte_is_told_or_read(tmp_path: Path) -> None:
    """A damaged file is refused, or the damage is where nothing looks: never another error."""
    whole = bytearray(npz(tmp_path).read_bytes())
    path = tmp_path / "bent.npz"
    told = 0
    for place in range(0, len(whole), 31):
        bent = bytearray(whole)
        bent[place] ^= 0xFF
        path.write_bytes(bent)
        try:
            load(str(path))
        except DataError:
            told += 1
    assert told > 20


def test_a_file_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    """Neither a header's shape nor a member's size is believed."""
    path = tmp_path / "bomb.npz"
    header = io.BytesIO()
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 1, 5, 5)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            if name == "x_train":
                archive.writestr(f"{name}.npy", header.getvalue() + b"\0" * 100)
            else:
                part = io.BytesIO()
                np.save(part, array)
                archive.writestr(f"{name}.npy", part.getvalue())
    with pytest.raises(DataError, match="is truncated"):
        load(str(path))


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saltation.data.own.npz.MOST_BYTES", 1 << 20)
    x = np.zeros((12, 1, 500, 500), np.uint8)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **arrays(x_train=x))
    assert path.stat().st_size < 50_000
    with pytest.raises(DataError, match="unpacks to"):
        load(str(path))


def frame() -> pd.DataFrame:
    rows = [
        {"series": s, "label": s % 2, "split": "test" if s > 5 else "train", "a": t + s, "b": -t}
        for s in range(8)
        for t in range(4)
    ]
    return pd.DataFrame(rows)


def csv(folder: Path, table: pd.DataFrame) -> str:
    path = folder / "mine.csv"
    table.to_csv(path, index=False)
    return str(path)


def test_series_of_a_table(tmp_path: Path) -> None:
    data = load(csv(tmp_path, frame()))
    assert (len(data.train), len(data.test), data.shape, data.dt) == (6, 2, (2,), 1.0)
    assert data.train.images[3].tolist() == [[3, 0], [4, -1], [5, -2], [6, -3]]
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_targets_of_a_table(tmp_path: Path) -> None:
    """At every row by columns target..., of a series by outcome...; shorter series are padded."""
    table = frame().drop(columns="label").assign(target=lambda t: 2.0 * t["a"], target_b=0.5)
    data = load(csv(tmp_path, table))
    assert (data.regression, data.of_moments, data.classes) == (True, True, 2)
    assert data.train.labels[3].tolist() == [[6, 0.5], [8, 0.5], [10, 0.5], [12, 0.5]]
    table = frame().drop(columns="label").assign(outcome=lambda t: t["series"] / 2).iloc[:-1]
    data = load(csv(tmp_path, table))
    assert (data.regression, data.of_moments, data.classes, data.shape) == (True, False, 1, (2,))
    assert data.train.labels.tolist() == [[n / 2] for n in range(6)]
    assert data.test.lengths is not None
    assert data.test.lengths.tolist() == [4, 3]
    assert data.test.images[1, 3].tolist() == [0, 0]
    assert spec_of(str(tmp_path / "mine.csv")).lengths
    assert "targets [k] = [1] from 0 to 2.5" in in_words(data)[3]
    assert "3 to 4 moments long" in in_words(data)[2]


TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no label": (lambda t: t.drop(columns="label"), "has no column label"),
    "no channel": (lambda t: t.drop(columns=["a", "b"]), "no column beside"),
    "texts": (lambda t: t.assign(a="x"), "column a does not hold numbers"),
    "gaps": (lambda t: t.assign(a=t["a"].where(t["a"] > 0)), "not finite"),
    "split": (lambda t: t.assign(split="dev"), "must be train or test, got 'dev'"),
    "no test": (lambda t: t.assign(split="train"), "no series with split test"),
    "no series": (lambda t: t.assign(series=None), "a row with split train has no series"),
    "two kinds": (lambda t: t.assign(target=1.0), "columns label, target; give a label, or"),
    "target texts": (
        lambda t: t.drop(columns="label").assign(target_x="x"),
        "column target_x does not hold numbers",
    ),
    "target gaps": (
        lambda t: t.drop(columns="label").assign(target=t["a"].where(t["a"] > 0)),
        "targets of train has 1 numbers that are not finite",
    ),
    "outcomes": (
        lambda t: t.drop(columns="label").assign(outcome=t["a"]),
        "outcome of train: series 0 has more than one outcome",
    ),
    "two labels": (lambda t: t.assign(label=range(len(t))), "more than one label"),
    "float labels": (lambda t: t.assign(label=t["label"] + 0.5), "labels are integers"),
    "names": (
        lambda t: t.assign(label=np.where(t["label"], "on", "off")),
        r"labels are integers .*; as of pandas.factorize",
    ),
    "index": (
        lambda t: t.rename(columns={"a": "Unnamed: 0"}),
        r"column 4 has no name, as the index that pandas writes: to_csv\(..., index=False\)",
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_wrong_tables_are_named(tmp_path: Path, what: str) -> None:
    change, reason = TABLES[what]
    with pytest.raises(DataError, match=reason):
        load(csv(tmp_path, change(frame())))


def test_what_may_be_meant_otherwise_is_told(tmp_path: Path) -> None:
    """Grey images without a channel, and the time of a row as a channel."""
    x = np.random.default_rng(0).random((12, 8, 8))
    with pytest.warns(
        LayoutWarning, match=r"taken for sequences of 8 moments; grey images are \[N, 1"
    ):
        assert load(str(npz(tmp_path, x_train=x, x_test=x[:6]))).dt == 1
    with pytest.warns(UnitWarning, match=r"column time is taken for a channel, a current that"):
        load(csv(tmp_path, frame().rename(columns={"a": "time"})))


@pytest.mark.parametrize("content", [b"", b"\0\1\2", b"a,b\n1,2,3,4\n", b"\xff\xfe\xff"])
def test_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.csv"):
        load(str(path))


def images(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 255, (6, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


def test_folders_of_images(tmp_path: Path) -> None:
    data = load(str(images(tmp_path)))
    assert data.train.images.shape == (6, 1, 6, 8)
    assert data.train.labels.tolist() == [0, 1] * 3
    pixels = np.array(Image.open(tmp_path / "train" / "dog" / "1.png"))
    assert np.array_equal(data.train.images[3, 0], pixels)
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "train" / "dog" / "._1.png").write_text("of a system")
    assert load(str(tmp_path), side=4).shape == (1, 4, 4)


def spoil(folder: Path, what: str) -> None:
    first = folder / "train" / "cat" / "0.png"
    match what:
        case "no test":
            (folder / "val").rename(folder / "other")
        case "text":
            first.write_text("no image")
        case "truncated":
            first.write_bytes(first.read_bytes()[:60])
        case "size":
            Image.fromarray(np.zeros((5, 5), np.uint8)).save(first)
        case "16 bits":
            Image.fromarray(np.full((6, 8), 4095, np.uint16)).save(first)
        case "empty class":
            (folder / "train" / "fox").mkdir()
        case "unknown class":
            (folder / "val" / "fox").mkdir()
        case "pickle":
            first.write_bytes(pickle.dumps(Trap()))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no test", "no folder test or val"),
        ("text", "cannot be read as an image"),
        ("truncated", "0.png"),
        (
            "16 bits",
            "pixels from 4095 to 4095: images have 8 bits, 0 to 255; give others in an .npz",
        ),
        ("size", "all must have one size"),
        ("empty class", "class fox has no image"),
        ("unknown class", "no class fox"),
        ("pickle", "cannot be read as an image"),
    ],
)
def test_wrong_folders_are_named(tmp_path: Path, what: str, reason: str) -> None:
    spoil(images(tmp_path), what)
    with pytest.raises(DataError, match=reason):
        load(str(tmp_path))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SaltationError, match="there is no such file"):
        load(str(tmp_path / "none.npz"))
    other = tmp_path / "data.bin"
    other.write_text("x")
    with pytest.raises(SaltationError, match=r"allowed: \.npz, \.csv, \.h5, \.gz, or a folder"):
        load(str(other))
