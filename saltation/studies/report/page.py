"""Pages of results: one file each that needs no other and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import saltation
from saltation.studies.engine.files import write_whole
from saltation.studies.report.blocks import Grid, Verbatim, in_words

_TEMPLATES = Environment(
    # As files: whoever lacks one of them is told so when a page is written, not on import.
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["in_words"] = in_words
_TEMPLATES.tests["grid"] = lambda block: isinstance(block, Grid)
_TEMPLATES.tests["verbatim"] = lambda block: isinstance(block, Verbatim)


def write_page(
    path: Path, template: str, scripts: Sequence[str] = ("sort.js",), **contents: Any
) -> Path:
    """Write a page; whatever stands in ``contents`` is text on it, unless it is `Markup`."""
    script = Markup("\n".join(_TEMPLATES.get_template(name).render() for name in scripts))
    # Browsers run the script with this hash and no other, wherever one may come from.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _TEMPLATES.get_template(template).render(
        contents, script=script, digest=digest, version=saltation.__version__
    )
    write_whole(path, page)
    return path
