"""What a network is trained with: surrogate, normalisation, initial weights, loss and remedies.

Studies compare several recipes of the same network on the same seeds. What a recipe does not name
is what the architecture has by itself; of ``vgg`` that is the depth benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from torch import Tensor, nn

from saltation.data import Dataset, batches
from saltation.errors import ConfigError, SaltationError, choose
from saltation.models import ARCHITECTURES
from saltation.models.blocks import NORMS
from saltation.models.init import INITS
from saltation.stability import REMEDIES, cure
from saltation.studies.given import architecture_of
from saltation.surrogate import SURROGATES, Surrogate

OWN, NONE, CURE = "own", "none", "cure"
LOSSES = ("cross_entropy", "tet")
# Training samples, the first in stored order and at most so many, that remedies look at, and that a
# cure is found on. Of a few hundred a trial learns by heart and cannot tell which rate suits.
_TREATED, _CURED = 64, 2048


@dataclass(frozen=True)
class Recipe:
    """One way to make a network learn.

    Attributes
    ----------
    surrogate
        ``own``, or a name in `SURROGATES`, alone or with its parameter: ``sigmoid:2``.
    batch_norm
        ``own``, or a name in `NORMS`.
    init
        ``kaiming`` or another name in `INITS`.
    loss
        A name in `LOSSES`.
    remedies
        ``none``, ``cure``, or names in `REMEDIES` joined by ``+``, applied in this order.
    """

    surrogate: str = OWN
    batch_norm: str = OWN
    init: str = "kaiming"
    loss: str = "cross_entropy"
    remedies: str = NONE

    @property
    def settings(self) -> dict[str, str]:
        """Of a trial: what differs from the architecture's own, so that trials without a recipe
        are those of studies from before there was a choice."""
        own = asdict(Recipe())
        return {name: value for name, value in asdict(self).items() if value != own[name]}

    @classmethod
    def of(cls, trial: Mapping[str, Any]) -> Recipe:
        """The recipe in the settings of a trial."""
        return cls(**{name: trial[name] for name in asdict(cls()) if trial.get(name) is not None})

    def __str__(self) -> str:
        """Its settings in a few words; empty where it has none."""
        return ", ".join(self.settings.values())

    def check(self, arch: str) -> None:
        """See whether networks of that architecture can be made so.

        Raises
        ------
        ConfigError, SaltationError
            If a name is unknown, or the architecture does not take it.
        """
        if self.surrogate != OWN:
            surrogate_of(self.surrogate)
        if self.batch_norm != OWN:
            choose("batch_norm", self.batch_norm, (OWN, *NORMS))
        choose("init", self.init, INITS)
        choose("loss", self.loss, LOSSES)
        for name in remedies_of(self.remedies):
            choose("remedy", name, (NONE, CURE, *REMEDIES))
        takes = architecture_of(arch).takes
        asked = {
            "surrogate": self.surrogate != OWN,
            "batch_norm": self.batch_norm != OWN,
            "per_step": self.loss == "tet",
        }
        for option, wanted in asked.items():
            if wanted and option not in takes:
                what = "loss 'tet'" if option == "per_step" else option
                able = ", ".join(n for n, kind in ARCHITECTURES.items() if option in kind.takes)
                raise ConfigError(
                    f"architecture '{arch}' has no choice of {what} (allowed: {able})"
                )

    @property
    def options(self) -> dict[str, Any]:
        """Of the network's constructor."""
        given: dict[str, Any] = {}
        if self.surrogate != OWN:
            given["surrogate"] = surrogate_of(self.surrogate)
        if self.batch_norm != OWN:
            given["batch_norm"] = self.batch_norm
        return given


def recipes(
    surrogates: list[str],
    batch_norms: list[str],
    inits: list[str],
    losses: list[str],
    remedies: list[str],
) -> list[Recipe]:
    """All combinations, the first of each option first."""
    return [Recipe(*one) for one in product(surrogates, batch_norms, inits, losses, remedies)]


def surrogate_of(text: str) -> Surrogate:
    """``NAME`` or ``NAME:PARAMETER`` as a surrogate.

    Raises
    ------
    SaltationError
        If the name is unknown, or the parameter no number that it may be.
    """
    name, colon, value = text.partition(":")
    kind = SURROGATES[choose("surrogate", name, (OWN, *SURROGATES))]
    if not colon:
        return kind()
    try:
        return kind(float(value))  # type: ignore[call-arg]
    except ValueError as error:
        if isinstance(error, SaltationError):
            raise
        raise ConfigError(
            f"a surrogate is NAME or NAME:NUMBER, such as sigmoid:2, got '{text}'"
        ) from None


def remedies_of(text: str) -> list[str]:
    """The names in ``a+b``."""
    return text.split("+")


@dataclass(frozen=True)
class Treated:
    """A network with its remedies.

    Attributes
    ----------
    network
        The one that was given, or a cured copy.
    lr
        The learning rate; a cure may have found that a smaller one is needed.
    applied, refused
        Number of remedies that changed it, and of those that did not fit it.
    """

    network: nn.Module
    lr: float
    applied: int = 0
    refused: int = 0


def treated(
    network: nn.Module,
    text: str,
    data: Dataset,
    lr: float,
    seed: int,
    given: Callable[[Any], Tensor],
) -> Treated:
    """Apply the remedies of a recipe to a network, in place where it is not a cure.

    A remedy that does not fit the network leaves it as it is, and is counted. ``given`` makes of
    samples what the network is called with.
    """
    if text == NONE:
        return Treated(network, lr)
    found = Treated(network, lr)
    for name in remedies_of(text):
        if name == NONE:
            continue
        images, y = _first(data, _CURED if name == CURE else _TREATED)
        x = given(images)
        try:
            if name == CURE:
                cured = cure(found.network, x, y, lr=lr, seed=seed)
                kept = len(cured.treatments)
                found = replace(
                    found, network=cured.network, lr=cured.lr, applied=found.applied + kept
                )
            else:
                REMEDIES[name]().apply(found.network, x, y)
                found = replace(found, applied=found.applied + 1)
        except SaltationError:
            found = replace(found, refused=found.refused + 1)
    return found


def _first(data: Dataset, samples: int) -> tuple[Any, Tensor]:
    batch = next(batches(data.train, min(samples, len(data.train))))
    return batch.images, batch.labels
