"""Spike functions: a step forward, the derivative of a smooth primitive backward.

With ``u = h - v_threshold`` the spike is 1 where ``u >= 0``; in every derivative (reverse mode,
forward mode, double backward) the step is replaced by the surrogate's `primitive`. Source: Neftci,
Mostafa & Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing
Magazine, 2019.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from saltation.errors import SaltationError, choose, positive, register, shown

SURROGATES: dict[str, type[Surrogate]] = {}


# The derivatives stand here once, in operators and methods of ``u`` and numbers that all come from
# one tuple, so that the same functions serve torch tensors of any dtype and the vectors of compiled
# loops. The type of the tuple names the function.


class SigmoidSlope(NamedTuple):
    """Numbers of `sigmoid_slope`."""

    alpha: float
    one: float = 1.0


def sigmoid_slope(u: Any, n: SigmoidSlope) -> Any:
    """``alpha s (1 - s)`` with s the logistic function of ``alpha u``."""
    e = (-abs(n.alpha * u)).exp()
    d = n.one / (n.one + e)
    return n.alpha * (e * d) * d


class FastSigmoidSlope(NamedTuple):
    """Numbers of `fast_sigmoid_slope`."""

    slope: float
    one: float = 1.0


def fast_sigmoid_slope(u: Any, n: FastSigmoidSlope) -> Any:
    """``1 / (1 + slope |u|)**2``."""
    r = n.one + n.slope * abs(u)
    return n.one / (r * r)


class ATanSlope(NamedTuple):
    """Numbers of `atan_slope`."""

    half_alpha: float
    scale: float
    one: float = 1.0


def atan_slope(u: Any, n: ATanSlope) -> Any:
    """``(alpha / 2) / (1 + (pi alpha u / 2)**2)``."""
    r = n.scale * u
    return n.half_alpha / (n.one + r * r)


class TriangleSlope(NamedTuple):
    """Numbers of `triangle_slope`."""

    half_width: float
    one: float = 1.0
    half: float = 0.5


def triangle_slope(u: Any, n: TriangleSlope) -> Any:
    """``max(0, 1 - |u| / half_width) / half_width``."""
    r = n.one - abs(u) / n.half_width
    return n.half * (r + abs(r)) / n.half_width


class RectangleSlope(NamedTuple):
    """Numbers of `rectangle_slope`."""

    half_width: float
    height: float


def rectangle_slope(u: Any, n: RectangleSlope) -> Any:
    """``height`` where ``|u| < half_width``, else 0."""
    return n.height * (abs(u) < n.half_width).to(u.dtype)


class GaussianSlope(NamedTuple):
    """Numbers of `gaussian_slope`."""

    sigma: float
    height: float
    half: float = 0.5


def gaussian_slope(u: Any, n: GaussianSlope) -> Any:
    """``height exp(-(u / sigma)**2 / 2)``."""
    r = u / n.sigma
    return n.height * (-(n.half * (r * r))).exp()


SLOPES: dict[type[Any], Callable[[Any, Any], Any]] = {
    SigmoidSlope: sigmoid_slope,
    FastSigmoidSlope: fast_sigmoid_slope,
    ATanSlope: atan_slope,
    TriangleSlope: triangle_slope,
    RectangleSlope: rectangle_slope,
    GaussianSlope: gaussian_slope,
}


@dataclass(frozen=True)
class Surrogate(ABC):
    """Base of all spike functions; a subclass that names itself appears in `SURROGATES`.

    A subclass gives `numbers` for one of the functions in `SLOPES`, or overrides `derivative`, with
    which it runs in the reference loop alone.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            register("surrogate", SURROGATES, cls.name, cls)

    def __post_init__(self) -> None:
        for parameter in fields(self):
            what = f"{type(self).__name__} {parameter.name}"
            object.__setattr__(self, parameter.name, positive(what, getattr(self, parameter.name)))

    @property
    @abstractmethod
    def width(self) -> float:
        """Distance from threshold at which the derivative has fallen to half its peak."""

    @abstractmethod
    def primitive(self, u: Tensor) -> Tensor:
        """The smooth function, of ``u``'s shape, whose derivative stands in for the step's."""

    @property
    def numbers(self) -> Any:
        """The numbers of the derivative; their type is a key of `SLOPES`."""
        raise NotImplementedError(f"{type(self).__name__} gives neither numbers nor a derivative")

    def derivative(self, u: Tensor) -> Tensor:
        """d primitive / du, of ``u``'s shape."""
        numbers = self.numbers
        slope: Tensor = SLOPES[type(numbers)](u, numbers)
        return slope

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

    @property
    def numbers(self) -> SigmoidSlope:
        return SigmoidSlope(self.alpha)


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

    @property
    def numbers(self) -> FastSigmoidSlope:
        return FastSigmoidSlope(self.slope)


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

    @property
    def numbers(self) -> ATanSlope:
        return ATanSlope(self.alpha / 2, math.pi / 2 * self.alpha)


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

    @property
    def numbers(self) -> TriangleSlope:
        return TriangleSlope(self.half_width)


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

    @property
    def numbers(self) -> RectangleSlope:
        return RectangleSlope(self.half_width, 1 / (2 * self.half_width))


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

    @property
    def numbers(self) -> GaussianSlope:
        return GaussianSlope(self.sigma, 1 / (self.sigma * math.sqrt(2 * math.pi)))


@dataclass(frozen=True)
class Smooth:
    """A surrogate's primitive as the spike function itself: graded spikes, nothing replaced.

    With it a network is differentiable as it stands, so that gradients can be checked against
    finite differences.
    """

    surrogate: Surrogate

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Surrogate):
            raise SaltationError(
                f"Smooth takes a surrogate such as Sigmoid(4.0), got {shown(self.surrogate)}"
            )

    def __call__(self, u: Tensor) -> Tensor:
        return self.surrogate.primitive(u)


def get_surrogate(surrogate: Any) -> Surrogate | Smooth:
    """The surrogate of that name with its default parameters; an object passes through.

    Raises
    ------
    SaltationError
        If there is no surrogate of that name, or it is a class or another callable.
    """
    if isinstance(surrogate, str):
        return SURROGATES[choose("surrogate", surrogate, SURROGATES)]()
    if isinstance(surrogate, Surrogate | Smooth):
        return surrogate
    ours = isinstance(surrogate, type) and issubclass(surrogate, Surrogate | Smooth)
    hint = f": write {surrogate.__name__}(...)" if ours else ""
    raise SaltationError(
        f"surrogate must be a name or an object of saltation.surrogate, got {shown(surrogate)}"
        f"{hint} (allowed: {', '.join(SURROGATES)})"
    )
