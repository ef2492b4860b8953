"""What is said of a name that is none of those that are allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """A sentence with ``what``, the nearest allowed name and all of them."""
    names = list(allowed)
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), by_lower, n=1)
    hint = f"; did you mean '{by_lower[near[0]]}'?" if near else ""
    return f"unknown {what} '{given}'{hint} (allowed: {', '.join(names)})"
