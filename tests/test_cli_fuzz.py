"""Bad command lines, drawn at random: each is one line and exit code 2, and leaves nothing behind.

What a command takes is read from its config or its fields, so that a new command, study or setting
is drawn too. Exactly one thing of each command line is bad.
"""

from __future__ import annotations

import dataclasses
import io
import random
import re
import types
import typing
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from saltation.cli import main
from saltation.cli.parsing import COMMANDS, GROUPS
from saltation.studies import STUDIES, Study

HUGE = ("1e20", "1e30", "1e300", str(10**20), str(10**30), str(2**64), "-" + str(2**64))
NO_INTEGER = (*HUGE, "-1", "nan", "inf", "1.5", "", "x", "0x10", "1,000", "9" * 5000, "[/x]", "-")
NO_FLOAT = ("nan", "inf", "-inf", "1e308", "-1e308", "1e400", "", "x", "1,5", "[/b]", "λ", "a\nb")
NO_NAME = ("", "nonsense", "[/x]", "a\nb", "\udce9", "~nosuchuser", "λ" * 300, "--", "None", "0")
LONG = ("a" * 300, "x/" + "b" * 5000, "new/" * 2000)
NO_FOLDER = ("/dev/null/x", "/dev/null", "file/x", "file", *LONG)
TEXTS = ("~nosuchuser/x", "\udcff\udce9", "[/x]", "a\nb", "\x1b[31m", "λ", "nowhere")
NO_PLACE = (*NO_FOLDER, *TEXTS, "")
CONFIGS = (
    "dtt: 1",
    "epochs: 1e400",
    "epochs: .nan",
    "lr: -1",
    "seeds: []",
    "seeds: [1, 1]",
    "seeds: [[[[1]]]]",
    "epochs: &a [1]\nseeds: *a",
    "epochs: {a: 1}",
    "device: [cpu]",
    'out_dir: "a\\0b"',
    "study: nonsense",
    "- 1",
    "",
    "\x00",
    "{",
    "a: b: c",
    "? [1]\n: 2",
    "epochs: 2020-01-01",
    "epochs: !!python/name:os.system",
    "progress: maybe",
    "lr: " + "9" * 5000,
    "dataset: mnist\ndata_dir: /dev/null",
    "workers: 1024",
)


class Flag(NamedTuple):
    """What a command takes: a name, and the values that it must refuse."""

    name: str
    bad: tuple[str, ...]
    beside: tuple[str, ...] = ()


def kinds_of(annotation: Any) -> set[type]:
    """The plain types that a field's values are made of."""
    if isinstance(annotation, type):
        return {annotation}
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation):
        return set().union(*map(kinds_of, typing.get_args(annotation)))
    return set()


def flag(name: str, annotation: Any) -> Flag | None:
    """The flag of a field; None if it takes anything."""
    word, kinds = f"--{name.replace('_', '-')}", kinds_of(annotation)
    if name == "out_dir":
        return Flag(word, NO_FOLDER)
    if name == "data_dir":
        return Flag(word, NO_PLACE, ("--dataset", "mnist"))
    if str in kinds:
        return Flag(word, tuple(text for text in NO_NAME if text != "None"))
    if int in kinds:
        return Flag(word, NO_INTEGER)
    if float in kinds:
        return Flag(word, NO_FLOAT)
    if bool in kinds:
        return Flag(word, ("yes", "1", "maybe", ""))
    return None


def of_studies() -> dict[str, list[Flag]]:
    """The flags of every study."""
    return {
        f"study {name}": [
            found
            for field, about in study.config_type.model_fields.items()
            if (found := flag(field, about.annotation)) is not None
        ]
        for name, study in STUDIES.items()
    }


# What the commands that are no studies take beside numbers.
OTHERS = {
    "stability": [
        Flag("--neuron", NO_NAME),
        Flag("--set", ("", "nonsense", "a0=x", "v_rest=nan", "=", "dt=1e400", "a\nb", "\udce9")),
    ],
    "recommend": [
        Flag("--neuron", NO_NAME),
        Flag("--tolerance", ("", "x", "nan", "inf", "1e400", "101%", "%", "0", "a\nb")),
        Flag("--input", NO_FLOAT),
        Flag("--t-end", ("nan", "inf", "1e20", "", "x")),
    ],
    "resume": [Flag("", NO_PLACE)],
    "runs": [Flag("", (*NO_FOLDER, *TEXTS))],
    "report": [Flag("", NO_PLACE)],
    "compare": [Flag("", NO_PLACE)],
    "lyapunov": [Flag("", NO_PLACE)],
    "diagnose": [
        Flag("", (*NO_PLACE, "file:build", "nowhere.py:build", "x.py:", ":", "a.py:[/x]"))
    ],
    "data fetch": [Flag("", NO_NAME)],
}


