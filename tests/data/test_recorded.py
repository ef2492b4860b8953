"""Recorded spikes: binned right at every dt, and read safely in their publishers' layouts."""

from __future__ import annotations

import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

import saltation as st
from saltation.data import AugmentEvents, Split, batches, drop, flip, jitter, load, spec_of, speed
from saltation.data.recorded.cochlea import CHANNELS, spikes_of
from saltation.data.recorded.fsdd import of_fsdd
from saltation.data.summary import in_words
from saltation.data.trains import Recording, SpikeTrains
from saltation.errors import DataError, SaltationError
from saltation.kernels.events import events_of
from saltation.studies import IntegratorsStudy


def recording(seed: int, samples: int, width: int, most: int, end: float) -> Recording:
    random = np.random.default_rng(seed)
    counts = random.integers(0, most + 1, samples)
    times = [np.sort(random.random(n) * end).round(2) for n in counts]
    units = [random.integers(0, width, n) for n in counts]
    offsets = np.cumsum([0, *counts])
    every = np.concatenate([[], *units]).astype(int)
    return Recording(np.concatenate([[], *times]), every, offsets)


@settings(max_examples=20, deadline=None)
@given(
    seed=some.integers(0, 999),
    samples=some.integers(1, 5),
    width=some.integers(1, 70),
    most=some.sampled_from([0, 1, 40]),
    steps=some.sampled_from([1, 7, 64, 65, 130]),
    dt=some.sampled_from([0.05, 0.3, 1.0]),
)
def test_bins_are_those_of_a_loop(
    seed: int, samples: int, width: int, most: int, steps: int, dt: float
) -> None:
    """Event by event, in any choice and order of samples; kernels count them as they should."""
    made = recording(seed, samples, width, most, 8.0)
    trains = SpikeTrains(made, (width,))
    order = np.random.default_rng(seed).permutation(samples)[: max(1, samples - 1)]
    wanted = torch.zeros(steps, len(order), width)
    for b, n in enumerate(order):
        for e in range(made.offsets[n], made.offsets[n + 1]):
            step = int(made.times[e] / dt + 1e-9)
            if step < steps:
                wanted[step, b, made.units[e]] = 1
    found = trains[torch.from_numpy(order)].at(steps, dt)
    events = events_of(found)
    assert events is not None
    assert events.has_bits
    assert events.total == int(wanted.sum())
    torch.manual_seed(0)
    layer, neurons = st.SpikeLinear(width, 3), st.LIF(tau=2.0)
    weights = layer.weight
    spikes = neurons(layer(found))
    (gradient,) = torch.autograd.grad(spikes.sum(), weights, allow_unused=True)
    assert torch.equal(found.sum(0), wanted.sum(0))
    assert torch.equal(torch.as_tensor(found).to(torch.float32), wanted)
    dense = neurons(layer(wanted))
    assert torch.equal(torch.as_tensor(spikes) + 0, torch.as_tensor(dense) + 0)
    if gradient is not None:
        (plain,) = torch.autograd.grad(dense.sum(), weights)
        torch.testing.assert_close(gradient, plain)


def test_an_event_on_an_edge_begins_the_step() -> None:
    made = Recording(np.array([0.0, 0.3, 0.3, 0.6]), np.array([0, 0, 0, 1]), np.array([0, 4]))
    trains = SpikeTrains(made, (2,))
    assert torch.as_tensor(trains.at(7, 0.1))[:, 0].nonzero().tolist() == [[0, 0], [3, 0], [6, 1]]
    assert trains.merged(7, 0.1) == 0.25


