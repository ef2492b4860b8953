"""Commands and options that are none, told before torch is imported.

As help is, they are looked up in what `described` has written of the commands; where other packages
add to the command line, the parser is left to tell.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from saltation.cli import page
from saltation.cli.spelling import as_settings
from saltation.naming import unknown
from saltation.plugins import installed


def mistyped(words: Sequence[str]) -> str:
    """What is wrong with the names of the command and its options; empty if nothing is."""
    if not words or installed():
        return ""
    commands = page.written()
    path: list[str] = []
    while group := commands[" ".join(path)].commands:
        word = words[len(path)] if len(words) > len(path) else "-"
        if word.startswith("-"):
            break
        if word not in group:
            return unknown(path[-1] if path else "command", word, group)
        path.append(word)
    if page.asks(words):
        return ""
    command = commands[" ".join(path)]
    left = _unknown_options(words[len(path) :], command)
    if not left:
        return ""
    shown = [name for option in command.options for name in option.name.split(", ")]
    near = next((n for word in left for n in difflib.get_close_matches(word, shown, 1)), None)
    hint = f"; did you mean {near}?" if near else ""
    return (
        f"Unrecognized options: {', '.join(left)}{hint} "
        f"(see {' '.join(['saltation', *path])} --help)"
    )


def _unknown_options(words: Sequence[str], command: page.Command) -> list[str]:
    """Those that the command has not, each with what follows it."""
    words = words[: words.index("--")] if "--" in words else words
    settings = {
        (option.also or (option.name,))[-1].split(",")[0][2:].replace("-", "_"): option.several
        for option in command.options
    }
    known = {n for o in command.options for n in (*o.name.split(", "), *o.also)}
    known |= {f"--no-{o.name.split(',')[0][2:]}" for o in command.options if not o.takes}
    left: list[str] = []
    inside = False
    for word in words:
        if word.startswith("--"):
            (setting,) = as_settings([word.replace("_", "-")], settings)
            name = setting.partition("=")[0]
            inside = name not in known and not name.startswith("--tyro-")
        if inside:
            left.append(word)
    return left
