"""Where real data is, and a machine without any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Read before the fixture below hides it.
REAL = [Path(os.environ.get("SALTATION_DATA", "")), REPOSITORY.parent / "shared" / "data"]


def real(path: str) -> Path:
    """The data folder that holds ``path``; skips the test where none does."""
    for root in REAL:
        if (root / path).exists():
            return root
    pytest.skip(f"no {path} in $SALTATION_DATA or ../shared/data")


@pytest.fixture(autouse=True)
def _no_data_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALTATION_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
