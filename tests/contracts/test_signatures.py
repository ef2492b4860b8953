"""What a type checker says of layers: parameters there are, and ones there are not."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import saltation
from saltation.layers import LAYERS

PACKAGE = Path(saltation.__file__).parent

WRONG = """
LIF(tua=3)
LIF(tau="2")
CubaLIF(tau_sin=1.0)
Izhikevich(scheme=4)
LIF(detach_reset="no")
"""


def checked(source: str, place: Path, *options: str | Path) -> list[str]:
    """The errors that mypy finds in a file of these lines."""
    pytest.importorskip("mypy", reason="checks of signatures need: pip install mypy")
    file = place / "snippet.py"
    file.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--cache-dir", place / "cache", "--config-file="]
    ran = subprocess.run(
        [*command, *options, file], capture_output=True, text=True, cwd=PACKAGE.parent, check=False
    )
    assert not ran.stderr
    return [
        line for line in ran.stdout.splitlines() if f"{file.name}:" in line and ": error" in line
    ]


def right() -> str:
    """Calls with every parameter at its default, and with numbers of numpy and torch."""
    lines = ["import numpy as np", "import torch"]
    for layer in LAYERS.values():
        parameters = inspect.signature(layer).parameters.values()
        given = [f"{p.name}={p.default!r}" for p in parameters if p.name != "surrogate"]
        first = next(iter(inspect.signature(layer).parameters))
        lines.append(f"{layer.__name__}({', '.join(given)}, surrogate='atan')")
        lines.append(f"{layer.__name__}({first}=np.float32(2.0), v_threshold=torch.tensor(1.0))")
    return "\n".join(lines)


def test_a_parameter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """From the layers' own file, without following what it imports."""
    names = ", ".join(layer.__name__ for layer in LAYERS.values())
    source = f"from saltation.layers.zoo import {names}\n{right()}{WRONG}"
    alone = ("--follow-imports=skip", "--ignore-missing-imports")
    # In place of torch, the type that its layers take.
    torch = tmp_path / "torch.pyi"
    torch.write_text("class Tensor: ...\ndef tensor(value: float) -> Tensor: ...\n")
    layers = PACKAGE / "layers"
    files = layers / "zoo.pyi", layers / "learned.py", PACKAGE / "errors.py", torch
    found = checked(source, tmp_path, *alone, *files)
    first = len(source.splitlines()) - len(WRONG.split("\n")) + 3
    print(found[:4])
    assert [int(line.split(":")[1]) for line in found] == list(range(first, first + 5))
    assert 'Unexpected keyword argument "tua" for "LIF"' in found[0]
    assert 'did you mean "tau_syn"' in found[2]


@pytest.mark.slow
def test_as_a_user_writes_it(tmp_path: Path) -> None:
    """The public names, in strict mode."""
    names = ", ".join(layer.__name__ for layer in LAYERS.values())
    source = f"from saltation import {names}\n{right()}{WRONG}"
    assert len(checked(source, tmp_path, "--strict", "--follow-imports=silent")) == 5