@pytest.mark.parametrize(
    ("times", "units", "reason"),
    [
        ([-1.0, 2.0], [0, 1], "time -1"),
        ([np.nan, 2.0], [0, 1], "1 times of spikes are not finite"),
        ([1.0, 2.0], [0, 2], "unit 2: units are from 0 to 1"),
        ([1.0, 2.0], [-1, 0], "unit -1"),
        ([1.0], [0, 1], "1 times for 2 units"),
    ],
)
def test_wrong_events_are_told(times: Any, units: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        SpikeTrains(Recording(np.array(times), np.array(units), np.array([0, len(times)])), (2,))


# N-MNIST


def record(x: int, y: int, polarity: int, microseconds: int) -> bytes:
    return bytes([x, y, polarity << 7 | microseconds >> 16]) + (microseconds & 65535).to_bytes(
        2, "big"
    )


def nmnist(
    folder: Path, content: bytes | None = None, zipped: bool = True, repeats: int = 1
) -> Path:
    for part, copies in (("Train", 2), ("Test", 1)):
        files = {
            f"{part}/{label}/{10 * copy + label:05}.bin": b"".join(
                record(label, 33, 1, 70_000 + 2_000 * k) for k in range(repeats)
            )
            + record(2, label, 0, 300_000)
            for copy in range(copies)
            for label in range(10)
        }
        if content is not None and part == "Train":
            files["Train/3/00003.bin"] = content
        if zipped:
            with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
                for name, body in files.items():
                    archive.writestr(name, body)
        for name, body in () if zipped else files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
def test_nmnist_as_published(tmp_path: Path, zipped: bool) -> None:
    data = load(str(nmnist(tmp_path, zipped=zipped)))
    assert (data.shape, data.classes, data.duration) == ((2, 34, 34), 10, 300.0)
    assert (len(data.train), len(data.test)) == (20, 10)
    three = data.train.images[data.train.labels == 3]
    found = torch.as_tensor(three.at(31, 10.0)).view(31, 2, 2, 34, 34)
    assert found[:, 0].nonzero().tolist() == [[7, 1, 33, 3], [30, 0, 3, 2]]
    assert "spikes of [2, 34, 34] units over 300" in in_words(data)[0]
    assert len(load(str(tmp_path), limit_train=4).train) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 bytes"),
        (b"1234", "has 4 bytes, and a record has 5"),
        (record(34, 0, 0, 1), r"an event at \(34, 0\), beyond 34 pixels"),
        (record(1, 1, 0, 9) + record(1, 1, 0, 8), "times are not sorted"),
    ],
)
def test_wrong_recordings_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        load(str(nmnist(tmp_path, content)))
    assert "Train/3/00003.bin" in str(caught.value)


def test_damaged_archives_are_told(tmp_path: Path) -> None:
    whole = (nmnist(tmp_path) / "Train.zip").read_bytes()
    for size in range(0, len(whole), 301):
        (tmp_path / "Train.zip").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"Train\.zip"):
            load(str(tmp_path))


# SHD and SSC


def shd(folder: Path, **changes: Any) -> Path:
    """Both files in the published layout, and in the first some of the arrays replaced."""
    h5py = pytest.importorskip("h5py")
    for part in ("train", "test"):
        arrays: dict[str, Any] = {
            "times": [np.array([0.01, 0.2 + n], np.float16) for n in range(4)],
            "units": [np.array([n, 699], np.uint16) for n in range(4)],
            "labels": np.array([0, 1, 0, 1], np.uint8),
        }
        arrays |= changes if part == "train" else {}
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            file["labels"] = arrays["labels"]
            for name in ("times", "units"):
                kind = h5py.vlen_dtype(arrays[name][0].dtype)
                stored = file.create_dataset(f"spikes/{name}", (len(arrays[name]),), kind)
                for n, values in enumerate(arrays[name]):
                    stored[n] = values
    return folder


def test_shd_as_published(tmp_path: Path) -> None:
    for place in (shd(tmp_path), tmp_path / "shd_train.h5"):
        data = load(str(place))
        assert (data.shape, data.classes, len(data.train)) == ((700,), 2, 4)
        assert data.duration == pytest.approx(3200, abs=2)  # 3.2 s in half precision
        found = torch.as_tensor(data.train.images[1:3].at(130, 10.0)).nonzero().tolist()
        assert found == [[1, 0, 1], [1, 1, 2], [120, 0, 699]]
    assert spec_of(str(tmp_path)).title == "SHD, spiking speech"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"units": [np.array([0, 700], np.uint16)] * 4}, "unit 700"),
        ({"times": [np.array([-0.1, 0.2], np.float16)] * 4}, "time -"),
        ({"times": [np.array([0.3, 0.2], np.float16)] * 4}, "recording 0: times are not sorted"),
        ({"times": [np.array([0.3, np.nan], np.float16)] * 4}, "not finite"),
        ({"times": [np.array([1, 2], np.int64)] * 4}, "times are int64"),
        ({"units": [np.array([1], np.uint16)] * 4}, "2 times for 1 units"),
        ({"labels": np.zeros(3, np.uint8)}, "4 of units and 3 labels"),
        ({"labels": np.zeros(4)}, "labels are integers"),
        ({"labels": np.array([0, 2, 0, 2])}, "class 1 of 3 has no training sample"),
    ],
)
def test_wrong_hdf5_is_named(tmp_path: Path, changes: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        load(str(shd(tmp_path, **changes)))


def test_hostile_hdf5(tmp_path: Path) -> None:
    """Links are not followed, and what is cut off anywhere is told."""
    h5py = pytest.importorskip("h5py")
    path = shd(tmp_path) / "shd_train.h5"
    whole = path.read_bytes()
    for size in range(0, len(whole), 517):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"shd_train\.h5"):
            load(str(path))
    for link in (h5py.ExternalLink("shd_test.h5", "/labels"), h5py.SoftLink("/spikes/units")):
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            del file["labels"]
            file["labels"] = link
        with pytest.raises(DataError, match="labels is a link to somewhere else"):
            load(str(path))
    path.write_bytes(whole)
    (tmp_path / "shd_test.h5").unlink()
    with pytest.raises(DataError, match=r"no shd_test\.h5 beside it"):
        load(str(path))


