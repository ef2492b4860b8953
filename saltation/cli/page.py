"""The help of a command, shown from its description."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from saltation.cli.terminal import console, say

PLACE = Path(__file__).with_name("help.json")
_ASKS = ("-h", "--help")
_WIDEST = 26  # characters of an option beside its text


@dataclass(frozen=True)
class Option:
    """An option, or an argument that has a place: what it takes, and what that does."""

    name: str
    """With its hyphens; of an argument in its place, without."""
    takes: str
    """INT, PATH, ...; nothing if it is a switch."""
    help: str
    default: str = ""
    also: tuple[str, ...] = ()
    """Other names that are accepted."""
    choices: tuple[str, ...] = ()
    """What may follow it, where that is a list of names."""

    @property
    def several(self) -> bool:
        """Whether it takes any number of values."""
        return self.takes.endswith("...")


@dataclass(frozen=True)
class Command:
    """What a command does, its options in groups, or the commands that it has in turn."""

    text: str
    groups: dict[str, tuple[Option, ...]] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def options(self) -> list[Option]:
        return [option for group in self.groups.values() for option in group]


def asks(words: Sequence[str]) -> bool:
    """Whether help is asked for; what stands behind ``--`` is a name."""
    before = words[: words.index("--")] if "--" in words else words
    return any(word in _ASKS for word in before)


def answered(words: Sequence[str], commands: Mapping[str, Command]) -> bool:
    """Show the help that the words ask for; False if they name no command."""
    path: list[str] = []
    for word in words:
        if " ".join([*path, word]) not in commands:
            if not word.startswith("-") and commands[" ".join(path)].commands:
                return False
            break
        path.append(word)
    show(" ".join(path), commands)
    return True


def show(path: str, commands: Mapping[str, Command]) -> None:
    """Print the help of a command."""
    command = commands[path]
    places = [option for option in command.options if not option.name.startswith("-")]
    words = ["saltation", path, *(["COMMAND"] if command.commands else []), "[OPTIONS]"]
    words += [f"[{o.name}]" if o.default else o.name for o in places]
    say(f"usage: {' '.join(filter(None, words))}")
    if path:
        say("")
        console.print(Text(command.text))
    say("")
    if command.commands:
        rows = [(name, commands[f"{path} {name}".strip()].text) for name in command.commands]
        _panel("commands", [(name, Text(text.split("\n\n")[0])) for name, text in rows])
    for title, options in command.groups.items():
        _panel(title, [(_invocation(option), _text(option)) for option in options])


def written() -> dict[str, Command]:
    """The commands as the file has them."""
    return {
        path: Command(
            told["text"],
            {title: tuple(map(_option, group)) for title, group in told["groups"].items()},
            tuple(told["commands"]),
        )
        for path, told in json.loads(PLACE.read_text(encoding="utf-8")).items()
    }


def _option(told: dict[str, Any]) -> Option:
    return Option(**told | {name: tuple(told[name]) for name in ("also", "choices")})


def _invocation(option: Option) -> str:
    return " ".join(filter(None, [option.name, option.takes]))


def _text(option: Option) -> Text:
    text = Text(option.help)
    if option.default:
        text.append(f" (default: {option.default})", style="cyan")
    if option.also:
        text.append(f" (also: {', '.join(option.also)})", style="dim")
    return text


def _panel(title: str, rows: list[tuple[str, Text]]) -> None:
    """A frame around a table of names and texts."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=min(_WIDEST, max(len(name) for name, _ in rows)))
    table.add_column(ratio=1)
    for name, text in rows:
        table.add_row(Text(name, style="bold"), text)
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))
