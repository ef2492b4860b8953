"""What the words of a command line say: the command, and its settings."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_origin

import tyro
from pydantic import ValidationError

from saltation.cli import page
from saltation.cli.commands import (
    Completion,
    DataDescribe,
    DataFetch,
    DataList,
    Diagnose,
    Info,
    SelfTest,
    Stability,
)
from saltation.cli.convergence import Convergence
from saltation.cli.exponents import Exponents
from saltation.cli.recommend import Recommend
from saltation.cli.runs import Compare, Report, Resume, Runs, run_preset, run_study
from saltation.cli.shortcuts import ELSEWHERE
from saltation.cli.spelling import as_settings, as_typed
from saltation.cli.terminal import complain
from saltation.errors import ConfigError, SaltationError, choose
from saltation.studies import STUDIES
from saltation.studies.engine.config import StudyConfig, one_line
from saltation.studies.engine.config_file import read_config
from saltation.studies.notebook import PRESETS, Part


def _study() -> None:
    """Run a study: a grid of trials, recorded as it goes, with tables and figures."""


def _data() -> None:
    """List or download data sets."""


GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "study": {
        "convergence": Convergence,
        **{name: study.config_type for name, study in STUDIES.items()},
    },
    "data": {"list": DataList, "describe": DataDescribe, "fetch": DataFetch},
}
COMMANDS: dict[str, Callable[..., Any]] = {
    "study": _study,
    "stability": Stability,
    "recommend": Recommend,
    "resume": Resume,
    "runs": Runs,
    "report": Report,
    "compare": Compare,
    "lyapunov": Exponents,
    "diagnose": Diagnose,
    "data": _data,
    "info": Info,
    "selftest": SelfTest,
    "completion": Completion,
}


def run(words: list[str]) -> None:
    """Do what the words say.

    Raises
    ------
    SystemExit
        With code 2, after one line on stderr, if they say nothing that can be done.
    """
    try:
        _run(words)
    except SaltationError as error:
        complain(str(error))
        raise SystemExit(2) from None


def _run(words: list[str]) -> None:
    if page.asks(words) and not any(word.split("=")[0] in ELSEWHERE for word in words):
        from saltation.cli.described import commands  # which reads the commands here

        if page.answered(words, commands()):
            raise SystemExit(0)
    command: Any
    what = words[0] if words else ""
    if what == "study" and words[1:2] and words[1] in STUDIES:
        preset, flags = _option(words[2:], "--preset", "a name")
        if preset is not None:
            run_preset(_parse_preset(words[1], preset, flags))
            return
        command = _parse_study(words[1], flags)
    elif what in GROUPS:
        command = _parse_one_of(GROUPS[what], what, f"saltation {what}", words[1:])
    else:
        command = _parse_one_of(COMMANDS, "command", "saltation", words)
    if isinstance(command, StudyConfig):
        run_study(next(s for s in STUDIES.values() if s.config_type is type(command))(command))
    else:
        command()


def _parse_study(name: str, words: list[str], default: StudyConfig | None = None) -> StudyConfig:
    """A study's config: its file's settings, if it is given one, and over them the flags."""
    config_type = STUDIES[name].config_type
    file, flags = _option(words, "--config", "a file")
    if file is not None and default is not None:
        raise ConfigError("give either --config or --preset, got both")
    if file is not None:
        default = read_config(Path(file), name, config_type)
    if page.asks(flags):
        from saltation.cli.described import described

        page.show(f"study {name}", {f"study {name}": described(config_type, default)})
        raise SystemExit(0)
    given = {} if default is None else {"default": default}
    prog = f"saltation study {name}"
    parser = partial(tyro.cli, config_type, prog=prog, **given)
    settings = {n: get_origin(f.annotation) is list for n, f in config_type.model_fields.items()}
    try:
        config: StudyConfig = _parse(parser, prog, as_settings(flags, settings))
    except ConfigError as error:
        raise ConfigError(as_typed(str(error), flags, settings)) from None
    return config


def _parse_preset(name: str, preset: str, flags: list[str]) -> list[tuple[Part, StudyConfig]]:
    """The parts of a preset that are of this study, each with the flags over its settings."""
    every = PRESETS[choose("preset", preset, PRESETS)]
    parts = [part for part in every if part.study == name]
    if not parts:
        studies = ", ".join(dict.fromkeys(part.study for part in every))
        raise ConfigError(f"the preset '{preset}' has no part of the {name} study (has: {studies})")
    of_study = STUDIES[name].config_type
    return [(part, _parse_study(name, flags, of_study.build(**part.settings))) for part in parts]


def _option(words: list[str], option: str, what: str) -> tuple[str | None, list[str]]:
    """What follows an option that is ours, not the parser's, and the words without both."""
    places = [i for i, word in enumerate(words) if word.split("=")[0] == option]
    if not places:
        return None, words
    if len(places) > 1:
        raise ConfigError(f"{option} takes {what.replace('a ', 'one ')}, got {len(places)}")
    (place,) = places
    _, equals, value = words[place].partition("=")
    end = place + 1 if equals else place + 2
    value = value if equals else "".join(words[place + 1 : end])
    if not value or value.startswith("--"):
        raise ConfigError(f"{option} takes {what}, got none")
    return value, words[:place] + words[end:]