# FSDD


def wav(path: Path, sound: Any, channels: int = 1, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(sound, "<i2").tobytes())


def tone(hertz: float, seconds: float = 0.2, rate: int = 8000) -> Any:
    return 9000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def fsdd(folder: Path) -> Path:
    place = folder / "recordings"
    place.mkdir()
    for digit in range(10):
        for speaker in ("ada", "bob"):
            for index in (0, 4, 5, 6):
                sound = tone(200 + 300 * digit, 0.1 + 0.02 * index)
                wav(place / f"{digit}_{speaker}_{index}.wav", sound)
    return folder


def test_fsdd_by_index_and_by_speaker(tmp_path: Path) -> None:
    data = load(str(fsdd(tmp_path)))
    assert (data.shape, data.classes) == ((2 * CHANNELS,), 10)
    assert (len(data.train), len(data.test)) == (40, 40)
    held_out = of_fsdd(tmp_path, "bob")
    assert held_out.samples == 40
    assert held_out.fingerprint != spec_of(str(tmp_path)).fingerprint
    with pytest.raises(SaltationError, match="allowed: ada, bob"):
        of_fsdd(tmp_path, "eve")
    named = load(f"{tmp_path}#bob")
    assert named.name == f"{tmp_path}#bob"
    assert torch.equal(named.test.labels, torch.arange(10).repeat(4))
    study = IntegratorsStudy(dataset=f"{tmp_path}#bob", input=["held"])
    assert study.trials()[0]["dataset"] == f"{tmp_path}#bob"
    assert study.trials()[0]["data"].endswith("-bob")
    with pytest.raises(SaltationError, match="allowed: ada, bob"):
        IntegratorsStudy(dataset=f"{tmp_path}#eve")
    with pytest.raises(SaltationError, match="only of FSDD can a speaker be held out"):
        spec_of(f"{Path(__file__)}#bob")


def test_sounds_filtered_together_are_as_alone() -> None:
    sounds = [tone(300, 0.11), tone(1200, 0.31), tone(2500, 0.2)]
    for sound, (times, units) in zip(sounds, spikes_of(sounds, 8000), strict=True):
        ((alone, by),) = spikes_of([sound], 8000)
        assert np.array_equal(times, alone)
        assert np.array_equal(units, by)
        assert (np.diff(times) >= 0).all()


def test_a_tone_is_loudest_in_its_channel() -> None:
    centres = np.geomspace(100, 3600, CHANNELS)
    for channel in (3, 15, 28):
        ((_, units),) = spikes_of([tone(centres[channel], 0.5)], 8000)
        onsets = np.bincount(units[units < CHANNELS], minlength=CHANNELS)
        assert abs(int(onsets.argmax()) - channel) <= 1


def test_wrong_sounds_are_named(tmp_path: Path) -> None:
    path = fsdd(tmp_path) / "recordings" / "3_ada_5.wav"
    good = path.read_bytes()
    for content in (b"", b"RIFF", good[:30], good[:400]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"3_ada_5\.wav"):
            load(str(tmp_path))
    wav(path, tone(300), channels=2)
    with pytest.raises(DataError, match="2 channels of 16 bits"):
        load(str(tmp_path))
    wav(path, tone(300), rate=16000)
    with pytest.raises(DataError, match="8000 to 16000 samples a second"):
        load(str(tmp_path))


def test_a_study_on_recorded_spikes(tmp_path: Path) -> None:
    """Every dt sees the same events, over the time of the longest recording."""
    study = IntegratorsStudy(
        dataset=str(nmnist(tmp_path, repeats=60)),
        neurons=["lif"],
        schemes=["exponential"],
        dt=[10.0, 30.0],
        tau=20.0,
        input=["held"],
        epochs=12,
        batch_size=5,
        lr=0.05,
        hidden=[20],
        readout="mean",
        progress=False,
        out_dir=tmp_path / "out",
    )
    assert [trial["steps"] for trial in study.trials()] == [30, 10]
    results = study.run()
    assert results["test_accuracy"].min() > 80
    with pytest.raises(SaltationError, match="spikes, which are not encoded"):
        IntegratorsStudy(dataset=str(tmp_path), encoder="exact")


# Augmentation


def augmented() -> tuple[SpikeTrains, torch.Tensor]:
    return SpikeTrains(recording(3, 6, 9, 40, 8.0), (9,)), torch.arange(10, 16)


