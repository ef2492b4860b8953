"""What is answered without torch: help, version, completion; and how options are spelled."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import saltation
from saltation import stub
from saltation.cli import completion, described, main, page, parsing
from saltation.cli.mistyped import mistyped
from saltation.cli.spelling import as_settings
from saltation.cli.terminal import console
from saltation.studies import STUDIES, Study

WRITTEN = page.written()


def test_the_file_is_what_the_commands_are() -> None:
    """Else: python -m saltation.cli.described."""
    assert page.PLACE.read_text(encoding="utf-8") == described.text()


def test_help_and_version_import_no_torch() -> None:
    code = f"""
import contextlib, io, sys
from saltation.cli import main
helps = {[[*path.split(), "--help"] for path in WRITTEN]}
for words in [*helps, ["--version"], ["completion", "bash"]]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(words)
heavy = ("torch", "numpy", "numba", "scipy", "pandas", "matplotlib", "pydantic", "tyro")
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


MISTYPED = {
    "stuy": "unknown command 'stuy'; did you mean 'study'? (allowed: study, stability,",
    "study integrater --lr 1": "unknown study 'integrater'; did you mean 'integrators'?",
    "data lst": "unknown data 'lst'; did you mean 'list'? (allowed: list, describe, fetch)",
    "study integrators --lr 1 --epoch 3": "Unrecognized options: --epoch, 3; did you mean "
    "--epochs? (see saltation study integrators --help)",
    "study depth --lamda-reg=1": "Unrecognized options: --lamda-reg=1; did you mean --lambda-reg?",
    "runs --foo results": "Unrecognized options: --foo, results (see saltation runs --help)",
}


