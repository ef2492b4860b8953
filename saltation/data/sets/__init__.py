"""One file per family of data sets; each registers its own when it is imported."""

from importlib import import_module
from pkgutil import iter_modules


def import_all() -> None:
    """Import every module of this folder, so that adding a data set touches one file."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
