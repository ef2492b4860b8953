"""Other packages' neurons, schemes, surrogates and studies, found by their entry points.

A package that defines any names its modules in its ``pyproject.toml``:

    [project.entry-points.saltation]
    mine = "my_package"

They are imported with `saltation.studies`, and so in every command; what they define is entered in
the registries as saltation's own is.
"""

from __future__ import annotations

import functools
import warnings
from importlib.metadata import EntryPoints, entry_points

GROUP = "saltation"


def installed() -> EntryPoints:
    """What other packages name, not imported."""
    return entry_points(group=GROUP)


@functools.cache
def load_plugins() -> tuple[str, ...]:
    """Import what is installed, once in a process, and return its names.

    One that cannot be imported is left out with a warning.
    """
    loaded = []
    for point in installed():
        try:
            point.load()
        except Exception as error:  # a plugin may fail in any way
            warnings.warn(
                f"plugin '{point.name}' ({point.value}) was left out: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
        else:
            loaded.append(point.name)
    return tuple(loaded)
