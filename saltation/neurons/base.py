"""What every neuron model is: an ODE, a threshold and a jump; everything else follows from them.

A neuron is an ODE with jumps. One step integrates the ODE over ``dt`` with the input held constant
(`Neuron.integrate`), tests the potential ``h`` it arrives at for a spike, and applies the jump
(`Neuron.fire`). Models are immutable and know nothing of schemes, devices, loops or layers; all
functions are pure and work on tensors of any shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar, dataclass_transform

import torch
from torch import Tensor

from saltation.affine import Affine, affine
from saltation.errors import SaltationError, choose
from saltation.neurons import impulse, in_step, linear, made
from saltation.neurons.limits import Limits, no_scheme
from saltation.neurons.linear import AffineStep, shared
from saltation.operands import NoRuleError
from saltation.schemes import SCHEMES

Spike = Callable[[Tensor], Tensor]

NEURONS: dict[str, type[Neuron]] = {}

JUMPS = ("hard", "soft", "soft_delayed", "none")


@dataclass_transform(frozen_default=True)
class Neuron(Limits):
    """Base of all models: write the ODE, and what is not as usual of threshold and jump.

    One with a ``name`` is entered in `NEURONS`.

    A subclass names its parameters, with their defaults, and defines `velocity`, whose arguments
    name the state, the potential first. Everything else follows: the state, the step of every
    scheme, rest, Jacobian, limits, the layer (``Model.layer(...)``), the compiled loop.

    In place of a velocity it may define ``step(self, x, *state)``, the next state of a discrete
    map, which has no scheme and no limit. It may also define

    - ``threshold(self, *state)``: where the potential spikes, if not at ``v_threshold``;
    - ``jump(self, *state)``: the state after a spike, if not ``v_reset`` and all else as it was;
    - ``initial(self)``: the state before the first input, if it is not the resting state.

    Parameters
    ----------
    dt : float, default 1
        Length of a step, in the unit of time of the model's time constants.
    scheme : str, default "exponential"
        One of ``Model.schemes``.
    v_threshold, v_reset : float, default 1, 0
        Threshold and reset of the potential.
    jump : str, default "hard"
        ``hard`` (the model's own), ``soft`` (the threshold is subtracted from the potential, the
        other variables jump as in ``hard``), ``none``, or for models of which the potential alone
        jumps ``soft_delayed`` (subtracted in the next step, from the already integrated potential).
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.
    spike_time : str, default "grid"
        When in a step a neuron spikes that ends it above its threshold: at the end (``grid``), or
        where a line (``linear``) or a cubic (``hermite``) between the ends of the step meets the
        threshold; the state jumps there and is integrated over the rest of the step. Through spikes
        ``grid`` is of order 1 with any scheme, ``linear`` of order 2, ``hermite`` of order 3 or 4.
    refractory : float, default 0
        Time after a spike for which the potential stays where the jump left it and cannot spike,
        in whole steps, while other variables go on; the state then also says how many ``waits``
        are left.
    input : str, default "held"
        How input acts within a step. ``held``: as a current that is constant over the step, so that
        the charge of a spike of weight w is w dt. ``impulse``: as a jump at the start of the step,
        ``x(t) = w delta(t)``, whose charge is w whatever dt is: a spike moves v by w times what the
        velocity has in front of x (w / tau in a LIF neuron with ``decay_input``). At dt = 1 both
        have the same charge.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.

    Examples
    --------
    >>> class QIF(st.Neuron):
    ...     tau: float = 2.0
    ...
    ...     def velocity(self, x, v):
    ...         return ((v * (v - 0.5) + x) / self.tau,)
    >>> net = st.Sequential(st.SpikeLinear(4, 8), QIF.layer(dt=0.5, scheme="rk4"))
    """

    is_base: ClassVar[bool] = True  # in its own dictionary alone
    is_map: ClassVar[bool] = False  # defines its next state, not its velocity
    name: ClassVar[str]
    title: ClassVar[str]
    State: ClassVar[Any]
    schemes: ClassVar[Any] = made.Schemes()
    jumps: ClassVar[tuple[str, ...]]
    linear: ClassVar[Any] = made.Linear()
    learns: ClassVar[tuple[str, ...]] = ()  # parameters that a layer learns unless told otherwise
    ranges: ClassVar[dict[str, str]] = {}  # what learned ones are kept in, times aside
    layer: ClassVar[Any] = made.Layer()

    dt: float = 1.0
    scheme: str = "exponential"
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: Any = "hard"
    detach_reset: bool = False
    refractory: float = 0.0
    spike_time: str = "grid"
    input: str = "held"

    def __init_subclass__(cls) -> None:
        made.complete(cls, Neuron, NEURONS)

    def __post_init__(self) -> None:
        made.check(self)
        if self.is_map:
            if self.scheme not in ("", Neuron.scheme):
                raise SaltationError(f"{no_scheme(self.title)}, got scheme='{self.scheme}'")
            object.__setattr__(self, "scheme", "")
        elif self.scheme not in self.schemes:
            raise SaltationError(
                f"{self.title} has no scheme '{choose('scheme', self.scheme, SCHEMES)}': "
                f"{self.why_not(self.scheme)} (allowed: {', '.join(self.schemes)})"
            )
        choose(f"{self.title} jump", self.jump, self.jumps)
        if choose(f"{self.title} input", self.input, impulse.INPUTS) == "impulse":
            _ = self.impulse_gains  # whoever has none is told
        if not self.tensors and self.jump == "hard" and self.v_reset >= self.v_threshold:
            raise SaltationError(
                f"{self.title} v_reset must be below v_threshold = {self.v_threshold}, "
                f"got {self.v_reset}"
            )

        if self.refractory:
            self._check_refractory()
        in_step.check(self)
        if not self.tensors:
            self._prepare()

    def _prepare(self) -> None:
        """Compute now what the first step needs: torch.compile could not follow how it is made."""
        try:
            with suppress(SaltationError):  # nothing rests: who asks is told
                _ = self.initial(), self._moves
                if not self.is_map and self.affine_step is None:
                    _ = self.stiffness
        except NoRuleError as error:
            raise SaltationError(
                f"{self.title} cannot be followed: {error}; its equations are torch operations on "
                "current and state, such as torch.exp(v) and torch.where(v > 0, a, b)"
            ) from None

    def _check_refractory(self) -> None:
        if self.refractory < self.dt / 2:
            raise SaltationError(
                f"{self.title} refractory must be 0 or at least half a step of dt = {self.dt:g}, "
                f"got {self.refractory:g}"
            )
        if self.jump == "soft_delayed":
            raise SaltationError(
                f"{self.title} cannot wait after a spike that acts in the step after its own: "
                "with refractory the jump must be hard, soft or none"
            )

    # What a model says.

    def velocity(self, x: Any, *state: Any) -> Sequence[Any]:
        """Time derivatives of the state between spikes, the ODE's right-hand side.

        Plain torch operations on input current and state: tensors of any shape, or what stands in
        for them.
        """
        raise SaltationError(f"{type(self).__name__} is a discrete map: it has no velocity")

    def threshold(self, *state: Any) -> Any:
        """Where the potential spikes."""
        return self.v_threshold

    def own_jump(self, *state: Any) -> Sequence[Any]:
        """The state after a spike; in a subclass it is called ``jump``."""
        return (self.v_reset, *state[1:])

    def initial(self) -> Sequence[Any]:
        """The state before the first input, numbers or tensors; by default the resting state, of a
        discrete map zeros."""
        return (0.0,) * len(type(self).State._fields) if self.is_map else self.fixed_point

    # What follows.

    @classmethod
    def parameters(cls) -> list[str]:
        """Names of the model's parameters."""
        return [f.name for f in fields(cls)]  # type: ignore[arg-type]  # made.complete makes it one

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """Names of the parameters that are tensors, one value per neuron or learned."""
        return tuple(n for n in self.parameters() if isinstance(getattr(self, n), Tensor))

    def __getstate__(self) -> dict[str, Any]:
        # What was made of the parameters is made again; functions cannot be pickled.
        return {name: getattr(self, name) for name in self.parameters()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.tensors:
            self._prepare()

    def with_values(self, values: dict[str, Any]) -> Any:
        """The same model with other values of parameters, which are not looked at."""
        other = object.__new__(type(self))
        for name in self.parameters():
            object.__setattr__(other, name, values.get(name, getattr(self, name)))
        return other

    @classmethod
    def why_not(cls, scheme: str) -> str | None:
        """Why the model cannot be integrated by ``scheme``, or None."""
        return SCHEMES[scheme].refuses(len(cls.State._fields), cls.linear)

    @cached_property
    def equations(self) -> list[Affine] | None:
        """The velocity as affine functions of current and state, or None if it is nonlinear."""
        if self.is_map:
            return None
        made.check_equations(self)
        return affine(self.velocity, 1 + len(type(self).State._fields))

    @cached_property
    @shared
    def fixed_point(self) -> tuple[Any, ...]:
        """The resting state: where nothing changes without input; numbers, or tensors of one per
        neuron.

        Raises
        ------
        SaltationError
            If none is found from the reset on.
        """
        if self.equations is not None:
            return linear.fixed_point(self.equations)
        return linear.search(self)

    @cached_property
    @shared
    def affine_step(self) -> AffineStep | None:
        """The step of a linear model as one affine map, or None if it is nonlinear."""
        if self.equations is None:
            return None
        step = linear.affine_step(self.equations, self.stability_scheme, self.dt)
        return step if self.input == "held" else linear.struck(step, self.impulse_gains)

    @cached_property
    def impulse_gains(self) -> tuple[Any, ...]:
        """What an impulse of charge 1 adds to each variable; see `saltation.neurons.impulse`."""
        return impulse.gains(self)

    def rest(self, like: Tensor) -> Any:
        """The state before the first input: tensors of the shape, dtype and device of ``like``."""
        parts = [_full(like, part) for part in self.initial()]
        return self.State(*parts, *([torch.zeros_like(like)] if self.refractory else []))

    def integrate(self, x: Any, state: Any, spike: Spike) -> Any:
        """The state ``h`` at the end of the step, before the jump.

        Parameters
        ----------
        x
            Input current of the step, ``[...]``.
        state
            State after the last step's jump; every tensor ``[...]``.
        spike
            The spike function, for jumps that act in the following step.
        """
        if self.refractory:
            *parts, waits = state
            v, *others = self._advanced(x, parts)
            return self.State(torch.where(waits > 0.5, state[0], v), *others, waits)
        v, *others = self._advanced(x, state)
        if self.jump == "soft_delayed":
            s = spike(state[0] - self.v_threshold)
            v = v - (s.detach() if self.detach_reset else s) * self.v_threshold
        return self.State(v, *others)

    def _advanced(self, x: Any, state: Any) -> Sequence[Any]:
        if self.is_map:
            return self.map(x, *state)  # type: ignore[attr-defined, no-any-return]
        step = self.affine_step
        if step is not None:
            return step(x, state)
        if self.input == "impulse":
            state, x = impulse.struck(self, x, state), 0.0
        return self.stability_scheme.step(self, x, state)

    def fire(self, h: Any, spike: Spike) -> tuple[Any, Any]:
        """Spikes and the state after the jump, from the state ``h`` before it."""
        parts = h[:-1] if self.refractory else h
        s = spike(h[0] - self.threshold(*parts))
        if self.refractory:
            s = s * (h[-1] < 0.5).to(h[-1].dtype)
        return s, self.apply_jump(h, s.detach() if self.detach_reset else s)

    def apply_jump(self, h: Any, s: Any) -> Any:
        """The state after the jump of neurons with ``s = 1``; unchanged where ``s = 0``."""
        parts = h[:-1] if self.refractory else h
        after = list(parts)
        if self.jump in ("hard", "soft"):
            after = [move(part, s, parts) for move, part in zip(self._moves, parts, strict=True)]
        if self.jump == "soft":
            after[0] = h[0] - s * self.threshold(*parts)
        if self.refractory:
            left = (h[-1] - 1).clamp(min=0)
            after.append((1 - s) * left + s * round(self.refractory / self.dt))
        return self.State(*after)

    @cached_property
    def _moves(self) -> list[Callable[[Any, Any, Any], Any]]:
        """How each variable jumps, by products with s and not by choices: gradients reach s."""
        return made.moves(self)

    def step(self, x: Tensor, state: Any, spike: Spike) -> tuple[Tensor, Any, Any]:
        """One step: ``(spikes, state after the jump, state h before the jump)``."""
        h = self.integrate(x, state, spike)
        if self.spike_time == "grid":
            s, after = self.fire(h, spike)
        else:
            s, after, _ = self._fire_within(x, state, h, spike)
        return s, after, h

    def timed_step(self, x: Tensor, state: Any, spike: Spike) -> tuple[Tensor, Any, Tensor]:
        """One step: ``(spikes, state after the jump, when in the step they were, from 0 to 1)``."""
        if self.spike_time == "grid":
            s, after, _ = self.step(x, state, spike)
            return s, after, torch.ones_like(s)
        return self._fire_within(x, state, self.integrate(x, state, spike), spike)

    def _fire_within(self, x: Tensor, state: Any, h: Any, spike: Spike) -> in_step.Fired:
        """`fire` at the spike's own time in the step."""
        if self.input == "impulse":  # at the start of the step, which then has no input
            state, x = self.State(*impulse.struck(self, x, state)), torch.zeros_like(x)
        return in_step.fire(self, x, state, h, spike, self.dt)


def _full(like: Tensor, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(like.dtype).expand_as(like)
    return torch.full_like(like, value)
