"""Models by name: of the registry, or of a file of the user's."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from saltation import usercode
from saltation.errors import SaltationError, choose
from saltation.neurons.base import NEURONS, Neuron
from saltation.neurons.remembered import Remembered

# Of files that were run, and of models of files that may be gone.
_FINGERPRINTS: dict[Path, str] = {}
_REMEMBERED: dict[tuple[Path, str], Remembered] = {}


def get_neuron(neuron: str | type[Neuron]) -> type[Neuron]:
    """The model of that name, or of a file, as in ``my_models.py:AdEx``; a model passes through.

    Raises
    ------
    SaltationError
        If there is no such model, or the file cannot be run.
    """
    if isinstance(neuron, type) and issubclass(neuron, Neuron):
        return neuron
    if isinstance(neuron, str) and ".py:" in neuron:
        return _of_file(*neuron.rsplit(":", 1))
    return NEURONS[choose("neuron", neuron, NEURONS)]


def whole_name(neuron: str) -> str:
    """The name by which a model is found from any folder."""
    path, _, name = neuron.rpartition(":")
    return f"{Path(path).expanduser().resolve()}:{name}" if path.endswith(".py") else neuron


def known_parameters(neuron: str | type[Neuron], **parameters: Any) -> dict[str, Any]:
    """Those of the parameters that the model has: not every one has a ``tau``."""
    model = get_neuron(neuron)
    return {name: value for name, value in parameters.items() if name in model.parameters()}


def model_of(neuron: str | type[Neuron], **parameters: Any) -> Neuron:
    """The model with those of the parameters that it has."""
    make: Any = get_neuron(neuron)
    made: Neuron = make(**known_parameters(neuron, **parameters))
    return made


def remember(model: Remembered) -> None:
    """Let it stand for a model whose file is not there any more."""
    path, name = model.source.rsplit(":", 1)
    _REMEMBERED[Path(path).expanduser().resolve(), name] = model


def fingerprint_of(neuron: str) -> str | None:
    """What changes with the text of a model's file, as it was run; None of one of the registry."""
    if ".py:" not in neuron:
        return None
    get_neuron(neuron)
    return _FINGERPRINTS.get(Path(neuron.rsplit(":", 1)[0]).expanduser().resolve())


def _of_file(path: str, name: str) -> type[Neuron]:
    place = Path(path).expanduser().resolve()
    if not place.is_file() and (place, name) in _REMEMBERED:
        return cast(type[Neuron], _REMEMBERED[place, name])
    if not place.is_file():
        raise SaltationError(f"neuron '{path}:{name}': there is no file {path}")
    module = _loaded(place)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Neuron)):
        there = [k for k, v in vars(module).items() if _is_own(v, module)]
        raise SaltationError(
            f"neuron '{path}:{name}': {place.name} has no such model "
            f"(models there: {', '.join(there) or 'none'})"
        )
    return found


def _is_own(value: Any, module: Any) -> bool:
    is_model = isinstance(value, type) and issubclass(value, Neuron)
    return is_model and value.__module__ == module.__name__


def _loaded(place: Path) -> ModuleType:
    """The module of a file, run once in a process."""
    # By its path, so that models of the same name in two files are two; the same in every process.
    name = f"saltation_user_{zlib.crc32(str(place).encode()):x}_{place.stem}"
    if name not in sys.modules:
        text = place.read_bytes()
        usercode.execute(place, name, text)
        _FINGERPRINTS[place] = usercode.fingerprint(text)
    return sys.modules[name]
