"""Figures as part of a page: only what draws is taken from an SVG file, under ids of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from saltation.studies.report.drawing import COLOURS

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
# Pixels of a point below which text cannot be read: a figure is moved in its box instead.
_LEAST = 0.8
_PLACES = {"d", "x", "y", "width", "height", "points", "transform"}
_DIGITS = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_FONTS = re.compile(r"font-family:[^;]*sans-serif(?:; )?")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"[\d.,:%×^−+\-e]+")


class InlineFigure(NamedTuple):
    """A figure for a page.

    Attributes
    ----------
    name
        Of its file, in words.
    svg
        Markup; empty if the file could not be read.
    light
        Whether it holds a picture, whose colours are what they are: it stays on light paper.
    """

    name: str
    svg: Markup
    light: bool = False


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
        return inline_svg(path.read_bytes(), name, prefix)
    except OSError:
        return InlineFigure(name, Markup())


def inline_svg(source: bytes, name: str, prefix: str) -> InlineFigure:
    """The text of an SVG file as an element of a page."""
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError:
        return InlineFigure(name, Markup())
    drawing = _drawing(root, prefix)
    if drawing is None or drawing.tag != "svg":
        return InlineFigure(name, Markup())
    # What matplotlib's style sheet says.
    drawing.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    drawing.attrib |= {"role": "img", "aria-labelledby": f"{prefix}title {prefix}desc"}
    _slim(drawing)
    width = re.fullmatch(r"([\d.]+)pt", drawing.get("width", ""))
    if width:
        drawing.set("style", f"min-width: {_LEAST * float(width[1]):.0f}px")
    light = drawing.find(".//image") is not None
    if not light:
        _theme(drawing)
    title = Element("title", id=f"{prefix}title")
    title.text = name
    description = Element("desc", id=f"{prefix}desc")
    description.text = _description(drawing)
    drawing[:0] = [title, description]
    return InlineFigure(name, Markup(ElementTree.tostring(drawing, encoding="unicode")), light)


def _drawing(element: Element, prefix: str) -> Element | None:
    """A copy of what draws in an element; None if it is of another kind."""
    tag = _local(element.tag)
    if tag not in _ELEMENTS:
        return None
    copy = Element(tag)
    if tag in ("text", "tspan"):
        copy.text = element.text
    for name, value in element.attrib.items():
        kept = _attribute(_local(name), value, prefix)
        if kept is not None:
            copy.set(_local(name), kept)
    for child in element:
        part = _drawing(child, prefix)
        if part is not None:
            if tag in ("text", "tspan"):
                part.tail = child.tail
            copy.append(part)
    return copy


def _slim(drawing: Element) -> None:
    """Leave out what draws nothing: digits that cannot be seen, names that nothing points to."""
    pointed: set[str] = set()
    for element in drawing.iter():
        for name, value in element.attrib.items():
            if name in _PLACES:
                element.set(name, " ".join(_DIGITS.sub(_rounded, value).split()))
            pointed.update(re.findall(r"#([^)'\"\s]+)", value) if "#" in value else ())
    for element in drawing.iter():
        if element.get("id") not in pointed:
            element.attrib.pop("id", None)
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if "style" in element.attrib:  # the page says which fonts, once
            element.set("style", _FONTS.sub("", element.attrib["style"]))


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}".rstrip("0").rstrip(".")


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


def _theme(drawing: Element) -> None:
    """Let the page say what colours are when it is dark: of those that figures here are drawn in
    (`drawing.COLOURS`) and of greys, in sixteen steps. Without it they are as drawn."""
    # What has no colour of its own is black.
    drawing.set("fill", "var(--grey-0, #000000)")
    for element in drawing.iter():
        style = element.get("style")
        if style:
            element.set("style", _COLOUR.sub(_themed, style))


def _themed(found: re.Match[str]) -> str:
    colour = found[0].lower()
    if colour in COLOURS:
        return f"var(--colour-{COLOURS.index(colour)}, {colour})"
    red, green, blue = colour[1:3], colour[3:5], colour[5:7]
    if not red == green == blue:
        return colour
    return f"var(--grey-{round(int(red, 16) / 17):x}, {colour})"


def _description(drawing: Element) -> str:
    """What stands written in a figure, without the numbers of its axes."""
    texts = (" ".join("".join(text.itertext()).split()) for text in drawing.iter("text"))
    words = dict.fromkeys(text for text in texts if text and not _NUMBER.fullmatch(text))
    return f"Figure with the texts: {'; '.join(words)}." if words else "Figure without text."
