"""What the command line writes, whoever reads it: any encoding, any name, a closed pipe."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saltation.cli import main
from saltation.cli.terminal import is_closed_pipe, one_line
from saltation.studies import STUDIES

NETWORK = (
    "import torch\nfrom torch import nn\nimport saltation as st\ndef build():\n"
    "    net = nn.Sequential(nn.Linear(8, 8), st.LIF(), nn.Linear(8, 3))\n"
    "    return net, torch.rand(4, 2, 8), torch.zeros(2).long()\n"
)


def written(words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code of a command, and what it writes to outputs of that encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            main(words)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out.flush()
        err.flush()
    return code, "".join(s.buffer.getvalue().decode(encoding) for s in (out, err))  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "koi8-r", "utf-8"])
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["info"],
        ["data", "list"],
        ["stability", "--help"],
        *(["study", name, "--help"] for name in STUDIES),
        ["study", "depth", "--lambda-rg", "λ ± é 文 \udce9"],
        ["report", "é/文/\udce9/[/x]"],
    ],
    ids=" ".join,
)
def test_every_encoding_shows_something(
    words: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = written(words, encoding, monkeypatch)
    assert code == (2 if words[0] in ("report",) or "--lambda-rg" in words else 0)
    assert text.strip()
    # Whatever the terminal shows, the message is the same, and its first line is all of it.
    if "--lambda-rg" in words:
        assert text.startswith("saltation: Unrecognized options: --lambda-rg, ")
        assert text.endswith("did you mean --lambda-reg? (see saltation study depth --help)\n")
        assert text.count("\n") == 1


def test_what_stands_for_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "n.py"
    file.write_text(NETWORK)
    _, text = written(["diagnose", f"{file}:build"], "cp1252", monkeypatch)
    assert "lambda" in text
    assert "±1 é →".encode("ascii", "saltation.plain") == b"+/-1 e ->"
    assert "± é →".encode("cp1252", "saltation.plain").decode("cp1252") == "± é ->"
    _, text = written(["diagnose", f"{file}:build"], "utf-8", monkeypatch)
    assert "λ" in text
    assert "lambda" not in text
    _, text = written(["report", "é文\udce9"], "ascii", monkeypatch)
    assert text == "saltation: there is no study in e?\\udce9: it has no config.json\n"


def test_an_encoding_given_from_outside(tmp_path: Path) -> None:
    """As the terminal of another system gives it, to the whole program."""
    (tmp_path / "n.py").write_text(NETWORK)
    done = subprocess.run(
        [sys.executable, "-m", "saltation", "diagnose", "n.py:build"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "lambda" in done.stdout.decode("cp1252")


def test_a_reader_that_goes_is_no_mistake() -> None:
    """What ``| head -1`` does."""
    end, start = os.pipe()
    os.close(end)
    with open(start, "wb") as closed:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "saltation", "study", "depth", "--help"],
            stdout=closed,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_closed_pipe_of_windows_is_told_from_other_mistakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is an invalid argument there, and nowhere else."""
    invalid = OSError(errno.EINVAL, "Invalid argument")
    assert is_closed_pipe(BrokenPipeError())
    assert not is_closed_pipe(invalid)
    monkeypatch.setattr(sys, "platform", "win32")
    assert is_closed_pipe(invalid)
    assert not is_closed_pipe(OSError(errno.EINVAL, "Invalid argument", "a:b"))
    assert not is_closed_pipe(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize("name", ["~nosuchuser/x", "[/x]", "[bold]", "a\nb", "λ", "\udce9", "-x"])
def test_any_name_is_taken_as_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["stability", f"--out-dir={name}"])
    assert (tmp_path / name / "stability-lif.svg").is_file()
    main(["data", "list", f"--data-dir={name}"])
    main(["runs", "--", name] if name == "-x" else ["runs", name])
    assert "Traceback" not in capsys.readouterr().err


def test_a_study_in_a_folder_whose_name_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "study integrators --neurons lif --schemes euler --dt 1 --steps 3 --hidden 4 --epochs 1"
    words += " --limit-train 32 --limit-test 32 --batch-size 32 --no-progress"
    main([*words.split(), "--out-dir", "[/x]\udce9"])
    assert "report: [/x]\\xe9/report.html" in capsys.readouterr().out
    main(["report", "[/x]\udce9"])
    main(["runs", "."])
    out = capsys.readouterr().out
    assert "[/x]\\xe9" in out
    assert "\\udce9" in (tmp_path / "[/x]\udce9" / "report.html").read_text()


def test_complaints_are_one_line() -> None:
    assert one_line(" a\nb\x1b[31m\udce9\t ") == "a\\nb\\x1b[31m\\udce9"
    assert len(one_line("x" * 10**6)) < 2100
