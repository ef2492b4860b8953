"""Networks that a function in a user's file returns: for one batch, or for any data set."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.encoding import direct
from saltation.errors import ConfigError, SaltationError, choose
from saltation.models import ARCHITECTURES
from saltation.models.architectures import Architecture
from saltation.neurons import NEURONS
from saltation.stepping import Stepped

# What a function that builds a network may take, by name.
ARGUMENTS = {
    "shape": "of one sample: (C, H, W), or (F,)",
    "classes": "number of labels",
    "neuron": "the model of the trial, a subclass of `Neuron`",
    "scheme": "its integration scheme",
    "dt": "length of a step",
    "steps": "number of steps T",
    "tau": "membrane time constant",
    "input": "what a spike is to a neuron, held or impulse",
    "depth": "layers of neurons, in the depth study",
}


# What it gets from studies that have no choice of these.
PLAIN: dict[str, Any] = {
    "neuron": NEURONS["lif"],
    "scheme": NEURONS["lif"]().scheme,
    "dt": 1.0,
    "input": "held",
    "tau": NEURONS["lif"]().tau,  # type: ignore[attr-defined]
}


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


class Builder(NamedTuple):
    """A function in a user's file that builds a network for a data set.

    Attributes
    ----------
    source
        As it was given, ``FILE.py:FUNCTION``.
    path
        The file.
    function
        Takes some of `ARGUMENTS` by name and returns a module from sequences ``[T, B, *shape]`` to
        logits ``[B, classes]``.
    names
        Those that it takes.
    """

    source: str
    path: Path
    function: Callable[..., Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, source: str) -> Builder:
        """The function that is named by ``FILE.py:FUNCTION``.

        Raises
        ------
        ConfigError
            If there is no such file or function, the file fails, or the function needs what it is
            not given.
        """
        path, name = place_of(source)
        function = _function(path, name)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            raise ConfigError(f"{source} has no signature that can be read") from None
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return cls(source, path, function, tuple(ARGUMENTS))
        needed = [one.name for one in parameters if one.default is one.empty]
        unknown = [name for name in needed if name not in ARGUMENTS]
        if unknown:
            raise ConfigError(
                f"{source} needs {', '.join(unknown)} (a function that builds a network is given "
                f"{', '.join(ARGUMENTS)}; it may take fewer)"
            )
        given = tuple(one.name for one in parameters if one.name in ARGUMENTS)
        return cls(source, path, function, given)

    def build(self, **arguments: Any) -> nn.Module:
        """The network for these, of which the function gets those that it takes.

        Raises
        ------
        ConfigError
            If the function fails or returns something else.
        """
        wanted = {name: value for name, value in arguments.items() if name in self.names}
        with _in_one_line(self.source, self.path):
            network = self.function(**wanted)
        if not isinstance(network, nn.Module):
            raise ConfigError(
                f"{self.source} must return a torch.nn.Module, got {type(network).__name__}"
            )
        return network

    def check(self, network: nn.Module, x: Tensor, classes: int) -> None:
        """See that the network makes logits of a sequence, in evaluation mode.

        Raises
        ------
        ConfigError
            If it fails, or returns something else.
        """
        training = network.training
        with torch.no_grad(), _in_one_line(self.source, self.path):
            output = network.eval()(x)
        network.train(training)
        wanted = [x.shape[1], classes]
        if not isinstance(output, Tensor) or list(output.shape) != wanted:
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ConfigError(
                f"{self.source}: of a sequence {list(x.shape)} the network must make logits "
                f"[B, classes], here {wanted}, got {got}"
            )

    @property
    def fingerprint(self) -> str:
        """What changes with the text of the file."""
        return f"{zlib.crc32(self.path.read_bytes()):08x}"


class Shown(nn.Module):
    """A network of sequences that is also given images, which it is shown at every step.

    Parameters
    ----------
    network
        From sequences ``[T, B, *shape]``.
    steps
        Steps T that an image is shown for.
    dimensions
        Of ``shape``.
    """

    def __init__(self, network: nn.Module, steps: int, dimensions: int) -> None:
        super().__init__()
        self.network, self._steps, self._dimensions = network, steps, dimensions

    def forward(self, x: Tensor) -> Any:
        """Of images ``[B, *shape]`` or sequences."""
        return self.network(direct(x, self._steps) if x.ndim == 1 + self._dimensions else x)


def architecture_of(name: str) -> Architecture:
    """The networks of that name in the registry, or those that a user's function builds.

    Raises
    ------
    SaltationError
        If there are none.
    """
    if ".py:" not in name:
        return ARCHITECTURES[choose("architecture", name, ARCHITECTURES)]
    builder = Builder.of(name)

    def build(
        shape: tuple[int, ...], classes: int, depth: int, *, steps: int, **_: Any
    ) -> nn.Module:
        made = builder.build(**PLAIN, shape=shape, classes=classes, depth=depth, steps=steps)
        return Shown(made, steps, len(shape))

    return Architecture(build, lambda depth, side: True, frozenset())


def check_architecture(source: str, images: Tensor, classes: int, depth: int, steps: int) -> None:
    """See that a user's networks make logits of images ``[B, C, H, W]``.

    Raises
    ------
    ConfigError
        If they cannot be built, fail, or return something else.
    """
    with torch.random.fork_rng(devices=[]):
        network = architecture_of(source).build(
            tuple(images.shape[1:]), classes, depth, steps=steps
        )
    Builder.of(source).check(network, direct(images, steps), classes)


def whole_source(source: str | None) -> str | None:
    """``FILE.py:FUNCTION`` as it is found from any folder.

    Raises
    ------
    ConfigError
        As of `place_of`.
    """
    if source is None:
        return None
    path, name = place_of(source)
    return f"{path.resolve()}:{name}"


def takes_nothing(source: str) -> bool:
    """Whether the function can be called without arguments, and returns its own samples.

    Raises
    ------
    ConfigError
        As of `Given.of`.
    """
    parameters = inspect.signature(Given.of(source).function).parameters.values()
    return not any(one.name in ARGUMENTS for one in parameters)


def place_of(source: str) -> tuple[Path, str]:
    """File and function that ``FILE.py:FUNCTION`` names; the file is not run.

    Raises
    ------
    ConfigError
        If it is of another form, or there is no such file.
    """
    file, _, name = source.rpartition(":")
    path = Path(file).expanduser()
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
