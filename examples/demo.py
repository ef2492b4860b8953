"""What saltation does, in a minute: a study interrupted and resumed, its Lyapunov exponents, and a
deep network that does not learn, diagnosed and cured. ``make demo`` runs it.

python examples/demo.py --out-dir runs/demo
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

EXAMPLES = Path(__file__).parent
STUDY = (
    "study integrators --neurons lif --schemes euler exponential --dt 1 5 --steps 20 --hidden 64 "
    "--epochs 4 --batch-size 32 --lr 0.005"
)
MARK = "demo.txt"  # of a folder that a demo may clear
DEEP = "--depth 12 --limit-train 400 --epochs 6 --steps 20"

say = partial(print, flush=True)  # before what the commands say


def run(words: list[str], shown: str, until: str | None = None) -> None:
    """Run a command and show it; once it has said ``until``, stop it as Ctrl-C does."""
    say(f"\n$ {shown}")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    stopped = False
    for line in process.stderr or ():
        say(line, end="")
        if until is not None and until in line and not stopped:
            say("^C")
            process.send_signal(signal.SIGINT)
            stopped = True
    code = process.wait()
    if code != (130 if stopped else 0):
        raise SystemExit(f"demo: '{shown}' ended with code {code}")


def saltation(command: str, until: str | None = None) -> None:
    """Run a command of saltation."""
    run([sys.executable, "-m", "saltation", *shlex.split(command)], f"saltation {command}", until)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out-dir", type=Path, default=Path("runs/demo"))
    folder = parser.parse_args().out_dir
    start = time.monotonic()
    if folder.exists():
        if not (folder / MARK).exists():
            raise SystemExit(f"demo: {folder} is there and no demo's; give another --out-dir")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()

    say("1. The same network with two schemes and two steps; stopped after the second trial.")
    quoted = shlex.quote(str(folder))
    saltation(f"{STUDY} --out-dir {quoted}", until="trial 2/4  lif euler dt=5 seed=0  test")
    say("\n   Resumed: finished trials are kept.")
    saltation(f"resume {quoted}")
    say("\n2. λ1 is positive where the scheme is unstable (! above), and there alone.")
    saltation(f"lyapunov {quoted}")
    say("\n3. A deep network that does not learn: why, and its cure.")
    deep = [str(EXAMPLES / "deep.py"), *DEEP.split(), "--out-dir", str(folder / "depth")]
    run([sys.executable, *deep], f"python {shlex.join(deep)}")

    say(f"\nThat took {time.monotonic() - start:.0f} s. What to read:")
    say(f"  {folder / 'report.html'}: the study, its figures and settings")
    say(f"  {folder / 'depth' / 'cure.png'}: the deep network before and after its cure")
    say("  README.md, and docs/studies.md, docs/stability.md, docs/own.md for a network of yours")


if __name__ == "__main__":
    main()
