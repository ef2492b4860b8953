"""pooch, without what tqdm says in notebooks that lack its widgets: nothing here shows them."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")
    import pooch

__all__ = ["pooch"]
