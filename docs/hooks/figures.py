"""Figures with their size, so that pages do not jump, and wide ones that can be moved sideways."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from urllib.parse import unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

_IMAGE = re.compile(r'<img\b[^>]*\ssrc="([^":]+\.png)"[^>]*?(?=\s*/?>)')
# Pixels: what was drawn wider cannot be read at the width of a telephone.
_WIDE = 1000


def on_page_content(html: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Give images of the documentation's folder their size; the wide ones a class."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def sized(found: re.Match[str]) -> str:
        path = folder / unquote(found[1])
        if not path.is_file():  # a notebook's, which are made with the page
            return found[0]
        width, height = size(path)
        wide = ' class="wide"' if width > _WIDE else ""
        return f'{found[0]} width="{width}" height="{height}"{wide}'

    return _IMAGE.sub(sized, html)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG in pixels, as its head says."""
    with path.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    return width, height
