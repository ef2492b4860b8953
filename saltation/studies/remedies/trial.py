"""A trial of the remedies study: its network, and its remedies."""

from __future__ import annotations

from typing import Any, NamedTuple, NotRequired

from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.stability import REMEDIES, cure
from saltation.stability.cure_trials import CureTrials
from saltation.stepping import Stepped
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.given import architecture_of
from saltation.studies.recipes import CURE, NONE, Recipe, remedies_of

# Recipes of networks that learn, for faults to be planted in; others have what is their own.
_HEALTHY = {"surrogate": "sigmoid:2", "batch_norm": "all"}


class RemediesTrial(TrialSettings):
    """The settings of a trial."""

    network: str
    fault: str
    remedy: str
    batch_size: int
    lr: float
    passes: int
    code: NotRequired[str]
    # Not of networks that come with samples of their own.
    depth: NotRequired[int]
    base_channels: NotRequired[int]
    T: NotRequired[int]
    side: NotRequired[int]
    dataset: NotRequired[str]
    samples: NotRequired[int]


class Task(NamedTuple):
    """What a network is to learn.

    Attributes
    ----------
    network
        As it is before any fault; weights are what torch's generator gives.
    x, y
        Samples and labels, to learn from and to be judged by.
    loss
        ``(output, y) -> scalar``, None for the default.
    """

    network: nn.Module | Stepped
    x: Tensor
    y: Tensor
    loss: Any


def made_of(trial: RemediesTrial, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network that learns, of those that can be made to any depth."""
    kind = architecture_of(trial["network"])
    recipe = Recipe(**{name: value for name, value in _HEALTHY.items() if name in kind.takes})
    return kind.build(
        shape,
        classes,
        trial["depth"],
        base_channels=trial["base_channels"],
        steps=trial["T"],
        init="kaiming",
        **recipe.options,
    )


def treated(
    trials: CureTrials, network: nn.Module, trial: RemediesTrial, loss: Any
) -> tuple[nn.Module, float, int, int]:
    """The network with its remedies, the learning rate, and how many were applied and refused."""
    lr, applied, refused = trial["lr"], 0, 0
    for name in remedies_of(trial["remedy"]):
        if name == NONE:
            continue
        adapted = trials.adapted(network)
        try:
            if name == CURE:
                x, y = trials.learnt
                cured = cure(adapted, x, y, loss=loss, lr=lr, seed=trial["seed"])
                network, lr = cured.network, cured.lr
                applied += len(cured.treatments)
            else:
                REMEDIES[name]().apply(adapted, trials.sample)
                applied += 1
        except SaltationError:
            refused += 1
    return network, lr, applied, refused
