"""What the documentation shows is run, or at least parsed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import saltation as st
from saltation.cli import main, parsing

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (page.name, text)
        for page in PAGES
        for found, text in FENCE.findall(page.read_text(encoding="utf-8"))
        if found == language
    ]


# Packages that a block may use, by the word that shows it.
OPTIONAL = {
    "snntorch": "snntorch",
    "spikingjelly": "spikingjelly",
    "norse": "norse",
    "st.nir": "nir",
}


def needs(code: str) -> None:
    """Skip where a package is not there that this block uses."""
    for word, package in OPTIONAL.items():
        if word in code:
            pytest.importorskip(package, reason=f"{package} is not installed")


# The first of the README has a test of its own.
@pytest.mark.parametrize(("page", "code"), blocks("python")[1:])
def test_python_blocks_run(
    page: str, code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs(code)
    monkeypatch.chdir(tmp_path)
    # What a page adds is there for it alone.
    known = set(st.SCHEMES)
    exec(compile(code, page, "exec", dont_inherit=True), {"__name__": page})
    for name in set(st.SCHEMES) - known:
        st.SCHEMES.pop(name)


def test_first_screen_shows_what_its_lines_print(capsys: pytest.CaptureFixture[str]) -> None:
    """The first block of the README and the text below it: the same words, numbers within 2 %."""
    (_, code), *_ = blocks("python")
    needs(code)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = FENCE.findall(readme[readme.index(code) :].partition("```")[2])[0][1]
    capsys.readouterr()
    exec(compile(code, "README.md", "exec", dont_inherit=True), {"__name__": "README.md"})
    printed = capsys.readouterr().out
    number = re.compile(r"\d+(?:\.\d+)?")
    assert number.sub("#", printed).split() == number.sub("#", shown).split()
    for one, other in zip(number.findall(printed), number.findall(shown), strict=True):
        assert float(one) == pytest.approx(float(other), rel=0.02)


def commands() -> list[str]:
    lines = [line for _, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    return [line.partition("  #")[0] for line in lines if line.startswith("saltation ")]


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that docs/own.md and docs/depth.md make."""
    folder = tmp_path_factory.mktemp("own")
    data, _, network = (text for page, text in blocks("python") if page == "own.md")
    (folder / "mine.py").write_text(network)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(data, "own.md", "exec", dont_inherit=True), {"__name__": "own.md"})
        bursts = next(text for page, text in blocks("python") if "bursts.npz" in text)
        exec(compile(bursts, "depth.md", "exec", dont_inherit=True), {"__name__": "depth.md"})
    return folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What commands would have run: nothing is."""
    ran: list[object] = []
    monkeypatch.setattr(parsing, "run_study", ran.append)
    monkeypatch.setattr(parsing, "run_preset", ran.append)
    callables = (
        one
        for group in (parsing.COMMANDS, *parsing.GROUPS.values())
        for one in group.values()
        if "__call__" in vars(one)
    )
    for one in callables:
        monkeypatch.setattr(one, "__call__", lambda self: ran.append(self))
    return ran


@pytest.mark.parametrize("command", commands())
def test_commands_are_accepted(
    command: str, monkeypatch: pytest.MonkeyPatch, own_files: Path, ran: list[object]
) -> None:
    """Every command parses to something that can be run."""
    recorded = re.search(r"--dataset (\.\./\S+)", command)
    if recorded and not (ROOT / recorded[1]).exists():
        pytest.skip(f"{recorded[1]} is not there")
    made = any(name in command for name in ("mine.", "bursts.npz"))
    monkeypatch.chdir(own_files if made else ROOT)
    main(shlex.split(command)[1:])
    assert len(ran) == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to read scripts")
@pytest.mark.parametrize(("page", "script"), blocks("bash"))
def test_scripts_of_jobs_start_what_is_accepted(
    page: str, script: str, tmp_path: Path, ran: list[object]
) -> None:
    """Bash runs them to their end, and what they call saltation with parses; folders may have
    names with spaces."""
    file, stub, words = (tmp_path / name for name in ("job.sh", "saltation", "words"))
    file.write_text(script)
    stub.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >'{words}'\n")
    stub.chmod(0o755)
    given = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "DATA": str(tmp_path / "my data"),
        "RUNS": str(tmp_path / "my runs"),
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_ARRAY_TASK_ID": "7",
    }
    subprocess.run(["bash", "-u", "-e", str(file)], env=given, check=True)
    main(words.read_text().split("\0")[:-1])
    (study,) = ran
    assert study.config.out_dir.parent == tmp_path / "my runs"


def test_parameters_of_models_are_as_documented() -> None:
    """Every row of the table that has a count, on a device without memory."""
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\((.*)\)`.*?\| ([\d,]+) \|", page, re.MULTILINE)
    assert len(rows) == 15
    for name, arguments, count in rows:
        with torch.device("meta"):
            made = eval(f"st.{name}({arguments})", {"st": st})
        assert sum(p.numel() for p in made.parameters()) == int(count.replace(",", "")), name


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [
        word for _, text in blocks("sh") for word in re.findall(r"^make (\w+)", text, re.MULTILINE)
    ]
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_figures_and_links_are_there() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} points to {link}"
