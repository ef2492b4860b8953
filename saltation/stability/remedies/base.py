"""What every remedy is: the findings it answers, what it costs, and what it does to a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop import adapt
from saltation.stability.taken import taken
from saltation.stepping import Stepped

REMEDIES: dict[str, type[Remedy]] = {}

# What restored learning most often, of those that answer a finding: `python -m benchmarks.faults`.
_BEST = {
    "exploding gradient": "surrogate_width",
    "vanishing gradient": "surrogate_width",
    "modes disagree": "statistics_per_step",
    "does not learn": "relay_start",
}


@dataclass(frozen=True)
class Treatment:
    """What a remedy did to a network.

    Attributes
    ----------
    remedy : str
        Its name.
    changed : dict
        By the name of a module, what of it was changed, in words.
    measured : str
        What was measured before and after, in words.
    before, after : dict
        By the name of a layer of neurons or a mode, the measured number.
    """

    remedy: str
    changed: dict[str, str]
    measured: str
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.remedy}: {self.measured}"]
        for name, value in self.before.items():
            changed = f"  ({self.changed[name]})" if name in self.changed else ""
            lines.append(
                f"  {name}: {value:.3g} -> {self.after.get(name, float('nan')):.3g}{changed}"
            )
        lines += [f"  {n}: {what}" for n, what in self.changed.items() if n not in self.before]
        return "\n".join(lines)


class Remedy(ABC):
    """Base of the remedies; a subclass that names itself appears in `REMEDIES`.

    Attributes
    ----------
    name : str
        By which it is known.
    answers : tuple of str
        Kinds of the findings of `diagnose` that it is for.
    what : str
        What it does, in one line.
    cost : str
        What it costs, then and later.
    """

    name: ClassVar[str]
    answers: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    cost: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            REMEDIES[cls.name] = cls

    def apply(self, network: nn.Module | Stepped, x: Tensor, y: Tensor | None = None) -> Treatment:
        """Change a network in place, and measure what that does.

        Networks are those of `saltation.adapt`. They are looked at as training sees them: with the
        statistics of the batch in normalisations, and without dropout.

        Parameters
        ----------
        network : Module or Stepped
            The network.
        x : Tensor
            A batch of its input, as `diagnose` takes it.
        y : Tensor, optional
            Labels; no remedy of this package needs them.

        Returns
        -------
        Treatment

        Raises
        ------
        SaltationError
            If it does not fit the network or would change nothing. The network is then as it was.
        """
        given = network if isinstance(network, Stepped) else adapt(network)
        with as_trained(given.network), whole_or_not(given.network), torch.no_grad():
            return self._apply(*taken(given, x))

    @abstractmethod
    def _apply(self, whole: Stepped, x: Tensor) -> Treatment:
        """Change the network; whatever was changed before an error is undone."""

    def refused(self, why: str) -> SaltationError:
        """The error that says why."""
        return SaltationError(f"{self.name} was not applied: {why}. The network is as it was")


def remedies_for(finding: str) -> list[str]:
    """Names of the remedies that answer a kind of finding, the best first.

    First stands what did best in networks with planted faults; else a remedy lists the findings it
    answers from the one that it is most for.
    """
    fitting = [
        (-1 if _BEST.get(finding) == name else cls.answers.index(finding), name)
        for name, cls in REMEDIES.items()
        if finding in cls.answers
    ]
    return [name for _, name in sorted(fitting, key=lambda one: one[0])]


@contextmanager
def as_trained(network: nn.Module) -> Iterator[None]:
    """Within the block the network is in training mode; afterwards each module in its own."""
    modes = {module: module.training for module in network.modules()}
    network.train()
    try:
        yield
    finally:
        for module in network.modules():
            module.training = modes.get(module, modes[network])


@contextmanager
def whole_or_not(network: nn.Module) -> Iterator[None]:
    """Undo what the block did to modules, parameters, buffers and attributes if it ends in an
    error."""
    kept: list[tuple[nn.Module, dict[str, Any], list[Any]]] = []
    values: list[tuple[Tensor, Tensor]] = []
    for module in network.modules():
        kept.append((module, dict(module.__dict__), [dict(part) for part in _parts(module)]))
        values += [
            (tensor, tensor.detach().clone())
            for tensor in (*module._parameters.values(), *module._buffers.values())
            if tensor is not None
        ]
    try:
        yield
    except BaseException:
        for module, attributes, inner in kept:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for own, before in zip(_parts(module), inner, strict=True):
                own.clear()
                own.update(before)
        with torch.no_grad():
            for tensor, value in values:
                tensor.copy_(value)
        raise


def _parts(module: nn.Module) -> list[Any]:
    """The dictionaries in which a module holds what is not an attribute."""
    hooks = (module._forward_pre_hooks, module._forward_hooks)
    return [module._parameters, module._buffers, module._modules, *hooks]
