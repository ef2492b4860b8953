"""Checkpoints that are wrong inside, or no files at all, are passed over like damaged ones."""

from __future__ import annotations

import os
import shutil
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saltation.errors import DataError
from saltation.snapshot import UnfitSnapshotError, restore, take
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.checkpoints import Checkpoints, epochs, keep_last, read
from saltation.studies.engine.fingerprint import fingerprint, not_finite
from saltation.studies.engine.recording import Alone
from tests.studies.test_resume import INTEGRATORS, recorded

Change = Callable[[dict[str, Any]], Any]


def study(folder: Path) -> IntegratorsStudy:
    return IntegratorsStudy(out_dir=folder, **INTEGRATORS | {"schemes": ["euler"]})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that was stopped in the third and last epoch of its one trial."""
    folder, left, batch = tmp_path_factory.mktemp("stopped"), [14], Alone.batch

    def stopping(self: Alone, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        batch(self, done, total)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Alone, "batch", stopping)
        with pytest.raises(KeyboardInterrupt):
            study(folder).run()
    assert len(recorded(folder)[0]["epochs"]) == 2
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    study(folder).run()
    return recorded(folder)


def last(folder: Path) -> Path:
    (path,) = folder.glob("checkpoints/*/epoch-00002.pt")
    return path


def weights(saved: dict[str, Any]) -> dict[str, Any]:
    network: dict[str, Any] = saved["snapshot"]["network"]
    return network


def nan(saved: dict[str, Any]) -> None:
    next(iter(weights(saved).values()))[0, 0] = float("nan")


def another_network(saved: dict[str, Any]) -> None:
    for name, value in weights(saved).items():
        weights(saved)[name] = torch.zeros(3, 3) if value.ndim == 2 else value


def wrong_moments(saved: dict[str, Any]) -> None:
    saved["snapshot"]["optimizer"]["state"][0]["exp_avg"] = torch.zeros(2, 2)


def no_betas(saved: dict[str, Any]) -> None:
    del saved["snapshot"]["optimizer"]["param_groups"][0]["betas"]


def itself(saved: dict[str, Any]) -> None:
    saved["snapshot"]["loop"] = saved["snapshot"]


def doubling(saved: dict[str, Any]) -> None:
    part: Any = 0
    for _ in range(60):
        part = [part, part]
    saved["snapshot"]["doubling"] = part


CHANGES: dict[str, tuple[Change, str]] = {
    "no network": (lambda s: s["snapshot"].pop("network"), "it has no 'network'"),
    "no optimizer": (lambda s: s["snapshot"].pop("optimizer"), "it has no 'optimizer'"),
    "no schedule": (lambda s: s["snapshot"].pop("schedule"), "it has no 'schedule'"),
    "no random": (lambda s: s["snapshot"].pop("random"), "it has no 'random'"),
    "a short random": (
        lambda s: s["snapshot"].update(random=torch.zeros(3, dtype=torch.uint8)),
        "its 'random' is no state",
    ),
    "another network": (another_network, "its 'network' is of another training"),
    "a network that is a list": (
        lambda s: s["snapshot"].update(network=[1, 2]),
        "its 'network' is of another training",
    ),
    "moments of another shape": (wrong_moments, "its 'optimizer' is of another training"),
    "an optimizer without betas": (no_betas, "its 'optimizer' is of another training: no betas"),
    "NaN weights": (nan, "its network has values that are not finite"),
    "best a text": (lambda s: s.update(best="high"), "its best score is 'high'"),
    "best NaN": (lambda s: s.update(best=float("nan")), "its best score is nan"),
    "best a list": (lambda s: s.update(best=[1]), "its best score is list"),
    "another epoch": (lambda s: s.update(epoch=7), "it is of epoch 7"),
    "epoch a text": (lambda s: s.update(epoch="2"), "its epoch is '2'"),
    "epoch true": (lambda s: s.update(epoch=True), "its epoch is True"),
    "a snapshot of nothing": (lambda s: s.update(snapshot=None), "its snapshot is NoneType"),
    "a snapshot that holds itself": (itself, "recursion"),
    "lists of lists of lists": (doubling, "more than 1000000 parts"),
    "one number shown often": (
        lambda s: s["snapshot"].update(big=torch.zeros(1).expand(1 << 40)),
        "larger than the file",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_inside_is_as_good_as_damaged(
    name: str, stopped: Path, whole: Any, tmp_path: Path
) -> None:
    """The one before is taken, with a line that names the file, to the bits of a whole run.

    The file is as a release without fingerprints wrote it: what is wrong is seen all the same.
    """
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    change, message = CHANGES[name]
    saved = torch.load(last(folder), weights_only=True)
    change(saved)
    for key in ("fingerprint", "trial", "not_finite"):
        saved.pop(key)
    torch.save(saved, last(folder))
    with pytest.warns(UserWarning, match=rf"epoch-00002\.pt.*{message}.*; going back to the one"):
        study(folder).run()
    assert recorded(folder) == whole


def test_a_changed_number_is_noticed(stopped: Path, tmp_path: Path) -> None:
    """What nothing else would notice: a weight, a moment, a learning rate, a random state."""
    saved = torch.load(last(stopped), weights_only=True)
    parts = saved["snapshot"]
    path = tmp_path / saved["trial"] / "epoch-00002.pt"
    path.parent.mkdir()
    torch.save(saved, path)
    assert read(path)["epoch"] == 2
    places: list[Callable[[float], Any]] = [
        lambda x: next(iter(parts["network"].values()))[0].add_(x),
        lambda x: parts["optimizer"]["state"][0]["exp_avg"].add_(x),
        lambda x: parts["optimizer"]["param_groups"][0].__setitem__("lr", 0.1 + x),
        lambda x: parts["random"][5:6].bitwise_xor_(1),
    ]
    for change in places:
        change(1e-3)
        torch.save(saved, path)
        with pytest.raises(DataError, match="its content is not what was written"):
            read(path)
        saved = torch.load(last(stopped), weights_only=True)
        parts = saved["snapshot"]


def test_a_checkpoint_of_another_trial_is_refused(stopped: Path, tmp_path: Path) -> None:
    """Its network may be of the same shape."""
    other = tmp_path / "0123456789ab" / "epoch-00002.pt"
    other.parent.mkdir()
    shutil.copy(last(stopped), other)
    with pytest.raises(DataError, match=f"it is of the trial '{last(stopped).parent.name}'"):
        read(other)


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "dangling", "device", "loop"])
def test_only_regular_files_are_checkpoints(
    kind: str, stopped: Path, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for a writer, nothing is deleted; the study goes on and ends."""
    folder = tmp_path / "run"
    shutil.copytree(stopped, folder)
    path = last(folder)
    strange = [path.with_name("epoch-00009.pt"), path.with_name("best.pt")]
    path.with_name("best.pt").unlink()
    monkeypatch.chdir(path.parent)  # names of sockets are short
    for one in strange:
        if kind == "fifo":
            os.mkfifo(one)
        elif kind == "folder":
            (one / "inside").mkdir(parents=True)
        elif kind == "socket":
            socket.socket(socket.AF_UNIX).bind(one.name)
        else:
            target = {"dangling": "nowhere", "device": "/dev/zero", "loop": one.name}[kind]
            one.symlink_to(target)
    assert sorted(epochs(path.parent)) == [1, 2]
    with pytest.raises(DataError, match="not a regular file"):
        read(strange[0])
    study(folder).run()
    assert recorded(folder) == whole
    assert os.path.lexists(strange[0])
    keep_last(path.parent)
    assert epochs(path.parent) == [3]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_in_our_own_words(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the advice to load it all the same."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.pt"
    content = {"epoch": 1, "best": 1.0, "snapshot": Hostile()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="cannot be read as a checkpoint") as refused:
        read(path)
    message = str(refused.value)
    assert "weights_only" not in message
    assert "trust" not in message
    assert "\n" not in message
    if zipped:
        assert "more than tensors and plain values (posix.system)" in message
    assert not (tmp_path / "ran").exists()


def test_a_file_that_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"epoch": 1, "best": 1.0, "snapshot": {"w": torch.zeros(1 << 22)}}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(tmp_path / "small.pt", "w", 8) as small:
        for part in plain.infolist():
            small.writestr(part.filename, plain.read(part))
    with pytest.raises(DataError, match="compressed"):
        read(tmp_path / "small.pt")


