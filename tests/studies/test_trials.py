"""What trials are given: the types that say it, and studies that were recorded before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter

from saltation.studies import STUDIES, Study
from saltation.studies.engine.config import CONFIG
from saltation.studies.engine.folder import study_of
from saltation.studies.engine.records import contents
from saltation.studies.engine.store import FINISHED, RECORD, Store, trial_id

# Tiny studies, whole but for some of their trials, as the code wrote them before trials had types.
OLDER: dict[str, Any] = json.loads(Path(__file__).with_name("older.json").read_text())


def flaws(settings: dict[str, Any], kind: Any) -> Iterator[str]:
    """Where settings are not what a typed dict says."""
    hints = get_type_hints(kind)
    marked = get_type_hints(kind, include_extras=True).items()
    free = kind.__optional_keys__ | {
        name for name, hint in marked if get_origin(hint) is NotRequired
    }
    yield from (f"no {name}" for name in hints.keys() - free - settings.keys())
    yield from (f"{name} is not known" for name in settings.keys() - hints.keys())
    for name in hints.keys() & settings.keys():
        try:
            TypeAdapter(hints[name]).validate_python(settings[name], strict=True)
        except ValueError:
            yield f"{name} is {settings[name]!r}, not {hints[name]}"


def kind_of(study: Study[Any]) -> Any:
    return get_args(get_type_hints(type(study).trials)["return"])[0]


def test_the_check_sees_what_it_should() -> None:
    kind = kind_of(STUDIES["integrators"](out_dir=Path("x")))
    whole = OLDER["integrators"]["records"][0]["settings"]
    assert list(flaws(whole, kind)) == []
    assert list(flaws(whole | {"seed": "0"}, kind)) == ["seed is '0', not <class 'int'>"]
    assert list(flaws(whole | {"sead": 0}, kind)) == ["sead is not known"]
    assert list(flaws({k: v for k, v in whole.items() if k != "dt"}, kind)) == ["no dt"]


@pytest.mark.parametrize("name", OLDER)
def test_older_studies_are_read_and_their_trials_are_not_run_again(
    name: str, tmp_path: Path
) -> None:
    """Nothing is damaged or of another study, and every setting is of the type that is said."""
    older = OLDER[name]
    (tmp_path / CONFIG).write_text(json.dumps(older["config"]))
    with Store(tmp_path / RECORD) as store:
        for record in older["records"]:
            store.start(record["id"], record["settings"], record["environment"])
            for metrics in record["epochs"]:
                store.add_epoch(record["id"], metrics["epoch"], metrics)
            store.end(record["id"], FINISHED)
    study = study_of(tmp_path)
    found = contents(study)
    assert (found.others, found.damaged) == ([], [])
    assert [r["id"] for r in found.asked] == [r["id"] for r in older["records"]]
    assert len(study.table(found.asked)) == len(older["records"])
    settings = [*study.trials(), *(r["settings"] for r in found.asked)]
    assert [flaw for trial in settings for flaw in flaws(trial, kind_of(study))] == []
    assert {trial_id(trial) for trial in study.trials()} >= {r["id"] for r in found.asked}
