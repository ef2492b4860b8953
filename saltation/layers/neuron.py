"""Neuron layers: input currents ``[T, B, ...]`` in, spikes ``[T, B, ...]`` out.

A layer has no hidden state: every call starts from rest and forgets. There is nothing to reset.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, ClassVar, overload

import torch
from torch import Tensor

from saltation.errors import SaltationError, choose, register
from saltation.kernels import deferred, dispatch, reference
from saltation.kernels.reference import MEMORIES, Stage, Trace
from saltation.layers.inputs import check_currents, check_finite, widened
from saltation.layers.learned import Varied
from saltation.layers.numerics import WithNumerics
from saltation.neurons import NEURONS, Neuron, made
from saltation.surrogate import Sigmoid, Smooth, Surrogate, get_surrogate

LAYERS: dict[str, type[SpikingLayer]] = {}


class SpikingLayer(Varied, WithNumerics):
    """Base of the neuron layers; a subclass that names its model appears in `LAYERS`.

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
    UnitWarning
        At construction, if there are 1000 steps or more in a time constant, or a step is ten of
        them or more.
    """

    neuron_type: ClassVar[type[Neuron]]
    added = {"input": "held"}  # noqa: RUF012  # as its type in the base says

    def __init_subclass__(cls) -> None:
        if "neuron_type" not in cls.__dict__:
            # A layer of a model that has one; only what it says itself is its own.
            if "__init__" in cls.__dict__:
                made = inspect.signature(cls.__init__)
                own = list(made.parameters.values())[1:]
                cls.__signature__ = made.replace(parameters=own)  # type: ignore[attr-defined]
            return
        if _is_registered(cls.neuron_type):
            register("layer of neuron", LAYERS, cls.neuron_type.name, cls)
        if "_layer" not in cls.neuron_type.__dict__:
            cls.neuron_type._layer = cls  # type: ignore[attr-defined]
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
        names = self.neuron_type.parameters()
        if len(args) > len(names):
            raise SaltationError(
                f"{self.neuron_type.title} takes {len(names)} parameters, got {len(args)}"
            )
        placed = dict(zip(names, args, strict=False))
        if twice := placed.keys() & parameters.keys():
            raise TypeError(f"{self.neuron_type.title} got {min(twice)} twice")
        self._set_neuron(self.neuron_type, {**placed, **parameters})
        self._plain.warn_if_unstable(stacklevel=2)
        self._plain.warn_of_units(stacklevel=2)
        self.surrogate = get_surrogate(surrogate)
        self.backend = choose("backend", backend, dispatch.BACKENDS)
        self.memory = choose("memory", memory, MEMORIES)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("_plain", "neuron", "surrogate"):  # replaced, as in slope annealing
            spike = self.__dict__.get("surrogate")
            if isinstance(spike, Surrogate | Smooth):  # it may know dt
                spike = spike.at((self._replaced or self._plain).dt)
                self.__dict__["surrogate"] = spike
            self._key = None
            if spike is not None and not self._plain.tensors and not self._ranges:
                self._key = dispatch.operator_key(self.neuron, spike)

    @overload
    def forward(self, x: Tensor, state: None = None) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...
    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Spikes for a sequence of input currents.

        Parameters
        ----------
        x : Tensor, [T, B, ...]
            Input currents, floating point, T >= 1; within autocast they are made float32.
        state : optional
            Start from this state (see `rest`) and return the last state too.

        Returns
        -------
        spikes [T, B, ...], or ``(spikes, state)`` if a state was given.

        Raises
        ------
        SaltationError
            If ``x`` has another form, or the state that of another model or batch.
        NotFiniteError
            If ``x`` holds NaN or infinity, on a CPU.
        """
        if type(x) is deferred.DeferredTensor:
            waits = deferred.spikes(x, self.stage, check_finite) if self._may_wait(state) else None
            if waits is not None:
                return waits
            x = deferred.settle(x)
        trace = self._traced(x, state, record=False)
        return trace.spikes if state is None else (trace.spikes, trace.state)

    def record(self, x: Tensor, state: Any = None) -> Trace:
        """Like `forward`, and return potentials and states of every step in a `Trace`."""
        return self._traced(x, state, record=True)

    def spike_times(self, x: Tensor, state: Any = None) -> Tensor:
        """When every spike is, ``[T, B, ...]``: infinite where a step has none.

        Times are counted from the beginning of ``x`` in the unit of ``dt``, in the order of steps:
        ``spike_times(x).amin(0)`` is the first of every neuron. With ``spike_time="grid"`` they are
        the ends of steps and have no derivative. Else they have that of the exact solution, up to
        the error of the scheme: with respect to currents, states and learned parameters, through
        all earlier spikes, and without a surrogate, for a spike that moves is still there.

        Parameters
        ----------
        x : Tensor, [T, B, ...]
            Input currents, floating point, T >= 1; within autocast they are made float32.
        state : optional
            Start from this state; from rest if not given.

        Raises
        ------
        SaltationError
            If ``x`` has another form, or the state that of another model or batch.
        NotFiniteError
            If ``x`` holds NaN or infinity, on a CPU.
        """
        check_currents(x, "[T, B, ...] with at least one step", 2)
        x = widened(x)
        start = self.neuron.rest(x[0]) if state is None else self._checked(state, x[0])
        times, last = reference.spike_times(self.neuron, self.surrogate, x, start)
        check_finite(x, last)
        return times

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step for streaming: currents ``[B, ...]`` to ``(spikes [B, ...], state)``.

        Without a state the step starts from rest.
        """
        check_currents(x, "[B, ...]", 1)
        # A call of the layer, so that who listens to it sees its steps.
        spikes, after = self(x[None], self.neuron.rest(x) if state is None else state)
        return spikes[0], after

    @property
    def is_plain(self) -> bool:
        """Whether a call of the layer is a run of its neuron and nothing else."""
        same = type(self).forward is SpikingLayer.forward and type(self)._run is SpikingLayer._run
        return same and self.backend in ("auto", "cpu")

    def _may_wait(self, state: Any) -> bool:
        """Whether a call can be put off until its spikes are read."""
        own = "_run" in self.__dict__ or SpikingLayer._run is not _RUN
        return state is None and self.is_plain and not own

    def stage(self, weight: Tensor, bias: Tensor | None) -> Stage:
        """The layer, driven by these weights."""
        return Stage(weight, bias, self.neuron, self.surrogate, self.memory)

    def rest(self, x: Tensor) -> Any:
        """The resting state for one step's currents ``x`` of ``[B, ...]``."""
        return self.neuron.rest(x)

    def numerics(self) -> dict[str, Any]:
        """The model and its parameters, but for what changes gradients alone."""
        neuron = self._replaced or self._plain
        own = (*neuron.tensors, "detach_reset")  # tensors are in the state dict themselves
        names = [name for name in neuron.parameters() if name not in own]
        model = neuron.name if _is_registered(type(neuron)) else type(neuron).__qualname__
        return {"neuron": model, **{name: getattr(neuron, name) for name in names}}

    def _traced(self, x: Tensor, state: Any, record: bool) -> Trace:
        check_currents(x, "[T, B, ...] with at least one step", 2)
        x = widened(x)
        start = self.neuron.rest(x[0]) if state is None else self._checked(state, x[0])
        trace = self._run(x, start, record)
        check_finite(x, trace.state)
        return trace

    def _run(self, x: Tensor, state: Any, record: bool) -> Trace:
        key = self._key
        if torch.compiler.is_compiling() and self.backend != "reference" and key:
            parts = self.neuron, x, state
            still = not record and dispatch.is_key_of(key, parts[0], self.surrogate)
            captured = dispatch.run_captured(key.text, *parts) if still else None
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
            if not isinstance(part, Tensor) or part.shape != x.shape:
                given = list(part.shape) if isinstance(part, Tensor) else type(part).__name__
                raise SaltationError(
                    f"state {name} must have the shape of one step, {list(x.shape)}, got {given}"
                )
        return self.neuron.State(*state)

    def extra_repr(self) -> str:
        defaults = {f.name: f.default for f in fields(self.neuron_type)}  # type: ignore[arg-type]
        neuron = self.neuron
        always = ("dt", "scheme", *neuron.time_constants)
        parts = []
        for name in neuron.parameters():
            value = getattr(neuron, name)
            if isinstance(value, Tensor):
                parts.append(f"{name}={_summary(value, name in self._ranges)}")
            elif name in always or value != defaults[name]:
                parts.append(f"{name}={value!r}")
        parts += [f"surrogate={self.surrogate}", f"backend='{self.backend}'"]
        return ", ".join(parts if self.memory == "store" else [*parts, f"memory='{self.memory}'"])


_RUN = SpikingLayer._run  # as it was when this was imported: somebody may put another in its place


def _summary(value: Tensor, is_learned: bool) -> str:
    known = value.detach()
    what = f"{known.item():.4g}" if not known.ndim else f"{known.min():.4g} ... {known.max():.4g}"
    return f"learned({what})" if is_learned else what


def _is_registered(model: type[Neuron]) -> bool:
    """Whether the model is known by a name of its own."""
    return NEURONS.get(getattr(model, "name", "")) is model


def layer_of(model: type[Neuron]) -> type[SpikingLayer]:
    """The layer of a model, always the same class."""
    if "_layer" not in model.__dict__:
        name = model.__name__.removesuffix("Neuron") or model.__name__
        place = {"__module__": model.__module__, "__qualname__": f"{model.__qualname__}.layer"}
        type(name, (SpikingLayer,), {"neuron_type": model, **place})
    found: type[SpikingLayer] = model.__dict__["_layer"]
    return found


made.layer_of = layer_of
