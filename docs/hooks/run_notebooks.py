"""Run the notebooks and keep their outputs in them: ``python docs/hooks/run_notebooks.py``.

To be done by hand where a notebook, or what it shows, has changed; names of notebooks run these
alone. Each runs in a process and a folder of its own, as a reader would run it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(path: Path) -> None:
    """Run one, and write what its cells gave."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=1800,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran, which changes with every run
    path.write_text(nbformat.writes(notebook, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    for one in sorted(NOTEBOOKS.glob("*.ipynb")):
        if len(sys.argv) == 1 or one.stem in sys.argv[1:]:
            run(one)
