"""Pages of the site that are files in the root of the repository, where hosts look for them."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "security.md",
    "CITATION.cff": "citation.md",
}


def root(config: MkDocsConfig) -> Path:
    """The folder of ``mkdocs.yml``."""
    return Path(config.config_file_path).parent


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put those that are there into the last section of the navigation."""
    (*_, about) = config.nav
    (section,) = about.values()
    section += [page for file, page in PAGES.items() if (root(config) / file).exists()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them, with links that hold where they are shown."""
    for file, page in PAGES.items():
        path = root(config) / file
        if path.exists():
            text = path.read_text(encoding="utf-8")
            text = as_page(text) if path.suffix == ".md" else as_citation(text)
            files.append(File.generated(config, page, content=text))
    return files


def as_page(text: str) -> str:
    """Markdown whose links started in the root."""
    text = re.sub(r"\]\(docs/?\)", "](index.md)", text.replace("](README.md)", "](index.md)"))
    text = text.replace("](docs/", "](")
    for file, page in PAGES.items():
        text = text.replace(f"]({file})", f"]({page})")
    return text


def as_citation(text: str) -> str:
    """A citation file as it is."""
    return (
        "# Citation\n\nIf saltation was of use to your work, cite it as below. This is the file "
        f"`CITATION.cff` of the repository, which reference managers read.\n\n```yaml\n{text}```\n"
    )
