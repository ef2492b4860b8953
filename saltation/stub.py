"""The public names for type checkers and editors, which do not run ``__init__.py``.

What is public stands there alone, by the module that each name is of. ``python -m saltation.stub``
writes it into ``__init__.pyi``.
"""

from __future__ import annotations

from pathlib import Path

import saltation

PLACE = Path(saltation.__file__).with_suffix(".pyi")

_HEAD = (
    '"""The public names, for type checkers and editors; made by ``python -m saltation.stub``."""'
)


def text() -> str:
    """The whole file."""
    lines = [_HEAD, ""]
    for home, names in sorted(vars(saltation)["_HOMES"].items()):
        if home == saltation.__name__:
            lines += [f"from {home} import {name} as {name}" for name in names]
        else:
            lines += [f"from {home} import (", *(f"    {name} as {name}," for name in names), ")"]
    return "\n".join([*lines, "", "__version__: str", "__all__: list[str]", ""])


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
