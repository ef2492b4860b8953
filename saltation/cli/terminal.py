"""Where the commands write, whatever the terminal's encoding can show."""

from __future__ import annotations

import codecs
import errno
import os
import sys
import unicodedata

from rich.console import Console

console = Console()

_LONGEST = 2000  # characters of a complaint

_PLAIN = "saltation.plain"
# What stands for a character that the output cannot show; others lose their accents, or are a ?.
_STANDS_FOR = {
    **{"λ": "lambda", "σ": "sigma", "Δ": "d", "±": "+/-", "×": "x", "·": "*", "≤": "<=", "≥": ">="},
    **{"–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "←": "<-", "‘": "'", "’": "'"},
    **dict.fromkeys("─━═╌┄╴╶╸╺", "-"),
    **dict.fromkeys("│┃║┆┊╎", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┡┩┢┪┳┻╇╈╞╡╪╤╧", "+"),
    **dict.fromkeys("█▓▒░", "#"),
}


def say(line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def complain(message: str) -> None:
    """Tell on stderr what is wrong: in one line, whatever was given."""
    print(f"saltation: {one_line(message)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text with line breaks, control characters and stray bytes of file names as escapes.

    Of a very long one the middle is left out.
    """
    text = text.strip()
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def take_any_text() -> None:
    """Let stdout and stderr replace what their encoding does not have, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_PLAIN)


def is_closed_pipe(error: OSError) -> bool:
    """Whether nobody reads what was written, which Windows calls an invalid argument."""
    invalid = error.errno == errno.EINVAL and error.filename is None
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and invalid)


def close_quietly() -> None:
    """Write out what is left for stdout; nobody reads it where a pipe was closed (``| head``)."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not is_closed_pipe(error):
            raise
        # Python would try once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What to write in place of the characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain_character, error.object[error.start : error.end])), error.end


def _plain_character(one: str) -> str:
    if one in _STANDS_FOR:
        return _STANDS_FOR[one]
    if "\udc80" <= one <= "\udcff":  # a byte of a file name that is no text
        return f"\\x{ord(one) - 0xDC00:02x}"
    return unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode() or "?"


codecs.register_error(_PLAIN, _plain)
