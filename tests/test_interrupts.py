"""Ctrl-C and SIGTERM at any moment of the command line: one line and exit code 130."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from saltation import interrupts
from saltation.cli import main

# What pip writes into bin/saltation.
SCRIPT = (
    "import sys\nfrom saltation.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
)
SLEEPS = "import time\ndef build():\n    print('working', flush=True)\n    time.sleep(60)\n"


@pytest.fixture
def programs(tmp_path: Path) -> list[list[str]]:
    """Both ways to start a command that lasts."""
    script = tmp_path / "saltation"
    script.write_text(SCRIPT)
    (tmp_path / "long.py").write_text(SLEEPS)
    work = ["diagnose", f"{tmp_path / 'long.py'}:build"]
    return [[sys.executable, "-m", "saltation", *work], [sys.executable, str(script), *work]]


def started(words: list[str], **options: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def armed(process: subprocess.Popen[str]) -> bool:
    """Whether the process handles SIGTERM, which Python of itself does not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_signals_while_it_starts(programs: list[list[str]]) -> None:
    """From the first line of the package on, while torch and the rest are imported."""

    def told(case: tuple[list[str], signal.Signals, float]) -> tuple[int, str]:
        words, number, wait = case
        process = started(words)
        if Path("/proc").is_dir():
            while not armed(process):  # Python itself is still starting
                time.sleep(0.001)
        time.sleep(wait)
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
        return process.returncode, err

    module, script = programs
    cases = [(module, signal.SIGINT, wait) for wait in (0, 0.1, 0.2, 0.4, 0.7, 1.1, 1.8)]
    cases += [(script, signal.SIGINT, wait) for wait in (0, 0.3, 0.9)]
    cases += [(module, signal.SIGTERM, 0), (script, signal.SIGTERM, 0.5)]
    with ThreadPoolExecutor(4) as pool:
        for case, outcome in zip(cases, pool.map(told, cases), strict=True):
            assert outcome == (130, "saltation: stopped\n"), case[1:]


def test_a_signal_while_it_works(programs: list[list[str]]) -> None:
    process = started(programs[0])
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "saltation: stopped\n")


def test_a_shell_may_have_asked_that_they_are_ignored(programs: list[list[str]]) -> None:
    """As nohup does, and shells for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(programs[0], restore_signals=False)
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert process.poll() is None
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("argv", "original", "command", "worker"),
    [
        (["/bin/saltation", "info"], ["python", "/bin/saltation", "info"], True, False),
        (["/Scripts/saltation"], ["python", "/Scripts/saltation.exe", "info"], True, False),
        (["-m", "info"], ["python", "-m", "saltation", "info"], True, False),
        (["-m"], ["python", "-m", "pytest"], False, False),
        (["/x/saltation/__main__.py"], ["python", "/x/saltation/__main__.py"], True, False),
        (["mine.py"], ["python", "mine.py", "saltation"], False, False),
        (["-c"], ["python", "-c", "import saltation"], False, False),
        ([""], ["python"], False, False),
        # A process that multiprocessing starts is given the name of the one it is started by.
        (["/bin/saltation"], ["python", "-c", "x", "--multiprocessing-fork"], False, True),
        (["mine.py"], ["python", "-c", "x", "--multiprocessing-fork"], False, False),
    ],
)
def test_only_the_command_touches_signals(
    argv: list[str],
    original: list[str],
    command: bool,
    worker: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert interrupts.is_command() == command
    assert interrupts.is_worker() == worker


def test_handlers_are_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    main(["info"])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert "kernels" in capsys.readouterr().out
