"""The command line: every command is a thin call of the library.

Help, version, completion and names that are none are answered before torch is imported: `page`,
`completion` and `mistyped` read what `described` has written of the commands. Everything else is
`parsing`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from saltation.cli.mistyped import mistyped
from saltation.cli.shortcuts import answered
from saltation.cli.terminal import close_quietly, complain, is_closed_pipe, take_any_text
from saltation.interrupts import CODE, interruptible, is_command, leave_quietly


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``saltation``; a mistake is one line on stderr and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    take_any_text()
    try:
        if answered(words):
            raise SystemExit(0)
        # Where torch is there already, so may be studies that only this process knows.
        if "torch" not in sys.modules and (wrong := mistyped(words)):
            complain(wrong)
            raise SystemExit(2)
        # Takes seconds, in which a signal still ends the process at once.
        from saltation.cli import parsing

        with interruptible():
            parsing.run(words)
    except KeyboardInterrupt:
        complain("stopped")
        raise SystemExit(CODE) from None
    except OSError as error:
        if is_closed_pipe(error):
            raise SystemExit(1) from None
        where = "" if error.filename is None else f"'{error.filename}': "
        complain(f"{where}{error.strerror or error}")
        raise SystemExit(2) from None
    finally:
        if is_command():
            leave_quietly()
        close_quietly()
