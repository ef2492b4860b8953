"""What every neuron model is: parameters, a state, one step, and the modes of its resting state.

A neuron is an ODE with jumps. One step integrates the ODE over ``dt`` with the input held constant
(`Neuron.integrate`), tests the potential ``h`` it arrives at for a spike, and applies the jump
(`Neuron.apply_jump`). Models are immutable and know nothing of devices, loops or layers; all
functions are pure and work on tensors of any shape.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saltation.errors import (
    SaltationError,
    StabilityWarning,
    UnitWarning,
    choose,
    flag,
    number,
    register,
)
from saltation.schemes import SCHEMES, Scheme, get_scheme

Spike = Callable[[Tensor], Tensor]

NEURONS: dict[str, type[Neuron]] = {}

# Steps in the shortest and longest time constant, beyond which its unit is doubted: a step of ten
# time constants leaves nothing of the potential.
_FEWEST, _MOST = 0.1, 1000.0

JUMPS = ("hard", "soft", "soft_delayed", "none")


class Neuron(ABC):
    """Base of all models; a subclass that names itself appears in `NEURONS`.

    A subclass is a frozen dataclass with the fields ``dt``, ``scheme``, ``v_threshold``,
    ``v_reset``, ``jump`` and ``detach_reset`` beside its own parameters. ``linear`` says that its
    ODE is linear: a scheme that is exact for such systems is exact between its spikes.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    State: ClassVar[type[Any]]
    schemes: ClassVar[tuple[str, ...]]
    jumps: ClassVar[tuple[str, ...]]
    linear: ClassVar[bool] = False

    dt: float
    scheme: str
    v_threshold: float
    v_reset: float
    jump: str
    detach_reset: bool

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            register("neuron", NEURONS, cls.name, cls)

    def __post_init__(self) -> None:
        for parameter in fields(self):  # type: ignore[arg-type]  # a subclass is a dataclass
            what, value = f"{self.title} {parameter.name}", getattr(self, parameter.name)
            if parameter.type in (float, "float"):
                value = number(what, value)
                if not np.isfinite(value):
                    raise SaltationError(f"{what} must be finite, got {value}")
            elif parameter.type in (bool, "bool"):
                value = flag(what, value)
            object.__setattr__(self, parameter.name, value)
        choose("scheme", self.scheme, SCHEMES)
        if self.scheme not in self.schemes:
            raise SaltationError(
                f"{self.title} has no scheme '{self.scheme}': {self.why_not(self.scheme)} "
                f"(allowed: {', '.join(self.schemes)})"
            )
        choose(f"{self.title} jump", self.jump, self.jumps)
        if self.jump == "hard" and self.v_reset >= self.v_threshold:
            raise SaltationError(
                f"{self.title} v_reset must be below v_threshold = {self.v_threshold}, "
                f"got {self.v_reset}"
            )

    @classmethod
    def parameters(cls) -> list[str]:
        """Names of the model's parameters."""
        return [f.name for f in fields(cls)]  # type: ignore[arg-type]  # a subclass is a dataclass

    @classmethod
    @abstractmethod
    def why_not(cls, scheme: str) -> str:
        """Why the model cannot be integrated by ``scheme``."""

    @property
    @abstractmethod
    def jacobian(self) -> NDArray[Any]:
        """Jacobian ``[n, n]`` of the ODE at the resting state, per unit of time."""

    @abstractmethod
    def velocity(self, x: Any, state: Any) -> Any:
        """Time derivative of the state between spikes, the ODE's right-hand side: a State.

        Plain arithmetic, for tensors as for real or complex numbers.
        """

    @property
    def limit_formula(self) -> str:
        """The limit on dt in terms of the parameters, where it has such a form; else empty."""
        return ""

    @abstractmethod
    def rest(self, like: Tensor) -> Any:
        """The state before the first input: tensors of the shape, dtype and device of ``like``."""

    @abstractmethod
    def integrate(self, x: Tensor, state: Any, spike: Spike) -> Any:
        """The state ``h`` at the end of the step, before the jump.

        Parameters
        ----------
        x
            Input current of the step, ``[...]``.
        state
            State after the last step's jump; every tensor ``[...]``.
        spike
            The spike function, for models whose jump acts in the following step.
        """

    @abstractmethod
    def apply_jump(self, h: Any, s: Tensor) -> Any:
        """The state after the jump of neurons with ``s = 1``; unchanged where ``s = 0``."""

    def step(self, x: Tensor, state: Any, spike: Spike) -> tuple[Tensor, Any, Any]:
        """One step: ``(spikes, state after the jump, state h before the jump)``."""
        h = self.integrate(x, state, spike)
        s, after = self.fire(h, spike)
        return s, after, h

    def fire(self, h: Any, spike: Spike) -> tuple[Tensor, Any]:
        """Spikes and the state after the jump, from the state ``h`` before it."""
        s = spike(h.v - self.v_threshold)
        return s, self.apply_jump(h, s.detach() if self.detach_reset else s)

    def jump_potential(self, v: Tensor, s: Tensor) -> Tensor:
        """The jump of the potential, shared by all models."""
        if self.jump == "hard":
            # Products rather than a choice, so that gradients reach s.
            kept = (1 - s) * v
            return kept + s * self.v_reset if self.v_reset else kept
        if self.jump == "soft":
            return v - s * self.v_threshold
        return v

    @property
    def stability_scheme(self) -> Scheme:
        return get_scheme(self.scheme)

    @cached_property
    def dt_limit(self) -> float:
        """Largest stable ``dt`` of the scheme at the resting state; ``inf`` if none."""
        return self.stability_scheme.dt_limit(self.jacobian)

    @cached_property
    def is_stable(self) -> bool:
        """Whether a small perturbation of the resting state does not grow from step to step."""
        return self.stability_scheme.is_stable(self.jacobian, self.dt)

    @property
    def time_constants(self) -> dict[str, float]:
        """Those of the equations by name, in the unit of ``dt``."""
        return {name: getattr(self, name) for name in self.parameters() if name.startswith("tau")}

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
        modes = np.linalg.eigvals(self.jacobian)
        if modes.real.max() >= 0:
            return (
                f"the resting state of {self.title} is itself unstable with these parameters "
                f"(eigenvalue {_show(modes[modes.real.argmax()])}), whatever the scheme and dt."
            )
        amplification = self.stability_scheme.amplification(self.jacobian, self.dt)
        factors = np.linalg.eigvals(amplification)
        factor = factors[np.abs(factors).argmax()]
        oscillates = " and changes its sign" if abs(factor.imag) < 1e-12 and factor.real < 0 else ""
        free = [s for s in self.schemes if np.isinf(SCHEMES[s].dt_limit(self.jacobian))]
        formula = f" (= {self.limit_formula})" if self.limit_formula else ""
        return (
            f"{self.title} with scheme '{self.scheme}' and dt = {self.dt:g} is outside the "
            f"scheme's stability limit dt <= {self.dt_limit:.4g}{formula}: "
            f"{self.mode_name(factors)} decays in the equations, but every step multiplies it by "
            f"{_show(factor)}{oscillates}, so it grows between spikes. Use dt <= "
            f"{self.dt_limit:.4g}, or a scheme without a limit: {', '.join(free)}."
        )

    def mode_name(self, factors: NDArray[Any]) -> str:
        """The mode that grows fastest, in words."""
        rate = np.linalg.eigvals(self.jacobian)
        if len(factors) == 1:
            return f"the potential's mode (rate {_show(rate[0])})"
        slow, fast = sorted(rate, key=abs)
        if abs(fast.imag) > 1e-12:
            return f"the joint oscillation of {self.variables} (rate {_show(fast)})"
        return f"a joint mode of {self.variables} (rates {_show(slow)} and {_show(fast)})"

    @property
    def variables(self) -> str:
        return " and ".join(self.State._fields)


def _show(number: complex) -> str:
    if abs(number.imag) < 1e-12:
        return f"{number.real:.4g}"
    return f"{number.real:.4g} ± {abs(number.imag):.4g}i"
