"""The floors of the house, read from the imports of every file; see DESIGN.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import saltation

PACKAGE = Path(saltation.__file__).parent

FLOORS = {
    **dict.fromkeys(
        ("naming", "errors", "interrupts", "random", "state", "plugins", "usercode"), 1
    ),
    **dict.fromkeys(("inline", "naming"), 1),
    **dict.fromkeys(("operands", "derivatives", "affine", "phi", "schemes", "surrogate"), 1),
    "neurons": 2,
    **dict.fromkeys(("kernels", "reference"), 3),
    **dict.fromkeys(("encoding", "layers", "losses", "stepping"), 4),
    "interop": 4.5,
    **dict.fromkeys(("ranks", "snapshot"), 4.5),
    **dict.fromkeys(("models", "stability", "learning", "activity", "numerics"), 5),
    **dict.fromkeys(("data", "training"), 6),
    "studies": 7,
    "selftest": 7.5,
    "cli": 8,
    **dict.fromkeys(("__main__", "stub"), 9),
}
# Neighbours on one floor that must not import each other.
APART = {"kernels", "reference", "models", "stability", "learning", "numerics", "data", "training"}
# The public surface imports the rooms up to `models`.
SURFACE = 5
# Libraries that belong in one room only.
ENGINES = {"numba": ("kernels", "cpu"), "triton": ("kernels", "gpu")}


def imports(source: str) -> Iterator[str]:
    """Dotted names of everything a file imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(place: tuple[str, ...], source: str) -> list[str]:
    """What the file at ``place`` (folders and name within the package) must not do."""
    found = []
    room = place[0]
    for name in imports(source):
        package, *target = name.split(".")
        engine = ENGINES.get(package)
        if engine and place[:2] != engine:
            found.append(f"{package} belongs in {'/'.join(engine)}")
        if package != "saltation":
            continue
        other = target[0] if target else ""
        floor = FLOORS.get(other, SURFACE)
        if other != room and floor > FLOORS[room]:
            found.append(f"{name} is on a higher floor")
        elif other != room and floor == FLOORS[room] and {other, room} & APART:
            found.append(f"{name} is a neighbour on the same floor")
        elif other not in FLOORS and floor == FLOORS[room]:
            found.append(f"{name} is on the public surface")
        if tuple(target[:2]) in {("kernels", "cpu"), ("kernels", "gpu")}:
            own = place[:2] == tuple(target[:2])
            if not own and not (room == "kernels" and place[1].startswith("dispatch")):
                found.append(f"{name}: only dispatch names backends")
    found += ["assert statement" for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Assert)]
    return found


def test_every_file_keeps_to_its_floor() -> None:
    """No file imports a higher floor, a separated neighbour or a backend, and none asserts."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("").parts
        if place == ("__init__",):
            continue
        assert place[0] in FLOORS, f"{place[0]} has no floor: add it here and in DESIGN.md"
        broken = violations(place, path.read_text(encoding="utf-8"))
        if broken:
            found["/".join(place)] = broken
    assert not found


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("schemes", "from saltation.neurons import LIFNeuron"),
        ("neurons/lif", "def f():\n    from saltation.kernels import dispatch"),
        ("models/mlp", "import saltation.stability.finite"),
        ("data/batching", "from saltation import training"),
        ("layers/neuron", "from saltation import LIF"),
        ("models/mlp", "from saltation import LIF"),
        ("layers/neuron", "from saltation.kernels.cpu import loop"),
        ("kernels/reference", "from saltation.kernels import cpu"),
        ("kernels/gpu/loop", "from saltation.kernels.cpu import loop"),
        ("random", "import numba"),
        ("kernels/gpu/loop", "from numba import njit"),
        ("layers/neuron", "from saltation.interop import snntorch"),
        ("interop/snntorch", "from saltation.models import spiking_mlp"),
        ("errors", "assert True"),
    ],
)
def test_the_check_sees_what_it_should(place: str, source: str) -> None:
    """Each forbidden line is reported, so that a clean package means something."""
    assert len(violations(tuple(place.split("/")), source)) == 1


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("layers/neuron", "from saltation import surrogate\nimport saltation.kernels.dispatch"),
        ("encoding", "from saltation.layers import LIF"),
        ("kernels/dispatch", "from saltation.kernels import cpu"),
        ("kernels/dispatch_chain", "from saltation.kernels import cpu"),
        ("kernels/cpu/loop", "from numba import njit\nfrom saltation.kernels.cpu import seeds"),
        ("studies/engine/study", "import saltation"),
        ("interop/snntorch", "from saltation.layers import LIF"),
    ],
)
def test_the_check_allows_what_it_should(place: str, source: str) -> None:
    """Ordinary imports downward and within a room are not reported."""
    assert violations(tuple(place.split("/")), source) == []


def code(path: Path) -> str:
    """A file's text without its comments and docstrings, in lower case."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0] = ast.Expr(ast.Constant(None))
    return ast.unparse(tree).lower()


def test_kernels_know_no_model() -> None:
    """No file of kernels/ names one: a model reaches the loops as a program."""
    ours = [m for m in saltation.NEURONS.values() if m.__module__.startswith("saltation.")]
    names = {name for model in ours for name in (model.name, model.__name__)}
    pattern = re.compile("|".join(rf"\b{re.escape(name.lower())}\b" for name in names))
    files = sorted((PACKAGE / "kernels").rglob("*.py"))
    found = {path.name: pattern.findall(code(path)) for path in files}
    assert {name: models for name, models in found.items() if models} == {}
    assert pattern.findall(code(PACKAGE / "layers" / "zoo.py"))
