"""Modules without a state of their own, on sequences ``[T, B, ...]``."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.errors import SaltationError
from saltation.layers.conv import SpikeConv2d
from saltation.layers.linear import SpikeLinear

# What works on every number by itself, or on the last dimension: sequences need nothing else.
_AS_IT_IS = (
    nn.Identity, nn.Dropout, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Tanh,
    nn.Softmax, nn.LogSoftmax,
)  # fmt: skip
# What treats samples alike: steps are samples to it.
_FOLDED = (
    nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d,
    nn.LPPool2d, nn.Upsample, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, nn.Dropout2d,
    nn.ZeroPad2d,
)  # fmt: skip
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Folded:
    """Of a module that takes ``[N, ...]``: sequences, their steps as further samples."""

    def forward(self, x: Tensor) -> Any:
        made = super().forward(x.flatten(0, 1))  # type: ignore[misc]
        return made.unflatten(0, x.shape[:2])


class _ByStep(_Folded):
    """Of a batch normalisation: in training every step is normalised, and counted, by itself."""

    def forward(self, x: Tensor) -> Any:
        if not self.training and self.running_mean is not None:  # type: ignore[attr-defined]
            return super().forward(x)
        single = super(_Folded, self).forward  # type: ignore[misc]
        return torch.stack([single(step) for step in x])


def _made(mixin: type[Any], kinds: tuple[type[nn.Module], ...], name: str) -> dict[Any, Any]:
    """A class of sequences for every kind, each in this module, where pickle finds it."""
    classes = {}
    for kind in kinds:
        title = name.format(kind.__name__)
        made = type(title, (mixin, kind), {"__module__": __name__, "__doc__": kind.__doc__})
        globals()[title] = classes[kind] = made
    return classes


_OF_STEPS = _made(_Folded, (*_FOLDED, *_NORMS), "Folded{}")
_NORMS_BY_STEP = _made(_ByStep, _NORMS, "{}ByStep")


def folded(module: nn.Module) -> nn.Module:
    """A module of torch on sequences, with its own parameters."""
    made = _OF_STEPS[type(module)].__new__(_OF_STEPS[type(module)])
    made.__dict__.update(module.__dict__)
    return made  # type: ignore[no-any-return]


class HeldDropout(nn.Module):
    """Dropout with one mask for all steps of a sequence, as SpikingJelly's.

    Parameters
    ----------
    p : float
        Probability of a zero.
    channels : bool
        Whether whole channels are dropped.
    """

    def __init__(self, p: float, channels: bool) -> None:
        super().__init__()
        self.p, self.channels = p, channels

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, ...]`` to the same shape."""
        if not self.training:
            return x
        drop = functional.dropout2d if self.channels else functional.dropout
        return x * drop(torch.ones_like(x[0]), self.p, training=True)

    def extra_repr(self) -> str:
        return f"p={self.p}, channels={self.channels}"


class Voting(nn.Module):
    """The mean of every so many neighbours, ``[..., F]`` to ``[..., F / size]``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        votes: Any = x
        means: Tensor = votes.unflatten(-1, (-1, self.size)).mean(-1)
        return means

    def extra_repr(self) -> str:
        return str(self.size)


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch that a module is, or is with a step mode: nothing else is overridden."""
    kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn.")]
    own = type(module).__module__
    if not kinds or not own.startswith(("torch.nn.", "spikingjelly.activation_based.layer.")):
        return None
    return kinds[0]


def of_sequences(
    name: str, module: nn.Module, converter: str, memo: dict[int, Any], by_step: bool
) -> nn.Module:
    """A module as it works on sequences, with copies of its weights.

    Parameters
    ----------
    name
        Of the module, for messages.
    module
        One without a state: weights, pooling, normalisation and the like.
    converter
        The function that was called, for messages.
    memo
        Copies that were made, so that weights that are shared stay so.
    by_step
        Whether the original sees one step per call, which counts for batch normalisation.

    Raises
    ------
    SaltationError
        If it is not known how it would, or hooks on it would be lost.
    """
    kind = kind_of(module)
    if hasattr(module, "parametrizations"):
        raise SaltationError(
            f"'{name}' is a {type(module).__name__} with parametrisations, which {converter} would "
            f"lose: remove them first"
        )
    made: type[nn.Module] | None = None
    if kind is nn.Linear:
        made = SpikeLinear
    elif kind is nn.Conv2d:
        made = SpikeConv2d
    elif kind in _AS_IT_IS:
        made = kind
    elif kind in _NORMS:
        made = _NORMS_BY_STEP[kind] if by_step else _OF_STEPS[kind]
    elif kind in _OF_STEPS:
        made = _OF_STEPS[kind]
    elif kind is nn.Flatten:
        return _flatten(name, module)
    if made is None:
        raise SaltationError(
            f"'{name}' is a {type(module).__name__}, which {converter} cannot convert"
        )
    return _recast(module, made, memo)


def _flatten(name: str, module: Any) -> nn.Module:
    first, last = module.start_dim, module.end_dim
    if first < 1:
        raise SaltationError(f"'{name}' flattens samples together, which cannot be converted")
    return nn.Flatten(first + 1, last if last < 0 else last + 1)


def _recast(module: nn.Module, kind: type[nn.Module], memo: dict[int, Any]) -> nn.Module:
    made = kind.__new__(kind)
    attributes = {k: v for k, v in module.__dict__.items() if k != "_step_mode"}
    made.__dict__.update(copy.deepcopy(attributes, memo))
    return made


def as_it_stands(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """A copy of a module that is given sequences already."""
    return _recast(module, SpikeLinear if type(module) is nn.Linear else type(module), memo)


def is_steady(module: nn.Module) -> bool:
    """Whether a module gives the same at every step for the same input."""
    return not isinstance(module, _BatchNorm | nn.Dropout | nn.Dropout2d | HeldDropout)