def test_samples_keep_their_events() -> None:
    """Of any choice and order of samples, and until when there are some."""
    trains, _ = augmented()
    chosen = trains[torch.tensor([4, 0, 4])]
    again = trains.replaced(chosen.recording)
    assert torch.equal(chosen.at(20, 0.5).to_dense(), again.at(20, 0.5).to_dense())
    dense = trains.at(16, 0.5).to_dense()
    steps = torch.arange(1, 17)[:, None]
    last = (dense.any(2) * steps).amax(0).clamp(min=1)
    assert torch.equal(trains.lengths(16, 0.5), last)
    assert trains.lengths(2, 0.5).max() == 2


@pytest.mark.parametrize("function", [jitter, drop, speed])
def test_augmentation_is_of_sample_and_epoch(function: Any) -> None:
    """The same alone as in a batch, another in another epoch; what was given stays."""
    trains, index = augmented()
    before = trains.recording.times.copy()
    amount = {"p": 0.3} if function is drop else {"by": 0.3}
    found = function(trains, index, **amount, seed=1, epoch=2)
    alone = function(trains[[3]], index[3:4], **amount, seed=1, epoch=2)
    here = slice(*found.recording.offsets[3:5])
    assert np.array_equal(found.recording.times[here], alone.recording.times)
    other = function(trains, index, **amount, seed=1, epoch=3).recording.times
    assert not np.array_equal(found.recording.times, other)
    assert np.array_equal(trains.recording.times, before)
    same = function(trains, index, **dict.fromkeys(amount, 0.0))
    assert np.array_equal(same.recording.times, before)
    with pytest.raises(SaltationError, match="an index for each sample, got 6 samples and"):
        function(trains, index[:2], **amount)
    with pytest.raises(SaltationError, match="must be"):
        function(trains, index, **dict.fromkeys(amount, -0.1))


def test_augmentation_does_what_it_says() -> None:
    """Shifts of that deviation, that fraction of events, a factor for a sample; in batches too."""
    made = recording(0, 40, 5, 400, 90.0)
    trains, index = SpikeTrains(made, (5,)), torch.arange(40)
    shifted = jitter(trains, index, by=0.2).recording.times
    inside = made.times > 1
    assert (shifted - made.times)[inside].std() == pytest.approx(0.2, rel=0.05)
    assert abs((shifted - made.times)[inside].mean()) < 0.01
    assert (shifted >= 0).all()
    left = drop(trains, index, p=0.25)
    assert len(left.recording.times) / len(made.times) == pytest.approx(0.75, abs=0.02)
    faster = made.times / speed(trains, index, by=0.1).recording.times
    for n in range(40):
        factors = faster[made.offsets[n] : made.offsets[n + 1]]
        assert len(factors) == 0 or np.nanmax(factors) == pytest.approx(np.nanmin(factors))
    assert 0.9 < np.nanmin(faster) < 0.93
    assert 1.07 < np.nanmax(faster) < 1.1
    split = Split(trains, torch.zeros(40).long())
    (batch,) = batches(split, 40, epoch=1, augment=AugmentEvents(jitter=0.2, drop=0.25, speed=0.1))
    assert 0.5 < batch.images.at(100, 1.0).to_dense().mean() / trains.at(100, 1.0).mean() < 1


def test_samples_of_a_camera_are_mirrored() -> None:
    """x becomes W - 1 - x in half of the samples, by sample and epoch, and twice is not at all."""
    made = recording(0, 40, 24, 30, 90.0)
    trains, index = SpikeTrains(made, (2, 3, 4)), torch.arange(40)
    every = flip(trains, index, p=1.0).at(90, 1.0).view(90, 40, 2, 3, 4)
    dense = torch.as_tensor(trains.at(90, 1.0)).view(90, 40, 2, 3, 4)
    assert torch.equal(torch.as_tensor(every), dense.flip(-1))
    half = torch.as_tensor(flip(trains, index, epoch=3).at(90, 1.0)).view_as(dense)
    kept = (half == dense).flatten(2).all(2).all(0)
    assert 10 < int(kept.sum()) < 30
    assert torch.equal(half[:, ~kept], dense.flip(-1)[:, ~kept])
    alone = flip(trains[index[7:8]], index[7:8], epoch=3)
    assert torch.equal(torch.as_tensor(alone.at(90, 1.0)).view(90, 2, 3, 4), half[:, 7])
    split = Split(trains, torch.zeros(40).long())
    (batch,) = batches(split, 40, epoch=3, augment=AugmentEvents(flip=0.5))
    assert torch.equal(torch.as_tensor(batch.images.at(90, 1.0)).view_as(dense), half)
    with pytest.raises(SaltationError, match=r"mirrored of units \[\.\.\., H, W\], got \[5\]"):
        flip(SpikeTrains(recording(0, 2, 5, 4, 9.0), (5,)), torch.arange(2))
    with pytest.raises(SaltationError, match="p must be a number from 0 to 1, got 2"):
        flip(trains, index, p=2.0)
