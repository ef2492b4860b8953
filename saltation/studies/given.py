"""Networks that a function in a user's file returns: for one batch, or for any data set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import BeforeValidator
from torch import Tensor, nn

from saltation import usercode
from saltation.encoding import direct
from saltation.errors import ConfigError, choose
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


FORM = "a network is given as FILE.py:FUNCTION"
# What functions take and the fingerprints of their files, of files that may be gone.
_REMEMBERED: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {}


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
        with usercode.in_one_line(f"{self.path}:{name}", self.path):
            given = self.function()
        _check(self.source, given)
        network, x, y, *losses = given
        return network, x, y, losses[0] if losses else None

    def in_one_line(self) -> AbstractContextManager[None]:
        """Within the block errors of the user's own code are one line, with its place."""
        return usercode.in_one_line("the network or its loss", self.path)


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
    fingerprint
        What changes with the text of the file.
    """

    source: str
    path: Path
    function: Callable[..., Any]
    names: tuple[str, ...]
    fingerprint: str

    @classmethod
    def of(cls, source: str) -> Builder:
        """The function that is named by ``FILE.py:FUNCTION``.

        Of a file that is gone, what a study remembers of it: that builds no network.

        Raises
        ------
        ConfigError
            If there is no such file or function, the file fails, or the function needs what it is
            not given.
        """
        path, name = place_of(source)
        if not path.is_file():
            return cls(source, path, _gone, *_REMEMBERED[str(path), name])
        text = path.read_bytes()
        return cls(
            source,
            path,
            lambda **arguments: _function(path, name, text)(**arguments),
            _names(source, _parameters(source, path, name, text)),
            usercode.fingerprint(text),
        )

    @property
    def is_gone(self) -> bool:
        """Whether its file is not there any more."""
        return not self.path.is_file()

    def build(self, **arguments: Any) -> nn.Module:
        """The network for these, of which the function gets those that it takes.

        Raises
        ------
        ConfigError
            If the function fails or returns something else.
        """
        wanted = {name: value for name, value in arguments.items() if name in self.names}
        with usercode.in_one_line(self.source, self.path):
            network = self.function(**wanted)
        if not isinstance(network, nn.Module):
            raise ConfigError(
                f"{self.source} must return a torch.nn.Module, got {type(network).__name__}"
            )
        return network

    def check(
        self,
        network: nn.Module,
        x: Tensor,
        classes: int,
        *,
        of_steps: bool = False,
        mask: Tensor | None = None,
    ) -> None:
        """See that the network makes logits of a sequence, in evaluation mode; or, where targets
        are ``of_steps``, as many numbers at every step.

        Raises
        ------
        ConfigError
            If it fails, returns something else, or takes no ``mask`` where there is one.
        """
        training = network.training
        if mask is not None and "mask" not in inspect.signature(network.forward).parameters:
            raise ConfigError(
                f"{self.source}: samples are of different lengths, so the network must take a mask "
                "[T, B] too and look at these steps alone: forward(x, mask=None), as st.Sequential"
            )
        with torch.no_grad(), usercode.in_one_line(self.source, self.path):
            output = network.eval()(x)  # as it is probed, over all steps
            output = output if mask is None else network(x, mask)
        network.train(training)
        wanted = [*x.shape[:2], classes] if of_steps else [x.shape[1], classes]
        form = "outputs [T, B, k]" if of_steps else "logits [B, classes]"
        if not isinstance(output, Tensor) or list(output.shape) != wanted:
            got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ConfigError(
                f"{self.source}: of a sequence {list(x.shape)} the network must make "
                f"{form}, here {wanted}, got {got}"
            )


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


def check_architecture(source: str, x_seq: Tensor, classes: int, depth: int) -> None:
    """See that a user's networks make logits of sequences ``[T, B, *shape]``.

    Raises
    ------
    ConfigError
        If they cannot be built, fail, or return something else.
    """
    with torch.random.fork_rng(devices=[]):
        network = architecture_of(source).build(
            tuple(x_seq.shape[2:]), classes, depth, steps=len(x_seq)
        )
    Builder.of(source).check(network, x_seq, classes)


def whole_source(source: Any) -> str | None:
    """``FILE.py:FUNCTION`` as it is found from any folder, of that text or of the function itself.

    Raises
    ------
    ConfigError
        As of `place_of` and `usercode.source_of`.
    """
    if source is None:
        return None
    if not isinstance(source, str):
        source = usercode.source_of(source)
    path, name = place_of(source)
    return f"{path.resolve()}:{name}"


Source = Annotated[str, BeforeValidator(whole_source)]
"""A function in a user's file, in a config."""


def takes_nothing(source: str) -> bool:
    """Whether the function can be called without arguments, and returns its own samples.

    Raises
    ------
    ConfigError
        As of `Builder.of`.
    """
    path, name = place_of(source)
    if not path.is_file():
        return not Builder.of(source).names
    parameters = _parameters(source, path, name, path.read_bytes())
    return not any(one.name in ARGUMENTS for one in parameters)


def remember(source: str, names: Iterable[str], fingerprint: str) -> None:
    """Keep what a study found of a function, for when its file is not there any more."""
    path, name = usercode.split(source, FORM)
    _REMEMBERED[str(path.resolve()), name] = (tuple(names), fingerprint)


def place_of(source: str) -> tuple[Path, str]:
    """File and function that ``FILE.py:FUNCTION`` names; the file is not run.

    Raises
    ------
    ConfigError
        If it is of another form, or there is no such file and none that is remembered.
    """
    path, name = usercode.split(source, FORM)
    if not path.is_file() and (str(path), name) not in _REMEMBERED:
        raise ConfigError(f"there is no file {path}")
    return path, name


@lru_cache(maxsize=32)
def _parameters(source: str, path: Path, name: str, text: bytes) -> tuple[inspect.Parameter, ...]:
    """Those of a function; the file is run to see them, once as long as it says the same."""
    function = _function(path, name, text)
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise ConfigError(f"{source} has no signature that can be read") from None


def _names(source: str, parameters: tuple[inspect.Parameter, ...]) -> tuple[str, ...]:
    """Those of `ARGUMENTS` that a function takes."""
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return tuple(ARGUMENTS)
    needed = [one.name for one in parameters if one.default is one.empty]
    unknown = [name for name in needed if name not in ARGUMENTS]
    if unknown:
        raise ConfigError(
            f"{source} needs {', '.join(unknown)} (a function that builds a network is given "
            f"{', '.join(ARGUMENTS)}; it may take fewer)"
        )
    return tuple(one.name for one in parameters if one.name in ARGUMENTS)


def _gone(**_: Any) -> nn.Module:
    raise ConfigError("the file of the network is not there any more")


def _function(path: Path, name: str, text: bytes | None = None) -> Callable[..., Any]:
    """The function of that name; the file is run anew, so that no network shares what it makes."""
    module = usercode.execute(path, f"_diagnosed_{path.stem}", text)
    found = getattr(module, name, None)
    if not callable(found):
        raise ConfigError(f"{path} has no function '{name}'")
    function: Callable[..., Any] = found
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
