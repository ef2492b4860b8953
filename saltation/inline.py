"""How objects show themselves in a notebook: as text that is escaped, and figures as pictures."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

# A picture is not wider than the cell that it is in.
_PICTURE = '<img alt="{words}" style="max-width: 100%" src="data:image/png;base64,{content}">'


def text(shown: str) -> str:
    """Lines as they are, whatever stands in them."""
    return f'<pre style="white-space: pre-wrap">{html.escape(shown)}</pre>'


def listing(lines: Iterable[str]) -> str:
    """A list of lines, as text; empty where there are none."""
    points = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{points}</ul>" if points else ""


def title(words: str) -> str:
    """What a part is about."""
    return f"<p><b>{html.escape(words)}</b></p>"


def figure(plot: Callable[[Path], Path], words: str) -> str:
    """What ``plot`` draws into the path that it is given; ``words`` for who cannot see it."""
    with tempfile.TemporaryDirectory() as folder:
        return picture(plot(Path(folder) / "figure.png"), words)


def picture(path: Path, words: str) -> str:
    """A PNG file as a part of the page."""
    content = base64.b64encode(path.read_bytes()).decode()
    return _PICTURE.format(words=html.escape(words), content=content)
