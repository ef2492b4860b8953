"""Spike functions: a step forward, the derivative of a smooth primitive backward.

With ``u = h - v_threshold`` the spike is 1 where ``u >= 0``; in every derivative (reverse mode,
forward mode, double backward) the step is replaced by the surrogate's `primitive`. Source: Neftci,
Mostafa & Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing
Magazine, 2019.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from saltation.errors import choose, positive

SURROGATES: dict[str, type[Surrogate]] = {}


@dataclass(frozen=True)
class Surrogate(ABC):
    """Base of all spike functions; a subclass names itself and appears in `SURROGATES`."""

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        SURROGATES[cls.name] = cls

    def __post_init__(self) -> None:
        for parameter in fields(self):
            positive(f"{type(self).__name__} {parameter.name}", getattr(self, parameter.name))

    @property
    @abstractmethod
    def width(self) -> float:
        """Distance from threshold at which the derivative has fallen to half its peak."""

    @abstractmethod
    def primitive(self, u: Tensor) -> Tensor:
        """The smooth function, of ``u``'s shape, whose derivative stands in for the step's."""

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """d primitive / du, of ``u``'s shape."""

    def __call__(self, u: Tensor) -> Tensor:
        """Spikes of ``u``'s shape and dtype: 1 where ``u >= 0``, else 0."""
        return _Spike.apply(u, self)  # type: ignore[no-untyped-call, no-any-return]


class _Spike(torch.autograd.Function):
    """The step function with a surrogate's derivative, in every mode of differentiation."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, surrogate: Surrogate) -> Tensor:
        return (u >= 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Tensor) -> None:
        u, ctx.surrogate = inputs
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grad * ctx.surrogate.derivative(u), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (u,) = ctx.saved_tensors
        slope: Tensor = ctx.surrogate.derivative(u)
        return tangent * slope


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """Derivative ``alpha s(alpha u) (1 - s(alpha u))``, s the logistic function."""

    name = "sigmoid"
    alpha: float = 4.0

    @property
    def width(self) -> float:
        return math.acosh(3) / self.alpha

    def primitive(self, u: Tensor) -> Tensor:
        return torch.sigmoid(self.alpha * u)

    def derivative(self, u: Tensor) -> Tensor:
        s = torch.sigmoid(self.alpha * u)
        return self.alpha * s * (1 - s)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """Derivative ``1 / (1 + slope |u|)**2`` (Zenke & Ganguli, SuperSpike, 2018)."""

    name = "fast_sigmoid"
    slope: float = 25.0

    @property
    def width(self) -> float:
        return (math.sqrt(2) - 1) / self.slope

    def primitive(self, u: Tensor) -> Tensor:
        return u / (1 + self.slope * u.abs())

    def derivative(self, u: Tensor) -> Tensor:
        return 1 / (1 + self.slope * u.abs()) ** 2


@dataclass(frozen=True)
class ATan(Surrogate):
    """Derivative ``(alpha / 2) / (1 + (pi alpha u / 2)**2)`` (Fang et al., PLIF, 2021)."""

    name = "atan"
    alpha: float = 2.0

    @property
    def width(self) -> float:
        return 2 / (math.pi * self.alpha)

    def primitive(self, u: Tensor) -> Tensor:
        return torch.atan(math.pi / 2 * self.alpha * u) / math.pi + 0.5

    def derivative(self, u: Tensor) -> Tensor:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * u) ** 2)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """Derivative ``max(0, 1 - |u| / half_width) / half_width`` (Bellec et al., LSNN, 2018)."""

    name = "triangle"
    half_width: float = 1.0

    @property
    def width(self) -> float:
        return self.half_width / 2

    def primitive(self, u: Tensor) -> Tensor:
        r = (u / self.half_width).clamp(-1, 1)
        return 0.5 + r - r * r.abs() / 2

    def derivative(self, u: Tensor) -> Tensor:
        return (1 - u.abs() / self.half_width).clamp(min=0) / self.half_width


@dataclass(frozen=True)
class Rectangle(Surrogate):
    """Derivative ``1 / (2 half_width)`` where ``|u| < half_width``, else 0 (Wu et al., 2018)."""

    name = "rectangle"
    half_width: float = 0.5

    @property
    def width(self) -> float:
        return self.half_width

    def primitive(self, u: Tensor) -> Tensor:
        return ((u / self.half_width).clamp(-1, 1) + 1) / 2

    def derivative(self, u: Tensor) -> Tensor:
        return (u.abs() < self.half_width).to(u.dtype) / (2 * self.half_width)


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """Derivative: the normal density of standard deviation ``sigma`` (Yin et al., 2020)."""

    name = "gaussian"
    sigma: float = 0.5

    @property
    def width(self) -> float:
        return self.sigma * math.sqrt(2 * math.log(2))

    def primitive(self, u: Tensor) -> Tensor:
        return (1 + torch.erf(u / (self.sigma * math.sqrt(2)))) / 2

    def derivative(self, u: Tensor) -> Tensor:
        return torch.exp(-((u / self.sigma) ** 2) / 2) / (self.sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Smooth:
    """A surrogate's primitive as the spike function itself: graded spikes, nothing replaced.

    With it a network is differentiable as it stands, so that gradients can be checked against
    finite differences.
    """

    surrogate: Surrogate

    def __call__(self, u: Tensor) -> Tensor:
        return self.surrogate.primitive(u)


def get_surrogate(surrogate: str | Surrogate | Smooth) -> Surrogate | Smooth:
    """The surrogate of that name with its default parameters; an object passes through."""
    if isinstance(surrogate, str):
        return SURROGATES[choose("surrogate", surrogate, SURROGATES)]()
    return surrogate
