"""Scripts that complete the command line in a shell, made of the descriptions of the commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from saltation.cli.page import Command, Option

SHELLS = ("bash", "zsh", "fish")

# Each finds the command and the option that the word under the cursor stands behind, then looks up
# what may stand there; where that is no name, the shell completes files.
_BASH = """\
# Completion of saltation: eval "$(saltation completion bash)"
_saltation() {
    local word place= option= current=${COMP_WORDS[COMP_CWORD]}
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            -*) option=$word ;;
            *) [ -n "$option" ] || [ -z "$(_saltation_words "$place $word" command)" ] \\
                || place="$place $word" ;;
        esac
    done
    case $current in -*) option=- ;; esac
    COMPREPLY=($(compgen -W "$(_saltation_words "$place" "$option")" -- "$current"))
}
complete -o bashdefault -o default -F _saltation saltation
"""
_ZSH = """\
# Completion of saltation, after compinit: eval "$(saltation completion zsh)"
_saltation() {
    local word place= option= found=
    for word in "${(@)words[2,CURRENT-1]}"; do
        case $word in
            -*) option=$word ;;
            *) [ -n "$option" ] || [ -z "$(_saltation_words "$place $word" command)" ] \\
                || place="$place $word" ;;
        esac
    done
    case $words[CURRENT] in -*) option=- ;; esac
    found=$(_saltation_words "$place" "$option")
    if [ -n "$found" ]; then compadd -- ${=found}; else _files; fi
}
compdef _saltation saltation
"""


def script(shell: str, commands: Mapping[str, Command]) -> str:
    """What a shell is to read so that it completes the commands, their options and names."""
    if shell == "fish":
        return "".join(f"{line}\n" for line in _fish(commands))
    cases = "".join(
        f"        {shlex.quote(f'{place}:{option}')}) echo {shlex.quote(' '.join(words))} ;;\n"
        for place, option, words in _cases(commands)
    )
    words = f'_saltation_words() {{\n    case "$1:$2" in\n{cases}    esac\n}}\n'
    return {"bash": _BASH, "zsh": _ZSH}[shell] + words


def _cases(commands: Mapping[str, Command]) -> Iterator[tuple[str, str, list[str]]]:
    """Where words may stand: behind which command and option, and which words."""
    for path, command in commands.items():
        place = f" {path}" if path else ""
        yield place, "command", ["yes"]
        yield place, "", [*command.commands, *_placed(command)]
        yield place, "-", [name for option in command.options for name in _flags(option)]
        for option in command.options:
            for name in _flags(option) if option.choices else ():
                yield place, name, list(option.choices)


def _flags(option: Option) -> list[str]:
    """The names of an option, all of them."""
    return [name for name in (*option.name.split(", "), *option.also) if name.startswith("-")]


def _placed(command: Command) -> list[str]:
    """The names that an argument in its place may be."""
    return [name for option in command.options if not _flags(option) for name in option.choices]


def _fish(commands: Mapping[str, Command]) -> Iterator[str]:
    yield "# Completion of saltation: saltation completion fish | source"
    for path, command in commands.items():
        words = path.split()
        seen = "".join(f"; and __fish_seen_subcommand_from {word}" for word in words)
        until = " ".join(command.commands)
        rest = f"; and not __fish_seen_subcommand_from {until}" if until else ""
        where = f"complete -c saltation -n {shlex.quote(f'true{seen}{rest}')}"
        for name in command.commands:
            told = commands[f"{path} {name}".strip()].text
            yield f"{where} -f -a {name} -d {shlex.quote(_short(told))}"
        for name in _placed(command):
            yield f"{where} -a {shlex.quote(name)}"
        for option in command.options:
            values = f" -x -a {shlex.quote(' '.join(option.choices))}" if option.choices else ""
            takes = " -r" if option.takes and not option.choices else ""
            for name in _flags(option):
                long = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                yield f"{where} {long}{takes}{values} -d {shlex.quote(_short(option.help))}"


def _short(text: str) -> str:
    """The first sentence."""
    return text.split("\n")[0].split(". ")[0]
