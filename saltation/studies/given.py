"""A network that a function in a user's file returns."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from saltation.errors import ConfigError, SaltationError
from saltation.stepping import Stepped


class Given(NamedTuple):
    """A function in a user's file.

    Attributes
    ----------
    source
        As it was given, ``FILE.py:FUNCTION``.
    path
        The file.
    function
        Takes nothing and returns ``(network, x, y)`` or ``(network, x, y, loss)``.
    """

    source: str
    path: Path
    function: Callable[[], Any]

    @classmethod
    def of(cls, source: str) -> Given:
        """The function that is named by ``FILE.py:FUNCTION``.

        Raises
        ------
        ConfigError
            If there is no such file or function, or the file fails.
        """
        path, name = place_of(source)
        return cls(source, path, _function(path, name))

    def made(self) -> tuple[nn.Module | Stepped, Tensor, Any, Callable[..., Tensor] | None]:
        """What the function returns: network, input, labels, and the loss or None.

        Raises
        ------
        ConfigError
            If it fails, or returns something else.
        """
        name = self.source.rpartition(":")[2]
        with _in_one_line(f"{self.path}:{name}", self.path):
            given = self.function()
        _check(self.source, given)
        network, x, y, *losses = given
        return network, x, y, losses[0] if losses else None

    def in_one_line(self) -> AbstractContextManager[None]:
        """Within the block errors of the user's own code are one line, with its place."""
        return _in_one_line("the network or its loss", self.path)


def place_of(source: str) -> tuple[Path, str]:
    """File and function that ``FILE.py:FUNCTION`` names; the file is not run.

    Raises
    ------
    ConfigError
        If it is of another form, or there is no such file.
    """
    file, _, name = source.rpartition(":")
    path = Path(file)
    if path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"a network is given as FILE.py:FUNCTION, got '{source}'")
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    return path, name


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
