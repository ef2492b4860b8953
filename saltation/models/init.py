"""Initial weights of convolutional networks, by name.

Behind batch normalisation the size of a convolution's weights does not change what the network
computes in training, but gradients are inverse to it. Biases are 0. To reach a given growth of
perturbations instead, see `saltation.set_depth_growth` and `saltation.set_lyapunov`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def _without_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _kaiming(module: nn.Module) -> None:
    """Convolutions normal with variance 2 / fan_out (He et al., 2015), linear layers uniform with
    variance 2 / (fan_in + fan_out) (Glorot & Bengio, 2010)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        _without_bias(module)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        _without_bias(module)


def _scaled(module: nn.Module) -> None:
    """Convolutions half as large as with ``kaiming``, linear layers orthogonal with gain 1/2."""
    _kaiming(module)
    if isinstance(module, nn.Conv2d):
        with torch.no_grad():
            module.weight.mul_(0.5)
    elif isinstance(module, nn.Linear):
        nn.init.orthogonal_(module.weight, gain=0.5)


def _truncated(module: nn.Module) -> None:
    """Normal with deviation 0.02, as vision transformers have it (Dosovitskiy et al., 2021)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        _without_bias(module)


INITS: dict[str, Callable[[nn.Module], None]] = {
    "kaiming": _kaiming,
    "scaled": _scaled,
    "truncated": _truncated,
}
