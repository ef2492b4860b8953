"""Figures as part of a page: only what draws is taken from an SVG file, under ids of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

# What matplotlib draws with. Nothing else of a file reaches the page: no script, no link, no style
# sheet (matplotlib's own begins with `*` and would hold for the whole page).
_ELEMENTS = {
    *("svg", "g", "defs", "clipPath", "pattern", "path", "rect", "circle", "line", "polyline"),
    *("polygon", "use", "image", "text", "tspan"),
}
_ATTRIBUTES = {
    *("id", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points"),
    *("viewBox", "transform", "style", "clip-path", "href", "patternUnits", "preserveAspectRatio"),
}
_NUMBER = re.compile(r"[\d.,:%×^−+\-e]+")


class InlineFigure(NamedTuple):
    """A figure for a page.

    Attributes
    ----------
    name
        Of its file, in words.
    svg
        Markup; empty if the file could not be read.
    """

    name: str
    svg: Markup


def figures_in(folder: Path) -> list[InlineFigure]:
    """The SVG files of a folder, by name."""
    paths = sorted(folder.glob("*.svg"))
    return [inline(path, f"figure{number}-") for number, path in enumerate(paths, start=1)]


def inline(path: Path, prefix: str) -> InlineFigure:
    """An SVG file as an element of a page, with its texts as the alternative.

    Parameters
    ----------
    path
        As matplotlib writes it, with text as text.
    prefix
        Of its ids, which must differ from those of other figures on the page: matplotlib gives
        every figure the same ones.
    """
    name = path.stem.replace("_", " ").replace("-", " ")
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError):
        return InlineFigure(name, Markup())
    drawing = _drawing(root, prefix)
    if drawing is None or drawing.tag != "svg":
        return InlineFigure(name, Markup())
    drawing.attrib.pop("id", None)
    # What matplotlib's style sheet says.
    drawing.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    drawing.attrib |= {"role": "img", "aria-labelledby": f"{prefix}title {prefix}desc"}
    title = Element("title", id=f"{prefix}title")
    title.text = name
    description = Element("desc", id=f"{prefix}desc")
    description.text = _description(drawing)
    drawing[:0] = [title, description]
    return InlineFigure(name, Markup(ElementTree.tostring(drawing, encoding="unicode")))


def _drawing(element: Element, prefix: str) -> Element | None:
    """A copy of what draws in an element; None if it is of another kind."""
    tag = _local(element.tag)
    if tag not in _ELEMENTS:
        return None
    copy = Element(tag)
    copy.text, copy.tail = element.text, element.tail
    for name, value in element.attrib.items():
        kept = _attribute(_local(name), value, prefix)
        if kept is not None:
            copy.set(_local(name), kept)
    copy.extend(c for c in (_drawing(child, prefix) for child in element) if c is not None)
    return copy


def _local(name: object) -> str:
    """A name without its namespace; empty for comments and the like."""
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _attribute(name: str, value: str, prefix: str) -> str | None:
    """An attribute's value with references to ids of this figure only; None to leave it out."""
    if name not in _ATTRIBUTES:
        return None
    if name == "id":
        return prefix + value
    if name == "href":
        if value.startswith("#"):
            return f"#{prefix}{value[1:]}"
        return value if value.startswith("data:image/png;base64,") else None
    pointing = re.sub(r"url\(\s*#", f"url(#{prefix}", value)
    elsewhere = re.search(r"url\((?!#)|\\|@", pointing, re.IGNORECASE)
    return None if elsewhere else pointing


def _description(drawing: Element) -> str:
    """What stands written in a figure, without the numbers of its axes."""
    texts = (" ".join("".join(text.itertext()).split()) for text in drawing.iter("text"))
    words = dict.fromkeys(text for text in texts if text and not _NUMBER.fullmatch(text))
    return f"Figure with the texts: {'; '.join(words)}." if words else "Figure without text."
