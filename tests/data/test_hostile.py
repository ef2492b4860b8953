"""Hostile files are refused before they have cost much: memory, time or a wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from saltation.data.pickles import read_dict
from saltation.errors import DataError
from tests.data.conftest import REPOSITORY


def test_hostile_files_cost_little(tmp_path: Path, full: bool) -> None:
    """None is read, none takes 10 seconds or, with all of torch beside it, 1 GB."""
    words = [sys.executable, "-m", "tests.data.hostile", str(tmp_path), *(["full"] if full else [])]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) > 70
    for row in rows:
        assert row["told"], row["what"]
        assert "\n" not in row["told"]
        assert len(row["told"]) < 1000
        assert row["seconds"] < 10, row
        assert row["peak"] < 1000, row
    assert "UserWarning" not in done.stderr
    assert "DecompressionBombWarning" not in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"}(Va\nVb\nVc\nu.", "damaged pickle"),
        (b"}Ns.", "damaged pickle"),
        (b"}NNs.", "something else than names as keys"),
        (b"}Va\n}s.", "a dict in a dict"),
        (b"}Va\n)\x85\x85\x85\x85s.", "holds tuples that no array is made of"),
        (b"}Va\n(" + b"N" * 33 + b"ts.", "holds tuples that no array is made of"),
        (b"}Va\n]]as.", "lists of more than plain values"),
        (b"S'abc\n.", "a string without quotes"),
        (b"\x97.", "creates objects other than arrays"),
        (b"I" + b"9" * 70_000 + b"\n.", "a number or a name that is longer than any"),
        (b"I" + b"9" * 7_000 + b"\n.", "damaged pickle"),
        (b"}X\x01\x00\x00\x00\xc3K\x01s.", "damaged pickle"),
        (b"}U\x01\xc3K\x01s.", "a name that is no ASCII text"),
    ],
)
def test_what_no_array_is_made_of(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as refusal:
        read_dict(content, "file")
    assert len(str(refusal.value)) < 300


def test_strings_of_python_2_in_text() -> None:
    """Protocol 0, which was the default of Python 2."""
    content = b"(dp0\nS'labels'\np1\n(lp2\nI1\naI0\nasS'name'\np3\nS'\\xff\\'a\\n'\np4\ns."
    assert read_dict(content, "file") == {"labels": [1, 0], "name": b"\xff'a\n"}
