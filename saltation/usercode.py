"""Code in a user's own files, named as ``FILE.py:NAME``."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from saltation.errors import ConfigError, SaltationError

# Files that are being run, each once.
_RUNNING: set[Path] = set()


def split(source: str, form: str) -> tuple[Path, str]:
    """File and name of ``FILE.py:NAME``; the file need not be there.

    Parameters
    ----------
    source
        As the user gave it.
    form
        How it is to be given, as a sentence.

    Raises
    ------
    ConfigError
        If it is of another form.
    """
    file, _, name = source.rpartition(":")
    path = Path(file).expanduser()
    if path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"{form}, got '{source}'")
    return path, name


def source_of(function: Callable[..., Any]) -> str:
    """``FILE.py:NAME`` of a function or class, by which other processes find it again.

    Raises
    ------
    ConfigError
        If it is not at the top of a file: a lambda, one made inside another, one of a notebook or
        a terminal, or an object that can be called.
    """
    name = getattr(function, "__qualname__", None)
    if not inspect.isroutine(function) and not inspect.isclass(function):
        raise ConfigError(
            f"a network is given as a function at the top of a file, or as FILE.py:FUNCTION, got "
            f"{type(function).__name__}: workers, resume and later readers build it anew"
        )
    how = "write it as a function at the top of a file, where workers and resume find it"
    if name is None or not name.isidentifier():
        told = str(name).rpartition(".")[2]
        raise ConfigError(f"network '{told}' cannot be found again by its name: {how}")
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file() or Path(file).suffix != ".py":
        raise ConfigError(
            f"network '{name}' is in no file: {how} (in a notebook: %%writefile mine.py), and give "
            f"'mine.py:{name}'"
        )
    if getattr(module, name, None) is not function:
        raise ConfigError(f"{file} has another '{name}' than the network that was given: {how}")
    return f"{Path(file).resolve()}:{name}"


def execute(path: Path, module_name: str, text: bytes | None = None) -> ModuleType:
    """Run a file, as a module of that name.

    Parameters
    ----------
    path, module_name
        Which, and under what name it is imported.
    text
        The file as somebody has read it, who tells what it is by that; it is not read again then.

    Raises
    ------
    ConfigError
        In one line with its place, if it fails, or runs itself.
    """
    if path.resolve() in _RUNNING:
        raise ConfigError(
            f"{path} runs a study of itself when it is imported: put what it runs under "
            "if __name__ == '__main__':"
        )
    # Beside the file its neighbours can be imported, as when Python runs it.
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and pickles look for it
    _RUNNING.add(path.resolve())
    try:
        with in_one_line(f"{path}", path):
            # Not by the loader: what it has compiled of a file it takes for the file as long as
            # second and size of the last change are the same.
            exec(compile(path.read_bytes() if text is None else text, path, "exec"), vars(module))
    except ConfigError:
        del sys.modules[module_name]
        raise
    finally:
        _RUNNING.discard(path.resolve())
    return module


def fingerprint(text: bytes) -> str:
    """What changes with the text of a file."""
    return f"{zlib.crc32(text):08x}"


@contextmanager
def in_one_line(what: str, path: Path) -> Iterator[None]:
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
