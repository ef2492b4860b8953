"""Notebooks as pages: text, code and stored outputs. Nothing is run when the site is built."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page, and its pictures, beside every notebook; the notebook itself stays, to be had."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        path = Path(notebook.abs_src_path or "")
        text, pictures = as_page(json.loads(path.read_text(encoding="utf-8")), path.stem)
        folder = notebook.src_uri.rpartition("/")[0]
        link = f"[Download this notebook]({path.name}){{ download }}\n\n"
        title, _, rest = text.partition("\n")
        page = f"{title}\n\n{link}{rest}"
        files.append(File.generated(config, f"{folder}/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"{folder}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to notebooks, which hold in the repository, to their pages."""
    return re.sub(r"(\]\([\w./-]+)\.ipynb\)(?!{)", r"\1.md)", markdown)


def as_page(notebook: dict[str, Any], stem: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by their file names."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Figure of the cell above]({name})")
            elif "text/html" in data:
                shown = _one_line("".join(data["text/html"]))
                parts.append(f'<div class="output">{shown}</div>')
            else:
                shown = "".join(data.get("text/plain", output.get("text", [])))
                parts.append(f'<pre class="output">{_one_line(html.escape(shown))}</pre>')
    return "\n\n".join(parts) + "\n", pictures


def _one_line(markup: str) -> str:
    """The same for a browser, in which Markdown finds no empty line, where it would end."""
    return markup.strip("\n").replace("\n", "&#10;")
