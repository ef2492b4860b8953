"""No page asks the network: the site opens from disk, and tells nobody who reads it."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

# What a browser fetches by itself; links wait for a click.
_FETCHED = re.compile(
    r'<(?:script|img|iframe|source|video)\b[^>]*\ssrc="(?:https?:)?//[^"]*"'
    r'|<link\b[^>]*\shref="(?:https?:)?//[^"]*"'
)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that does.

    Raises
    ------
    PluginError
        With the page and what it asks for.
    """
    if found := _FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} asks the network: {found[0]}")
    return output