def test_a_fingerprint_depends_on_every_part() -> None:
    content: dict[str, Any] = {"a": torch.arange(3.0), "b": [1, 2.5, None, "x"], "c": {}}
    same = {"a": torch.arange(3.0), "b": [1, 2.5, None, "x"], "c": {}}
    others: list[Any] = [
        content | {"a": torch.tensor([0.0, 1.0, 2.0000002])},
        content | {"a": torch.arange(3.0, dtype=torch.float64)},
        content | {"a": torch.arange(3.0)[None]},
        content | {"b": [1, 2.5, None, "y"]},
        content | {"b": [1, 2.5, False, "x"]},
        content | {"b": [1, 2.5, None], "c": {"x": 1}},
        content | {"b": [[1, 2.5], None, "x"]},
        {"a": content["a"], "b": content["b"]},
    ]
    assert fingerprint(content) == fingerprint(same)
    assert len({fingerprint(one) for one in [content, *others]}) == len(others) + 1
    assert fingerprint({"a": torch.zeros(2, 3).T}) == fingerprint({"a": torch.zeros(3, 2)})
    with pytest.raises(TypeError, match="it holds a object"):
        fingerprint([object()])


def test_values_that_were_not_finite_when_written_may_be_so(tmp_path: Path) -> None:
    """An optimiser's second moment can overflow in a training that goes well."""
    folder = tmp_path / "trial"
    snapshot = {"network": {"w": torch.ones(2)}, "optimizer": {"v": torch.tensor([torch.inf])}}
    assert not_finite(snapshot) == ["optimizer"]
    Checkpoints(folder, 0).save(1, snapshot, 5.0)
    assert Checkpoints(folder, 1).epoch == 1


def test_restoring_what_does_not_fit_is_refused_by_name() -> None:
    net, other = torch.nn.Linear(2, 3), torch.nn.Linear(3, 2)
    snapshot = take({"network": other})
    with pytest.raises(UnfitSnapshotError, match="'network' is of another training"):
        restore(snapshot, {"network": net})
    with pytest.raises(UnfitSnapshotError, match="it has no 'term 0'"):
        restore(snapshot, {"network": other, "term 0": net})
