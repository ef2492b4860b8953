"""What is answered without torch: help, version and completion.

They are read from a file that ``python -m saltation.cli.described`` makes of the commands. Where
other packages add to the command line (`saltation.plugins`), it does not know what: then the
commands themselves are asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import saltation
from saltation.cli import completion, page
from saltation.cli.terminal import say
from saltation.plugins import installed

# Settings that options are told to read from elsewhere: the defaults of the help are then others.
ELSEWHERE = ("--config", "--preset")


def answered(words: Sequence[str]) -> bool:
    """Whether the words ask for nothing else, and have been answered."""
    if list(words) in (["--version"], ["-V"]):
        say(f"saltation {saltation.__version__}")
        return True
    shell = words[1] if len(words) == 2 and words[0] == "completion" else None
    if shell not in completion.SHELLS and not page.asks(words):
        return False
    if installed() or any(word.split("=")[0] in ELSEWHERE for word in words):
        return False
    commands = page.written()
    if shell in completion.SHELLS:
        print(completion.script(shell, commands), end="")
        return True
    return page.answered(words, commands)
