"""What a package promises: its metadata, and an sdist with all that its tests read."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import saltation

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_files_beside_the_code_are_in_the_package() -> None:
    package = Path(saltation.__file__).parent
    for name in ("py.typed", "__init__.pyi", "cli/help.json", "layers/zoo.pyi"):
        assert (package / name).is_file()


def test_the_sdist_has_every_folder_of_the_repository() -> None:
    """All that is tracked, but the repository's own settings."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a repository")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(listed.stderr)
    there = {line.split("/")[0] for line in listed.stdout.splitlines()}
    patterns = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    taken = {path.name for pattern in patterns for path in ROOT.glob(pattern[1:])}
    # The builder adds these itself.
    assert there - taken <= {"pyproject.toml", ".gitignore"}


def test_the_recipe_and_the_citation_say_what_the_project_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == saltation.__version__
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in PROJECT["project"]["authors"]
    ]
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == saltation.__version__
    assert recipe["about"]["summary"] == PROJECT["project"]["description"]
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    commands = [f"{name} = {place}" for name, place in PROJECT["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == commands
    needs = recipe["requirements"]
    assert set(PROJECT["build-system"]["requires"]) <= set(needs["host"])
    theirs = dict(one.split(" >=") for one in needs["run"])
    names = {"matplotlib-base": "matplotlib", "pytorch": "torch"}
    ours = dict(one.split(">=") for one in PROJECT["project"]["dependencies"])
    ours["python"] = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert {names.get(name, name): version for name, version in theirs.items()} == ours


def test_the_lowest_versions_that_are_tested_are_those_that_are_allowed() -> None:
    text = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE))
    allowed = dict(one.split(">=") for one in PROJECT["project"]["dependencies"])
    assert tested.keys() == allowed.keys()
    for name, lowest in allowed.items():
        # The first release of it that is there.
        assert f"{tested[name]}.".startswith(f"{lowest}."), name


def test_the_changelog_has_this_version() -> None:
    assert f"## {saltation.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
