"""What the commands and their options are, read from their types.

``python -m saltation.cli.described`` writes it to the file that help and completion are read from,
so that they need not import what takes seconds. A test compares it with the commands.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import textwrap
import types
import typing
from pathlib import Path
from typing import Any

import tyro
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import saltation
from saltation.cli import parsing
from saltation.cli.page import PLACE, Command, Option
from saltation.cli.spelling import option_of
from saltation.studies import STUDIES
from saltation.studies.engine.config import HOW, DataConfig, GradientConfig, StudyConfig, listed_in
from saltation.studies.notebook import FOLDER, PRESETS

_NAMES = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
_RUNNING = (*HOW, "device", "threads", "out_dir")
_HELP = Option("-h, --help", "", "Show this and exit.")
_VERSION = Option("--version", "", "Show the version and exit.")
_CONFIG = Option(
    "--config",
    "FILE",
    "Settings from a file, YAML or JSON, such as the config.json of a run. Options go before what "
    "is in it.",
)


def commands() -> dict[str, Command]:
    """All commands, by the words that name them."""
    top: dict[str, tuple[Option, ...]] = {"options": (_HELP, _VERSION)}
    found = {"": Command(_prose(saltation.__doc__), top, tuple(parsing.COMMANDS))}
    for name, command in parsing.COMMANDS.items():
        group = parsing.GROUPS.get(name)
        found[name] = described(command) if group is None else _of_group(command, group)
        for part, one in (group or {}).items():
            found[f"{name} {part}"] = described(one)
    return found


def described(command: Any, default: BaseModel | None = None) -> Command:
    """A command that is a dataclass, or a study's config, with these defaults or its own."""
    if issubclass(command, BaseModel):
        return _of_study(command, default)
    documented = _attribute_docs(command)
    kinds = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, list[Option]] = {"arguments": [], "options": []}
    for one in dataclasses.fields(command):
        factory = one.default_factory
        value = one.default if factory is dataclasses.MISSING else factory()
        told = next((m.help for m in _extras(kinds[one.name]) if hasattr(m, "help")), None)
        placed = tyro.conf.Positional in _extras(kinds[one.name])
        name = one.name.upper() if placed else f"--{one.name.replace('_', '-')}"
        text = told or documented.get(one.name, "")
        given = None if value is dataclasses.MISSING else value
        groups["arguments" if placed else "options"].append(
            _option(name, kinds[one.name], text, given)
        )
    groups["options"].append(_HELP)
    return Command(_prose(command.__doc__), _filled(groups))


def _of_study(config: type[BaseModel], default: BaseModel | None) -> Command:
    groups: dict[str, list[Option]] = {"what is compared": [], "data": [], "training": []}
    groups |= {"how it is run": [], "options": [_HELP]}
    for setting, field in config.model_fields.items():
        value = field.default if default is None else getattr(default, setting)
        several = _takes(field.annotation).endswith("...")
        option = _option(
            option_of(setting, several),
            field.annotation,
            field.description or "",
            None if value is PydanticUndefined else value,
            (f"--{setting.replace('_', '-')}",),
        )
        groups[_group_of(setting)].append(option)
    name = next(name for name, study in STUDIES.items() if study.config_type is config)
    groups["options"] += _elsewhere(name)
    return Command(_prose(config.__doc__), _filled(groups))


def _group_of(setting: str) -> str:
    """By where the setting comes from: what a study has of its own is what it asks."""
    if setting in _RUNNING:
        return "how it is run"
    if setting in StudyConfig.model_fields or setting in GradientConfig.model_fields:
        return "training"
    return "data" if setting in DataConfig.model_fields else "what is compared"


def _elsewhere(study: str) -> list[Option]:
    """Options of a study that name settings which stand elsewhere."""
    presets = [name for name, parts in PRESETS.items() if any(p.study == study for p in parts)]
    if not presets:
        return [_CONFIG]
    text = (
        f"All parts of {' or '.join(presets)} that are of this study run, one after another in one "
        f"folder (default {FOLDER}), with one report. Options go before what is in them."
    )
    return [_CONFIG, Option("--preset", "NAME", text, choices=tuple(presets))]


def _of_group(group: Any, members: dict[str, Any]) -> Command:
    return Command(_prose(group.__doc__), {"options": (_HELP,)}, tuple(members))


def _option(name: str, kind: Any, text: str, default: Any, also: tuple[str, ...] = ()) -> Option:
    """An option of this type, and what its names are where it is a switch."""
    takes = _takes(kind)
    if not takes and default:
        name = f"{name}, --no-{name.removeprefix('--')}"
    shown = "" if default is None else _shown(default)
    other = tuple(one for one in also if one != name.split(",")[0])
    return Option(name, takes, _prose(text), shown, other, listed_in(text))


def _takes(kind: Any) -> str:
    """What an option of this type takes; nothing if it is a switch."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _takes(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return _takes(next(one for one in arguments if one is not type(None)))
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        return f"{_takes(arguments[0])} ..."
    if origin is tuple:
        return " ".join(map(_takes, arguments))
    return "" if kind is bool else _NAMES[kind]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value))
    return str(value)


def _extras(kind: Any) -> tuple[Any, ...]:
    """What a type is annotated with."""
    return getattr(kind, "__metadata__", ())


def _attribute_docs(command: type) -> dict[str, str]:
    """The texts below the fields of a dataclass."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(command))).body
    found = {}
    for field, text in itertools.pairwise(getattr(node, "body", ())):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(doc))):
                found[name] = doc
    return found


def _prose(text: str | None) -> str:
    """A text without the line breaks of the source, its paragraphs apart."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _filled(groups: dict[str, list[Option]]) -> dict[str, tuple[Option, ...]]:
    return {title: tuple(options) for title, options in groups.items() if options}


def text() -> str:
    """The whole file."""
    found = {path: dataclasses.asdict(command) for path, command in commands().items()}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
