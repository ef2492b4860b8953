"""How long a step a model may take: its linearisation, the limit of its scheme, and warnings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from saltation.derivatives import jacobian
from saltation.errors import SaltationError, StabilityWarning, UnitWarning
from saltation.neurons import linear, made
from saltation.neurons.linear import on_cpu, shared
from saltation.operands import NoRuleError
from saltation.schemes import SCHEMES, Scheme, get_scheme, stacked

# Steps in the shortest and longest time constant, beyond which its unit is doubted: a step of ten
# time constants leaves nothing of the potential.
_FEWEST, _MOST = 0.1, 1000.0


class Limits:
    """What follows from a model's equations and scheme for its step; a part of `Neuron`."""

    is_map: ClassVar[bool]
    title: ClassVar[str]
    State: ClassVar[Any]
    schemes: ClassVar[Any]
    dt: float
    scheme: str
    fixed_point: Any

    def velocity(self, x: Any, *state: Any) -> Sequence[Any]:
        raise NotImplementedError

    @classmethod
    def parameters(cls) -> list[str]:
        raise NotImplementedError

    @property
    @on_cpu
    def jacobian(self) -> NDArray[Any]:
        """Jacobian ``[n, n]`` of the ODE at the resting state, per unit of time; ``[..., n, n]``
        where a parameter is a tensor."""
        point = [linear.number_of(part) for part in self.fixed_point]
        _, rows = jacobian(lambda *y: self.velocity(0.0, *y), point)
        return linear.matrix(rows).detach().numpy()

    @cached_property
    @shared
    def stiffness(self) -> float:
        """A bound on the norm of ``dt J`` where the potential usually is, J the Jacobian."""
        return linear.stiffness(self)

    def rates(self, x: float, state: Any) -> NDArray[np.float64]:
        """`velocity` of states ``[n]``, or ``[n, N]`` of N points, in float64."""
        try:
            return np.array(np.broadcast_arrays(*self.velocity(x, *state)))
        except TypeError:  # torch's functions take no numbers
            point = (linear.number_of(part) for part in state)
            return stacked(self.velocity(x, *point), 0).numpy()

    def linearised(self, x: float, state: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """`velocity` at one point ``[n]``, and its Jacobian there ``[n, n]``, in float64."""
        point: list[Any] = [float(part) for part in state]
        try:
            f, rows = jacobian(lambda *y: self.velocity(x, *y), point)
        except (TypeError, NoRuleError):  # as above
            point = list(map(linear.number_of, point))
            f, rows = jacobian(lambda *y: self.velocity(x, *y), point)
        return np.array(list(map(float, f))), np.array([list(map(float, row)) for row in rows])

    @property
    def limit_formula(self) -> str:
        """The limit on dt in terms of the parameters, where it has such a form; else empty."""
        return ""

    @property
    def stability_scheme(self) -> Scheme:
        if self.is_map:
            raise SaltationError(no_scheme(self.title))
        return get_scheme(self.scheme)

    @cached_property
    @shared
    def dt_limit(self) -> float:
        """Largest stable ``dt`` of the scheme at the resting state; ``inf`` if none."""
        scheme = self.stability_scheme
        return min(scheme.dt_limit(one) for one in linear.each(self.jacobian))

    @cached_property
    @shared
    def is_stable(self) -> bool:
        """Whether a small perturbation of the resting state does not grow from step to step."""
        if self.is_map:
            return True
        try:
            modes = linear.each(self.jacobian)
        except SaltationError:  # nothing rests
            return True
        return all(self.stability_scheme.is_stable(one, self.dt) for one in modes)

    @property
    def time_constants(self) -> dict[str, float]:
        """Those of the equations by name, in the unit of ``dt``; of a tensor its mean."""
        names = [name for name in self.parameters() if name.startswith("tau")]
        return {name: made.mean(getattr(self, name)) for name in names}

    def warn_of_units(self, stacklevel: int = 2) -> None:
        """Emit a `UnitWarning` if a time constant and dt look as if in two units of time."""
        for name, tau in self.time_constants.items():
            if not _FEWEST < tau / self.dt < _MOST:
                few = tau < self.dt
                many = (
                    f"{self.dt / tau:.4g} {name} in a step"
                    if few
                    else (f"{tau / self.dt:.4g} steps in {name}")
                )
                warnings.warn(
                    f"{self.title} with {name} = {tau:g} and dt = {self.dt:g} has {many}: give "
                    "both in the same unit of time, such as milliseconds",
                    UnitWarning,
                    stacklevel=stacklevel + 1,
                )
                return

    def warn_if_unstable(self, stacklevel: int = 2) -> None:
        """Emit a `StabilityWarning` if the step is outside the scheme's limit."""
        if not self.is_stable:
            warnings.warn(self.stability_message(), StabilityWarning, stacklevel=stacklevel + 1)

    def stability_message(self) -> str:
        """What is unstable, up to which dt it would not be, and which schemes have no limit."""
        scheme, every = self.stability_scheme, linear.each(self.jacobian)
        here = max(every, key=lambda one: scheme.radius(one, self.dt))  # the least stable neuron
        modes = np.linalg.eigvals(here)
        if modes.real.max() >= 0:
            return (
                f"the resting state of {self.title} is itself unstable with these parameters "
                f"(eigenvalue {_show(modes[modes.real.argmax()])}), whatever the scheme and dt."
            )
        factors = np.linalg.eigvals(scheme.amplification(here, self.dt))
        factor = factors[np.abs(factors).argmax()]
        oscillates = " and changes its sign" if abs(factor.imag) < 1e-12 and factor.real < 0 else ""
        free = [s for s in self.schemes if np.isinf(SCHEMES[s].dt_limit(here))]
        formula = f" (= {self.limit_formula})" if self.limit_formula else ""
        return (
            f"{self.title} with scheme '{self.scheme}' and dt = {self.dt:g} is outside the "
            f"scheme's stability limit dt <= {self.dt_limit:.4g}{formula}: "
            f"{self.mode_name(modes, factors)} decays in the equations, but every step multiplies "
            f"it by {_show(factor)}{oscillates}, so it grows between spikes. Use dt <= "
            f"{self.dt_limit:.4g}, or a scheme without a limit: {', '.join(free)}. Stable is not "
            "yet accurate: for a dt that is both, saltation recommend."
        )

    def mode_name(self, rates: NDArray[Any], factors: NDArray[Any]) -> str:
        """The mode that grows fastest, in words, from the rates of all and their factors."""
        if len(rates) == 1:
            return f"the potential's mode (rate {_show(rates[0])})"
        slow, *_, fast = sorted(rates, key=abs)
        if abs(fast.imag) > 1e-12:
            return f"the joint oscillation of {self.variables} (rate {_show(fast)})"
        return f"a joint mode of {self.variables} (rates {_show(slow)} and {_show(fast)})"

    @property
    def variables(self) -> str:
        return " and ".join(self.State._fields)


def no_scheme(title: str) -> str:
    """What is said of a model that has none."""
    return f"{title} is a discrete map: it has no scheme and no stability limit"


def _show(number: complex) -> str:
    if abs(number.imag) < 1e-12:
        return f"{number.real:.4g}"
    return f"{number.real:.4g} ± {abs(number.imag):.4g}i"
