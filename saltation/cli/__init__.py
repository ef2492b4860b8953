"""The command line: every command is a thin call of the library."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro
from pydantic import ValidationError

from saltation.cli.commands import DataFetch, DataList, Diagnose, Info, SelfTest, Stability
from saltation.cli.runs import Exponents, Resume, Runs, run_study
from saltation.errors import ConfigError, SaltationError
from saltation.studies import STUDIES
from saltation.studies.config import StudyConfig, one_line


def _study() -> None:
    """Run a study: a grid of trials, recorded as it goes, with tables and figures."""


def _data() -> None:
    """List or download data sets."""


GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "study": {name: study.config_type for name, study in STUDIES.items()},
    "data": {"list": DataList, "fetch": DataFetch},
}
COMMANDS: dict[str, Callable[..., Any]] = {
    "study": _study,
    "stability": Stability,
    "resume": Resume,
    "runs": Runs,
    "lyapunov": Exponents,
    "diagnose": Diagnose,
    "data": _data,
    "info": Info,
    "selftest": SelfTest,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``saltation``; a mistake is one line on stderr and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words and words[0] in GROUPS:
            command = _parse(GROUPS[words[0]], f"saltation {words[0]}", words[1:])
        else:
            command = _parse(COMMANDS, "saltation", words)
        if isinstance(command, StudyConfig):
            run_study(next(s for s in STUDIES.values() if s.config_type is type(command))(command))
        else:
            command()
    except SaltationError as error:
        print(f"saltation: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _parse(commands: dict[str, Callable[..., Any]], prog: str, words: list[str]) -> Any:
    """The command that the words describe."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.extras.subcommand_cli_from_dict(
                commands, prog=prog, description="", args=words
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # The parser reports what a config refused in its own words; ours are in the chain.
        cause: BaseException | None = stop
        while cause is not None:
            if isinstance(cause, ValidationError):
                raise one_line(cause) from None
            cause = cause.__cause__ or cause.__context__
        raise ConfigError(f"{_in_one_line(complaint.getvalue())} (see {prog} --help)") from None


def _in_one_line(box: str) -> str:
    """What a boxed message of the parser says before its first rule, and the option it suggests."""
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    rule = next((i for i, line in enumerate(lines) if not line or line[0] in "─╰"), len(lines))
    message = re.sub(r"\s+", " ", " ".join(lines[:rule]))
    mistyped = r"Error parsing (\S+): no type matching \{None\}\|(\w+) could .* from \[(.*)\]\."
    message = re.sub(mistyped, r"\1 takes \2, got \3", message)
    near = re.search(r"(?:Perhaps you meant|similar to).*?\n\s*(--[\w-]+)", "\n".join(lines))
    return f"{message}; did you mean {near[1]}?" if near else message