def _parse_one_of(
    commands: dict[str, Callable[..., Any]], kind: str, prog: str, words: list[str]
) -> Any:
    """The command that the words name and describe."""
    if not words:
        raise ConfigError(f"give one of {', '.join(commands)} (see {prog} --help)")
    if not words[0].startswith("-"):
        choose(kind, words[0], commands)
    parser = partial(tyro.extras.subcommand_cli_from_dict, commands, description="", prog=prog)
    return _parse(parser, f"{prog} {words[0]}" if words[0] in commands else prog, words)


def _parse(parser: Callable[..., Any], prog: str, words: list[str]) -> Any:
    """What the words describe, or the parser's complaint in one line."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser(args=words)
    except ValidationError as error:  # as the parser's first versions let it through
        raise one_line(error) from None
    except SystemExit as stop:
        if not stop.code:
            raise
        # The parser reports what a config refused in its own words; ours are in the chain.
        cause: BaseException | None = stop
        while cause is not None:
            if isinstance(cause, ValidationError):
                raise one_line(cause) from None
            cause = cause.__cause__ or cause.__context__
    raise ConfigError(f"{_complaint(partial(parser, args=words))} (see {prog} --help)")


def _complaint(parse: Callable[[], Any]) -> str:
    """What the parser says of words it refuses, and the option that it suggests."""
    told = io.StringIO()
    # Its box depends on the terminal: here on one that is wide and shows any character.
    wide = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(wide):
            parse()
    except SystemExit:
        pass
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return _in_one_line(re.sub(r"\x1b\[[0-9;]*m", "", told.getvalue()))


def _in_one_line(box: str) -> str:
    """What a boxed message of the parser says before its first rule, and the option it suggests."""
    lines = [line.strip("│ ") for line in box.split("\n")[1:]]
    rule = next((i for i, line in enumerate(lines) if not line or line[0] in "─╰"), len(lines))
    message = re.sub(r"\s+", " ", " ".join(lines[:rule]))
    mistyped = re.match(
        r"Error parsing (\S+): .*?(?:\[(.*)\]\.?|(?:float|base 10): (.*))$", message
    )
    if mistyped:
        name, words, word = mistyped.groups()
        values = re.search(rf"^{re.escape(name)} (.*)$", "\n".join(lines), re.MULTILINE)
        message = f"{name} takes {_kind(values[1]) if values else 'another value'}, got "
        message += words or word
    message = re.sub(
        r"^Missing value for argument '(.*?)'.*", r"\1 takes a value, got none", message
    )
    missing = re.match(r"Missing from (.*?): (\S+) (.*?)\.? \(required\)$", message)
    if missing:
        message = f"{missing[1]} takes {missing[2]}: {missing[3]}; got none"
    near = re.search(r"(?:Perhaps you meant|similar to).*?\n\s*(--[\w-]+)", "\n".join(lines))
    return f"{message}; did you mean {near[1]}?" if near else message


def _kind(values: str) -> str:
    """What the parser's help says that an option takes: ``{None}|INT`` is an INT."""
    return values.removeprefix("{None}|")