def of_commands() -> dict[str, list[Flag]]:
    """The numbers that the other commands take, and what stands in `OTHERS`."""
    commands: dict[str, Any] = {
        **{name: command for name, command in COMMANDS.items() if name not in GROUPS},
        **{f"data {name}": command for name, command in GROUPS["data"].items()},
    }
    found = {}
    for name, command in commands.items():
        of_type = {"int": int, "float": float}
        kinds = {f.name: of_type.get(str(f.type)) for f in dataclasses.fields(command)}
        numbers = [flag(field, kind) for field, kind in kinds.items() if kind]
        found[name] = [*(one for one in numbers if one), *OTHERS.get(name, [])]
    return found


def mistyped(draw: random.Random, flags: list[Flag]) -> str:
    """A flag that nearly is one."""
    names = [one.name for one in flags if one.name] or ["--help"]
    while True:
        word = list(draw.choice(names)[2:])
        place = draw.randrange(len(word))
        word[place : place + 1] = draw.choice([[], [word[place]] * 2, ["x"], ["[/x]"], ["é"]])
        wrong = f"--{''.join(word)}"
        if wrong not in names and wrong.replace("_", "-") not in names and len(wrong) > 3:
            return wrong


def bad(draw: random.Random, command: str, flags: list[Flag]) -> list[str]:
    """A command line with one mistake in it."""
    words = command.split()
    positional = [one for one in flags if not one.name]
    options = [one for one in flags if one.name]
    good = [] if command in ("data list", "info", "selftest") or not positional else ["nowhere"]
    way = draw.randrange(10)
    if command.startswith("study") and way == 0:
        Path("mine.yaml").write_text(draw.choice(CONFIGS), encoding="utf-8")
        return [*words, "--config", draw.choice(["mine.yaml"] * 5 + ["nowhere.yaml", "file", ""])]
    if way == 1:
        return [*words, *good, mistyped(draw, flags), *draw.choice([[], ["1"], ["x", "[/x]"]])]
    if way == 2 and options:
        return [*words, *good, draw.choice(options).name, *draw.choice([["--nonsense"], ["-x"]])]
    if way == 3 and not (positional or command.startswith("study")):
        return [*words, draw.choice([name for name in NO_NAME if name != "--"])]
    if way == 4:
        wrong = draw.choice([w for w in NO_NAME if w not in ("--", "")])
        return draw.choice([[wrong, *words], [words[0][:-1] or "x", *words[1:]]])
    one = draw.choice(flags) if flags else Flag("--nonsense", ("",))
    value = draw.choice(one.bad)
    if not one.name:
        return [*words, value] if command != "compare" else [*words, value, value]
    given = [f"{one.name}={value}"] if draw.random() < 0.3 else [one.name, value]
    return [*words, *good, *one.beside, *given]


def refused(words: list[str]) -> tuple[Any, str, str]:
    """How the command line ends, and what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stop:
            return stop.code, out.getvalue(), err.getvalue()
        except BaseException as error:
            return error, out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def listing() -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in Path().rglob("*"))


@pytest.fixture
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with one file in it, and studies that do not begin."""

    def accepted(study: Study[Any]) -> Any:
        raise RuntimeError("accepted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALTATION_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(Study, "_held", accepted)
    Path("file").write_text("not a folder\n")


def check(words: list[str]) -> str:
    """That a command line is refused as it should be; else what is wrong."""
    before = listing()
    code, out, err = refused(words)
    if code != 2:
        return f"exit {code!r}"
    if out:
        return f"on stdout: {out!r}"
    if err.count("\n") != 1 or not err.startswith("saltation: ") or len(err) > 5000:
        return f"on stderr: {err!r}"
    if listing() != before:
        return f"left behind: {set(listing()) - set(before)}"
    return ""


@pytest.mark.usefixtures("_alone")
def test_bad_command_lines(full: bool) -> None:
    draw = random.Random(0)
    commands = {**of_studies(), **of_commands()}
    wrong = []
    for number in range(5000 if full else 300):
        command = list(commands)[number % len(commands)]
        words = bad(draw, command, commands[command])
        if found := check(words):
            wrong.append((words, found))
    assert not wrong, "\n".join(f"{words}: {found}" for words, found in wrong)


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("command", STUDIES)
def test_every_number_of_a_study_has_bounds(command: str) -> None:
    """The bound is in the message, whatever number it is of."""
    values: dict[type, tuple[str, ...]] = {int: (str(10**30), "-1"), float: ("1e308", "-1e308")}
    fields = STUDIES[command].config_type.model_fields
    for name, about in fields.items():
        kinds = kinds_of(about.annotation) & {int, float}
        for value in values[kinds.pop()] if kinds else ():
            words = ["study", command, f"--{name.replace('_', '-')}={value}"]
            assert not check(words), words
            err = refused(words)[2]
            assert re.search(rf"^saltation: {name}: input should be (greater|less) than", err)
