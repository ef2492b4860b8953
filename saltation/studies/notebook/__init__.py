"""The notebook that compares integrators on MNIST, run whole, beside the numbers it printed."""

from saltation.studies.notebook.page import PAGE, write_notebook
from saltation.studies.notebook.parts import PRESETS, Part
from saltation.studies.notebook.run import FOLDER, run_parts

__all__ = ["FOLDER", "PAGE", "PRESETS", "Part", "run_parts", "write_notebook"]
