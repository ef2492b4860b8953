"""The best checkpoint is chosen on samples put aside, or is called the best on the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import saltation as st
from saltation.data import Dataset, Split
from saltation.data import load as load_data
from saltation.errors import ConfigError, DataError
from saltation.studies import IntegratorsStudy
from saltation.studies.engine.checkpoints import read
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.recording import Alone
from saltation.studies.engine.store import trial_id
from saltation.studies.engine.validation import FIRST, held_out, validation_batches
from tests.studies.test_report import Page
from tests.studies.test_resume import DEPTH, FLOSSING, INTEGRATORS, RSTDP, STUDIES, recorded

SETTINGS: dict[str, dict[str, Any]] = {
    "integrators": INTEGRATORS | {"schemes": ["euler"], "lr": 0.02},
    "depth": DEPTH,
    "flossing": FLOSSING | {"modes": ["before"]},
    "rstdp": RSTDP | {"schemes": ["euler"]},
}


def study(name: str, folder: Path, **changes: Any) -> Any:
    kind = type(STUDIES[name](folder))
    return kind(out_dir=folder, **SETTINGS[name] | changes)


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        kind = type(study(name, Path("nowhere")))
        monkeypatch.setattr(kind, "report", lambda *_: None)


def test_a_part_is_put_aside_that_training_does_not_see() -> None:
    data = load_data("digits", limit_train=100, limit_test=10)
    rest, aside = held_out(data, 0.1, seed=3)
    assert (len(rest.train), len(aside), len(rest.test)) == (90, 10, 10)
    both = torch.cat([rest.train.images, aside.images]).flatten(1).tolist()
    assert sorted(both) == sorted(data.train.images.flatten(1).tolist())
    assert torch.equal(held_out(data, 0.1, seed=3)[1].images, aside.images)
    assert not torch.equal(held_out(data, 0.1, seed=4)[1].images, aside.images)
    assert held_out(data, 0.0, seed=3)[0] is data
    (batch,) = validation_batches(aside, 32)
    assert batch.index.tolist() == [FIRST + i for i in range(10)]


@pytest.mark.parametrize("fraction", [0.001, 0.9999])
def test_a_split_that_leaves_nothing_is_refused_before_anything_runs(
    fraction: float, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"validation=0\.\d+ of 64 training .* (none|all)"):
        study("integrators", tmp_path / "run", validation=fraction).run()
    assert not (tmp_path / "run").exists()
    for wrong in (1, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="validation"):
            study("integrators", tmp_path, validation=wrong)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_best_is_chosen_on_the_validation_split(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every study; it is recorded, and a resumed one chooses the same."""
    with_split = study(name, tmp_path / "a", validation=0.25)
    results = with_split.run()
    trials, prints = recorded(tmp_path / "a"), []
    for trial, (_, row) in zip(trials, results.iterrows(), strict=True):
        assert trial["settings"]["validation"] == 0.25
        epochs = [e for e in trial["epochs"] if e["epoch"]]
        scores = [e["validation_accuracy"] for e in epochs]
        assert all(score * 16 % 100 == 0 for score in scores)  # 16 samples
        best = epochs[scores.index(max(scores))]
        saved = read(tmp_path / "a" / "checkpoints" / trial["id"] / "best.pt")
        assert saved["best_on"] == "validation split"
        assert (saved["epoch"], saved["best"]) == (best["epoch"], max(scores))
        assert row["best_epoch"] == best["epoch"]
        assert row["test_accuracy_at_best"] == best["test_accuracy"]
        prints.append(saved["fingerprint"])
    assert "best_test_accuracy" not in results
    page = Page(tmp_path / "a" / "report.html")
    assert "chosen on 25 % of the training samples" in page.text("p")
    # Without a split the trial is the one it ever was.
    plain = study(name, tmp_path / "b")
    assert "validation" not in plain.trials()[0]
    assert trial_id(plain.trials()[0]) != trials[0]["id"]

    batch, left = Alone.batch, [9]

    def stopping(self: Alone, done: int, total: int) -> None:
        assert done <= total
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        batch(self, done, total)

    monkeypatch.setattr(Alone, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        study(name, tmp_path / "c", validation=0.25).run()
    left[0] = 1000
    study_of(tmp_path / "c", progress=False).run()
    assert recorded(tmp_path / "c") == trials
    places = [tmp_path / "c" / "checkpoints" / trial["id"] / "best.pt" for trial in trials]
    assert [read(path)["fingerprint"] for path in places] == prints


def test_the_test_set_has_no_part_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other test labels the same epoch is the best, with the same weights."""
    found = []
    for turn in (0, 5):
        one = study("integrators", tmp_path / str(turn), validation=0.25)
        data = one.config.load()
        labels = (data.test.labels + turn) % 10
        changed = Dataset(data.name, data.train, Split(data.test.images, labels), data.classes)
        monkeypatch.setattr(type(one.config), "load", lambda _, changed=changed: changed)
        one.run()
        monkeypatch.undo()
        monkeypatch.setattr(IntegratorsStudy, "report", lambda *_: None)
        (best,) = (tmp_path / str(turn)).glob("checkpoints/*/best.pt")
        found.append(read(best))
    assert found[0]["epoch"] == found[1]["epoch"]
    assert found[0]["fingerprint"] == found[1]["fingerprint"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four trials of two schemes and steps."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntegratorsStudy, "report", lambda *_: None)
        IntegratorsStudy(out_dir=folder, **INTEGRATORS | {"dt": [0.5, 1.0]}).run()
    return folder


def test_networks_are_loaded_by_id_or_settings(run: Path) -> None:
    """To the accuracy that is recorded of them, without the data set's samples."""
    one: Any = study_of(run)
    data = one.data(torch.device("cpu"))
    by_id = {trial["id"]: trial for trial in recorded(run)}
    for trial in one.trials():
        key = trial_id(trial)
        network = st.load(run, key)
        assert not network.training
        x, y, _ = one.probe(trial, data, 32, torch.device("cpu"))
        accuracy = 100 * float((network(x).argmax(1) == y).float().mean())
        assert accuracy == pytest.approx(by_id[key]["epochs"][-1]["test_accuracy"])
        for same in (
            st.load(str(run), key[:6]),
            st.load(run, {"scheme": trial["scheme"], "dt": trial["dt"]}),
            st.load(run, trial),
        ):
            assert torch.equal(same(x), network(x))
    with pytest.warns(UserWarning, match=r"best on the test set \(epoch \d\): .* too good"):
        st.load(run, key, which="best")


def test_what_cannot_be_loaded_is_said_in_a_line(run: Path, tmp_path: Path) -> None:
    one: Any = study_of(run)
    key = trial_id(one.trials()[0])
    near = key[:-1] + ("0" if key[-1] != "0" else "1")
    for trial, message in {
        near: rf"no trial with the id '{near}'; it has {key} \(lif euler dt=0\.5 seed=0\)$",
        "zzz": r"no trial with the id 'zzz'; it has .*\(lif euler dt=0\.5.*; .*; .*; ",
        "": "no trial with the id ''",
    }.items():
        with pytest.raises(ConfigError, match=message):
            st.load(run, trial)
    for settings, message in (
        ({"scheme": "euler"}, "2 trials of .* are meant, and one must be: "),
        ({}, "4 trials"),
        (None, "4 trials"),
        ({"dt": 7.0}, "no trial with dt=7.0; it has"),
    ):
        with pytest.raises(ConfigError, match=message):
            st.load(run, settings)  # type: ignore[arg-type]
    with pytest.raises(st.SaltationError, match="unknown setting of a trial 'schem'; did you mean"):
        st.load(run, {"schem": "euler"})
    with pytest.raises(st.SaltationError, match="unknown which 'first'"):
        st.load(run, key, which="first")
    with pytest.raises(ConfigError, match="there is no study in"):
        st.load(tmp_path, key)


def test_weights_of_a_trial_that_did_not_finish_are_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, left = Alone.batch, [8]

    def stopping(self: Alone, done: int, total: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        batch(self, done, total)

    monkeypatch.setattr(Alone, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        study("integrators", tmp_path).run()
    with pytest.warns(UserWarning, match="is interrupted: the weights are those after epoch 1"):
        st.load(tmp_path)
    for path in tmp_path.glob("checkpoints/*/*"):
        path.unlink()
    with pytest.raises(DataError, match=r"\(interrupted\) has no checkpoint that can be read"):
        st.load(tmp_path)
    with pytest.raises(DataError, match=r"has no best\.pt"):
        st.load(tmp_path, which="best")