def test_what_is_mistyped_is_told_without_torch() -> None:
    """As the parser tells it, which is asked where torch is there already."""
    code = f"""
import contextlib, io, sys
from saltation.cli import main
for words in {list(MISTYPED)!r}:
    with contextlib.suppress(SystemExit):
        main(words.split())
print("torch" in sys.modules, "numpy" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False False\n"
    for line, told in zip(ran.stderr.splitlines(), MISTYPED.values(), strict=True):
        assert line.startswith(f"saltation: {told}")


@pytest.mark.parametrize("words", [w for w in MISTYPED if "=" not in w])
def test_the_parser_tells_the_same(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    assert capsys.readouterr().err == f"saltation: {mistyped(words.split())}\n"


@pytest.mark.parametrize("path", WRITTEN)
def test_nothing_that_the_parser_takes_is_called_mistyped(path: str) -> None:
    words = path.split()
    for option in WRITTEN[path].options if words else ():
        names = [n for n in (*option.name.split(", "), *option.also) if n.startswith("--")]
        names += [f"{n}=1" for n in names] + [n[:2] + n[2:].replace("-", "_") for n in names]
        if not option.takes and "--help" not in names:
            names.append(f"--no-{names[0][2:]}")
        for name in names:
            assert mistyped([*words, name, "any"]) == ""
            if option.several and not option.also:
                other = name.partition("=")[0]
                other = other.removesuffix("s") if other.endswith("s") else f"{other}s"
                assert mistyped([*words, other, "any"]) == ""
    assert mistyped([*words, "any", "-x", "--", "--any"]) == "" or WRITTEN[path].commands


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"saltation {saltation.__version__}\n"


@pytest.mark.parametrize("path", WRITTEN)
def test_every_option_is_taken_as_it_is_shown(path: str) -> None:
    """The parser knows each name of each option: told nothing, it asks for a value."""
    if WRITTEN[path].commands:
        return
    *group, name = path.split()
    command = (parsing.GROUPS[group[0]] if group else parsing.COMMANDS)[name]
    fields: Any = getattr(command, "model_fields", None) or command.__dataclass_fields__
    settings = dict.fromkeys(fields, True)
    for option in WRITTEN[path].options:
        for shown in (*option.name.split(", "), *option.also):
            if shown in ("-h", "--help", "--config", "--preset") or not shown.startswith("-"):
                continue
            (setting,) = as_settings([shown.replace("--no-", "--")], settings)
            assert setting[2:].replace("-", "_") in fields, shown


@pytest.mark.parametrize("study", STUDIES)
def test_one_style_of_options(study: str) -> None:
    """Lower case with hyphens; and what takes several names is in the plural."""
    options = [o for o in WRITTEN[f"study {study}"].options if o.name.startswith("--")]
    for option in options:
        name = option.name.split(",")[0]
        assert name == name.lower()
        assert "_" not in name
        if option.takes == "STR ...":
            assert name.endswith("s"), name


def test_the_other_spellings_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Study[Any]] = []
    monkeypatch.setattr(parsing, "run_study", ran.append)
    old = "--T 2 --reg-type hinge --surrogate sigmoid:2 --batch_norm all --loss tet --seeds 1"
    new = "--steps 2 --reg-types hinge --surrogates sigmoid:2 --batch-norms all --losses=tet"
    for words in (old, f"{new} --seeds 1", f"{old} --estimators telescoped"):
        main(f"study depth --dataset digits --side 16 --depths 2 {words}".split())
    first, *others = (study.config for study in ran)
    assert first.T == 2
    assert all(one == first for one in others)
    words = "--neuron lif --scheme euler --seed 3 --inputs impulse"
    main(["study", "integrators", *words.split()])
    config = ran[-1].config
    assert (config.neurons, config.schemes, config.seeds) == (["lif"], ["euler"], [3])


def test_a_mistake_in_an_option_spelled_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        ("--steps many", "--steps takes INT, got 'many'"),
        ("--steps 0", "saltation: steps: input should be greater than or equal to 1, got 0"),
        ("--T 0", "saltation: T: input should be"),
        ("--surrogates soft", "unknown surrogate 'soft'"),
    ):
        with pytest.raises(SystemExit):
            main(["study", "depth", *words.split()])
        assert told in capsys.readouterr().err


def test_help_with_a_file_has_its_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 77\n")
    with pytest.raises(SystemExit) as stop:
        main(["study", "integrators", "--config", str(file), "--help"])
    assert stop.value.code == 0
    assert "(default: 77)" in capsys.readouterr().out


def test_names_of_registries_are_completed() -> None:
    (option,) = (o for o in WRITTEN["study integrators"].options if o.name == "--schemes")
    assert set(saltation.SCHEMES) <= set(option.choices)
    (option,) = (o for o in WRITTEN["data fetch"].options if o.name == "NAME")
    assert "mnist" in option.choices


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("typed", "some"),
    [
        ("saltation stu", {"study"}),
        ("saltation study in", {"integrators"}),
        ("saltation study integrators --epochs 3 --sch", {"--schemes", "--schedule"}),
        (
            "saltation study integrators --schemes euler exp",
            {"exponential", "exponential_split", "exponential_symplectic"},
        ),
        ("saltation data fetch mn", {"mnist"}),
        ("saltation diagnose --", {"--cure", "--lr", "--trial", "--help"}),
        ("saltation lyapunov x.pt --dataset dig", {"digits"}),
    ],
)
def test_completion(shell: str, typed: str, some: set[str]) -> None:
    """The function that the shell calls, called with what it gives."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    words, place = typed.split(" "), len(typed.split(" "))
    ask = {
        "bash": f"COMP_WORDS=({typed}); COMP_CWORD={place - 1}; _saltation; "
        'printf "%s\\n" "${COMPREPLY[@]}"\n',
        "zsh": f"words=({typed}); CURRENT={place}; _saltation\n",
    }[shell]
    # Of zsh's own completion only what the function calls.
    stand_in = 'compdef() { }; compadd() { shift; print -l -- "$@"; }; ' if shell == "zsh" else ""
    ran = subprocess.run(
        [shell],
        input=f"{stand_in}{completion.script(shell, WRITTEN)}{ask}",
        capture_output=True,
        text=True,
    )
    found = {word for word in ran.stdout.split() if word.startswith(words[-1])}
    assert found == some, ran.stderr


def test_completion_of_fish() -> None:
    script = completion.script("fish", WRITTEN)
    assert "-l schemes -x -a 'euler exponential" in script
    if shutil.which("fish") is not None:
        ask = f"{script}complete -C 'saltation study integrators --sche'\n"
        ran = subprocess.run(["fish", "-N"], input=ask, capture_output=True, text=True)
        assert {line.split("\t")[0] for line in ran.stdout.splitlines()} == {
            "--schedule",
            "--schemes",
        }


def test_help_fits_narrow_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "width", 50)
    page.show("study depth", WRITTEN)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 50


def test_the_stub_has_the_public_names() -> None:
    """Each by the module that it is of, and nothing else. Else: python -m saltation.stub."""
    written = stub.PLACE.read_text(encoding="utf-8")
    assert written == stub.text()
    stubbed = {
        alias.asname: node.module
        for node in ast.walk(ast.parse(written))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert stubbed == saltation._HOME_OF
    assert sorted(stubbed) == saltation.__all__
    assert set(saltation.__all__) <= set(dir(saltation))


def test_modules_of_the_package_are_there_unasked() -> None:
    code = "import saltation as st; print(*st.models.ARCHITECTURES, st.neurons.LIFNeuron)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "vgg" in ran.stdout, ran.stderr
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        saltation.nothing  # noqa: B018
