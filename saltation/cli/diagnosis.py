"""The diagnosis of a network that a function in a user's file returns."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import saltation
from saltation.errors import ConfigError, SaltationError
from saltation.stability import Cure
from saltation.stepping import Stepped


def diagnosis_of(source: str, trial: int | None, cure: bool = False) -> Iterator[str]:
    """What `saltation.diagnose` says of what ``source`` returns, then what `saltation.cure` does.

    Parameters
    ----------
    source
        ``FILE.py:FUNCTION``. The function takes nothing and returns ``(network, x, y)`` or
        ``(network, x, y, loss)``.
    trial
        As for `saltation.diagnose`.
    cure
        Whether remedies are tried, too.

    Yields
    ------
    str
        The diagnosis; then, if asked for, the cure.

    Raises
    ------
    ConfigError
        If there is no such file or function, it fails, or it returns something else.
    """
    file, _, name = source.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"a network is given as FILE.py:FUNCTION, got '{source}'")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    function = _function(path, name)
    with _in_one_line(f"{path}:{name}", path):
        given = function()
    _check(source, given)
    network, x, y, *losses = given
    loss = losses[0] if losses else None
    with _in_one_line("the network or its loss", path):
        found = saltation.diagnose(network, x, y, loss=loss, trial=trial)
    yield str(found)
    if cure:
        with _in_one_line("the network or its loss", path):
            cured = saltation.cure(network, x, y, loss=loss)
        yield _told_of(cured, bool(losses))


def _told_of(cured: Cure, own_loss: bool) -> str:
    """The table of a cure and how to have it in Python, or that there is no need for one."""
    if not cured.findings:
        return (
            f"No cure is needed: in {cured.trial}, the held-out loss comes to "
            f"{cured.after.loss:.3f} (chance: {cured.chance:.3f})."
        )
    if not cured.treatments:
        return str(cured)
    loss = ", loss=loss" if own_loss else ""
    told = f"{cured}\nin Python: network = saltation.cure(network, x, y{loss}).network"
    suits = any(one.kept and one.group == "rate" for one in cured.attempts)
    return f"{told}, with a learning rate of {cured.lr:g}" if suits else told


def _function(path: Path, name: str) -> Callable[[], Any]:
    # Beside the file its neighbours can be imported, as when Python runs it.
    sys.path.insert(0, str(path.parent.resolve()))
    module_name = f"_diagnosed_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and pickles look for it
    with _in_one_line(f"{path}", path):
        spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{path} has no function '{name}'")
    function: Callable[[], Any] = found
    return function


def _check(source: str, given: Any) -> None:
    """Refuse what is not a network, an input, labels and perhaps a loss."""
    form = f"{source} must return (network, x, y)"
    if not isinstance(given, tuple | list) or len(given) not in (3, 4):
        got = type(given).__name__
        if isinstance(given, tuple | list):
            got += f" of {len(given)}"
        raise ConfigError(f"{form}, got {got}; a loss may be the fourth")
    network, x, _, *loss = given
    if not isinstance(network, nn.Module | Stepped):
        raise ConfigError(f"{form}, got {type(network).__name__} for the network")
    if not isinstance(x, Tensor):
        raise ConfigError(f"{form}, got {type(x).__name__} for x, not a tensor")
    if loss and not callable(loss[0]):
        raise ConfigError(f"{form} or a loss too, got {type(loss[0]).__name__} for the loss")


@contextmanager
def _in_one_line(what: str, path: Path) -> Iterator[None]:
    """Errors of the user's own code, with the line of the file in which they arose."""
    try:
        yield
    except SaltationError as error:
        where = _line(error, path)
        if where:
            raise ConfigError(f"{where}: {_told(error)}") from None
        raise
    except (Exception, SystemExit) as error:
        where = _line(error, path) or what
        raise ConfigError(f"{where}: {type(error).__name__}: {_told(error)}") from None


def _line(error: BaseException, path: Path) -> str:
    """``FILE:LINE`` of the innermost place in the user's file, or in a file beside it."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    folder = path.resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f for f in frames if f.filename[0] != "<" and Path(f.filename).resolve().parent == folder
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _told(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return re.sub(r"\s+", " ", text).strip() or "no message"
