"""Neuron layers: input currents ``[T, B, ...]`` in, spikes ``[T, B, ...]`` out.

A layer has no hidden state: every call starts from rest and forgets. There is nothing to reset.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, overload

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose
from saltation.kernels import dispatch
from saltation.kernels.reference import MEMORIES, Stage, Trace
from saltation.neurons import CubaLIFNeuron, IzhikevichNeuron, LIFNeuron, Neuron
from saltation.surrogate import Sigmoid, Smooth, Surrogate, get_surrogate

LAYERS: dict[str, type[SpikingLayer]] = {}


class SpikingLayer(nn.Module):
    """Base of the neuron layers; a subclass only names its model.

    Parameters
    ----------
    surrogate : Surrogate or str, default Sigmoid(alpha=4)
        The spike function.
    backend : str, default "auto"
        Which time loop runs: ``auto`` takes the fastest that can; a name (see `saltation info`)
        takes that one or raises.
    memory : str, default "store"
        What backward needs of a compiled loop: ``store`` it, or ``recompute`` it.
    *args, **parameters
        Parameters of the model, as listed in its class.

    Warns
    -----
    StabilityWarning
        Once, at construction, if the scheme is not stable with this dt.
    """

    neuron_type: ClassVar[type[Neuron]]

    def __init_subclass__(cls) -> None:
        LAYERS[cls.neuron_type.name] = cls
        # The layer documents itself with its model's parameters; they stand once.
        own = list(inspect.signature(SpikingLayer.__init__).parameters.values())[2:-1]
        model = list(inspect.signature(cls.neuron_type).parameters.values())
        cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*model, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)]
        )
        cls.__doc__ = f"{cls.neuron_type.__doc__}\n    See `SpikingLayer` for how layers are used."

    def __init__(
        self,
        *args: Any,
        surrogate: str | Surrogate | Smooth = Sigmoid(),
        backend: str = "auto",
        memory: str = "store",
        **parameters: Any,
    ) -> None:
        super().__init__()
        known = [*self.neuron_type.parameters(), "surrogate", "backend", "memory"]
        for name in parameters:
            choose(f"{self.neuron_type.title} parameter", name, known)
        self.neuron = self.neuron_type(*args, **parameters)
        self.neuron.warn_if_unstable(stacklevel=2)
        self.surrogate = get_surrogate(surrogate)
        self.backend = choose("backend", backend, dispatch.BACKENDS)
        self.memory = choose("memory", memory, MEMORIES)
        self._key = dispatch.operator_key(self.neuron, self.surrogate)

    @overload
    def forward(self, x: Tensor, state: None = None) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...
    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Spikes for a sequence of input currents.

        Parameters
        ----------
        x : Tensor, [T, B, ...]
            Input currents, floating point, T >= 1.
        state : optional
            Start from this state (see `rest`) and return the last state too.

        Returns
        -------
        spikes [T, B, ...], or ``(spikes, state)`` if a state was given.
        """
        _check_sequence(x)
        if state is None:
            return self._run(x, self.neuron.rest(x[0]), record=False).spikes
        trace = self._run(x, self._checked(state, x[0]), record=False)
        return trace.spikes, trace.state

    def record(self, x: Tensor, state: Any = None) -> Trace:
        """Like `forward`, and return potentials and states of every step in a `Trace`."""
        _check_sequence(x)
        start = self.neuron.rest(x[0]) if state is None else self._checked(state, x[0])
        return self._run(x, start, record=True)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step for streaming: currents ``[B, ...]`` to ``(spikes [B, ...], state)``.

        Without a state the step starts from rest.
        """
        # A call of the layer, so that who listens to it sees its steps.
        spikes, after = self(x[None], self.neuron.rest(x) if state is None else state)
        return spikes[0], after

    @property
    def is_plain(self) -> bool:
        """Whether a call of the layer is a run of its neuron and nothing else."""
        same = type(self).forward is SpikingLayer.forward and type(self)._run is SpikingLayer._run
        return same and self.backend in ("auto", "cpu")

    def stage(self, weight: Tensor, bias: Tensor | None) -> Stage:
        """The layer, driven by these weights."""
        return Stage(weight, bias, self.neuron, self.surrogate, self.memory)

    def rest(self, x: Tensor) -> Any:
        """The resting state for one step's currents ``x`` of ``[B, ...]``."""
        return self.neuron.rest(x)

    def _run(self, x: Tensor, state: Any, record: bool) -> Trace:
        if torch.compiler.is_compiling() and self.backend != "reference" and self._key:
            captured = None if record else dispatch.run_captured(self._key, self.neuron, x, state)
            if captured is not None:
                return captured
        return dispatch.run(self.backend, self.neuron, self.surrogate, x, state, record)

    def _checked(self, state: Any, x: Tensor) -> Any:
        names = self.neuron.State._fields
        if not isinstance(state, tuple) or len(state) != len(names):
            raise SaltationError(
                f"the state of {self.neuron.title} is {self.neuron.State.__name__}"
                f"({', '.join(names)}), got {type(state).__name__}"
            )
        for name, part in zip(names, state, strict=True):
            if part.shape != x.shape:
                raise SaltationError(
                    f"state {name} must have the shape of one step, {list(x.shape)}, "
                    f"got {list(part.shape)}"
                )
        return self.neuron.State(*state)

    def extra_repr(self) -> str:
        defaults = self.neuron_type()
        values = {k: getattr(self.neuron, k) for k in self.neuron.parameters()}
        shown = {
            k: v for k, v in values.items() if k in ("dt", "scheme") or v != getattr(defaults, k)
        }
        parts = [f"{k}={v!r}" for k, v in shown.items()]
        parts += [f"surrogate={self.surrogate}", f"backend='{self.backend}'"]
        return ", ".join(parts if self.memory == "store" else [*parts, f"memory='{self.memory}'"])


class LIF(SpikingLayer):
    neuron_type = LIFNeuron


class Izhikevich(SpikingLayer):
    neuron_type = IzhikevichNeuron


class CubaLIF(SpikingLayer):
    neuron_type = CubaLIFNeuron


def _check_sequence(x: Tensor) -> None:
    if not x.is_floating_point():
        raise SaltationError(f"input currents must be floating point, got {x.dtype}")
    if x.ndim < 2 or x.shape[0] == 0:
        raise SaltationError(
            f"input currents must be [T, B, ...] with at least one step, got {list(x.shape)}"
        )
