"""Spike functions: a step forward, the derivative of a smooth primitive backward.

With ``u = h - v_threshold`` the spike is 1 where ``u >= 0``; in every derivative (reverse mode,
forward mode, double backward) the step is replaced by the surrogate's `primitive`. Source: Neftci,
Mostafa & Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing
Magazine, 2019.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, dataclass_transform

import torch
from torch import Tensor

from saltation.derivatives import jacobian
from saltation.errors import SaltationError, choose, positive, register, shown
from saltation.operands import Operand

SURROGATES: dict[str, type[Surrogate]] = {}


@dataclass_transform(frozen_default=True)
class Surrogate(ABC):
    """Base of all spike functions: write the primitive.

    A subclass names its parameters, with their defaults, all above 0, and defines `primitive` in
    plain torch operations. Its derivative and width follow; it may define either to have it in a
    better form. One with a ``name`` appears in `SURROGATES`. One with a parameter ``dt`` is given
    that of its layer.

    Raises
    ------
    SaltationError
        If a parameter is not a finite number above 0, or the name is taken.

    Examples
    --------
    >>> class Cauchy(st.surrogate.Surrogate):
    ...     gamma: float = 0.5
    ...
    ...     def primitive(self, u):
    ...         return u / (self.gamma + u.abs())
    >>> net = st.Sequential(st.SpikeLinear(4, 8), st.LIF(surrogate=Cauchy(0.3)))
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        document = cls.__doc__
        dataclass(frozen=True)(cls)
        cls.__doc__ = document
        if "name" in cls.__dict__:
            register("surrogate", SURROGATES, cls.name, cls)

    def __post_init__(self) -> None:
        for parameter in fields(self):  # type: ignore[arg-type]  # every subclass is one
            what = f"{type(self).__name__} {parameter.name}"
            object.__setattr__(self, parameter.name, positive(what, getattr(self, parameter.name)))

    @abstractmethod
    def primitive(self, u: Tensor) -> Tensor:
        """The smooth function, of ``u``'s shape, whose derivative stands in for the step's."""

    def derivative(self, u: Tensor) -> Tensor:
        """d primitive / du, of ``u``'s shape."""
        (_,), ((slope,),) = jacobian(lambda u: [self.primitive(u)], [u])
        return slope if isinstance(slope, Tensor | Operand) else torch.full_like(u, slope)  # type: ignore[return-value]

    @property
    def width(self) -> float:
        """Distance from threshold at which the derivative has fallen to half its peak."""
        u = torch.linspace(0, 1, 20001, dtype=torch.float64).tan()
        slope = self.derivative(u)
        return float(u[int((slope < slope[0] / 2).int().argmax())])

    def at(self, dt: float) -> Surrogate:
        """The function in steps of ``dt``: one that has a parameter of that name gets its layer's,
        all others are as they are."""
        return replace(self, dt=dt) if "dt" in self.__dataclass_fields__ else self  # type: ignore[attr-defined, type-var]

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
        e = (-abs(self.alpha * u)).exp()  # of the side without overflow
        d = 1.0 / (1.0 + e)
        return self.alpha * (e * d) * d


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
        r = 1.0 + self.slope * abs(u)
        return 1.0 / (r * r)


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
        r = math.pi / 2 * self.alpha * u
        return self.alpha / 2 / (1.0 + r * r)


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
        r = 1.0 - abs(u) / self.half_width
        return 0.5 * (r + abs(r)) / self.half_width


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
        return 1 / (2 * self.half_width) * (abs(u) < self.half_width).to(u.dtype)


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
        r = u / self.sigma
        return 1 / (self.sigma * math.sqrt(2 * math.pi)) * (-(0.5 * (r * r))).exp()


class EscapeNoise(Surrogate):
    """Derivative of the probability with which escape noise fires in a step: it knows dt.

    A neuron a distance u from threshold fires with hazard ``rho = rate exp(u / delta)``, so in a
    step with ``p = 1 - exp(-rho dt)``. Below threshold the derivative is ``p' = rho' dt
    exp(-rho dt)``. It falls with dt as the number of steps grows, so that gradients and tangent
    exponents per unit of time converge; other surrogates have more of both, the smaller the step.
    Where there is a spike, ``u >= 0``, it is that of log p, ``p' / p``, which is ``1 / delta`` for
    small steps: with p', a neuron that is reset would lose another log dt at every spike.

    Parameters
    ----------
    rate : float, default 0.1
        Hazard at threshold, per unit of time of ``dt``.
    delta : float, default 0.8
        Distance over which the hazard grows by e.
    dt : float, default 1
        Length of a step. A layer puts its own in its place.

    References
    ----------
    Gerstner, Kistler, Naud & Paninski, "Neuronal Dynamics", 2014, chapter 9 (escape noise);
    Pfister, Toyoizumi, Barber & Gerstner, "Optimal spike-timing-dependent plasticity for precise
    action potential firing", Neural Computation, 2006 (``p' / p`` at spikes); Gygax & Zenke,
    "Elucidating the theoretical underpinnings of surrogate gradient learning in spiking neural
    networks", Neural Computation, 2025 (surrogates as derivatives of escape noise).
    """

    name = "escape_noise"
    rate: float = 0.1
    delta: float = 0.8
    dt: float = 1.0

    @property
    def width(self) -> float:
        """Above threshold: below it the derivative is small from the first."""
        r = self.rate * self.dt
        half = r / math.expm1(r) / 2
        # Where r / (exp(r) - 1) has this value, by Lambert's function.
        from scipy.special import lambertw  # the import takes long

        there = -half - float(lambertw(-half * math.exp(-half), -1).real)
        return self.delta * math.log(there / r)

    def _expected(self, u: Tensor) -> Tensor:
        """``rho dt``, the expected number of spikes in a step."""
        # Beyond e^30 nothing is left of the derivative, and everything is finite.
        return self.rate * self.dt * torch.clamp(u / self.delta, max=30.0).exp()

    def primitive(self, u: Tensor) -> Tensor:
        below = -torch.expm1(-self._expected(torch.clamp(u, max=0.0)))
        above = -torch.expm1(-self._expected(torch.clamp(u, min=0.0)))
        at = -math.expm1(-self.rate * self.dt)
        return below + (above / at).log()

    def derivative(self, u: Tensor) -> Tensor:
        r = self._expected(u)
        slope = r * (-r).exp() / self.delta
        # Of the other side it is not to be divided by what may be 0.
        spike = -torch.expm1(-self._expected(torch.clamp(u, min=0.0)))
        return torch.where(u >= 0.0, slope / spike, slope)


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

    def at(self, dt: float) -> Smooth:
        """The function in steps of ``dt``; see `Surrogate.at`."""
        return Smooth(self.surrogate.at(dt))

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
