"""Peak memory of a training step, each contender in a process of its own.

Counted is what the resident memory grows to above what it is after the imports, the building of the
network and one tiny step (batch 2, 2 steps), by when libraries and compiled kernels are loaded.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing import Step


def _status(field: str) -> float:
    """A field of this process's memory, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def measure(build: Callable[[Any], Step], task: Any) -> float:
    """MiB of one contender, in this process; tasks have a batch ``x``, ``labels`` and ``steps``."""
    tiny = task._replace(x=task.x[:2], labels=task.labels[:2], steps=2)
    build(tiny)(0)
    step = build(task)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status("VmRSS")
    for number in range(3):
        step(number)
    return _status("VmHWM") - before


def measure_all(names: list[str], dt: float = 1.0, deep: bool = False) -> dict[str, float]:
    """MiB of each contender, of those in `benchmarks.deep` where that is asked for."""
    found = {}
    for name in names:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks", "--memory-of", name]
        done = subprocess.run(
            [*command, "--dt", str(dt), *["--deep"] * deep],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            found[name] = float(done.stdout.split()[-1])
        else:
            print(f"left out: {name}: {done.stderr.strip()[-200:]}", file=sys.stderr)
    return found
