"""Neurons whose spikes feed back to them: ``[T, B, F]`` in, ``[T, B, F]`` out."""

from __future__ import annotations

import math
import re
from typing import Any, overload

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, count, tensor
from saltation.kernels import dispatch
from saltation.kernels.recurrent import Feedback, RecurrentState
from saltation.kernels.reference import Trace
from saltation.layers.inputs import check_finite, widened
from saltation.layers.neuron import SpikingLayer


class Recurrent(nn.Module):
    """A layer of neurons whose spikes of one step drive all of them in the next.

    ``current[t] = x[t] + V s[t-1] + bias``, then the step of the neurons; at rest ``s[-1] = 0``. As
    in every layer there is no hidden state: a call starts from rest, or from the state it is given.

    On a CPU the product follows the spikes: it is the sum of the columns of V where they are, in
    the order of the neurons. Gradients always pass through the spikes that feed back;
    ``detach_reset`` of the neurons stops them in the jump alone.

    Parameters
    ----------
    layer : SpikingLayer
        The neurons, such as ``st.LIF(dt=0.5)``: their model, surrogate and backend.
    features : int
        Number of neurons F, at least 1.
    bias : bool, default False
        Whether the feedback has a bias.

    Attributes
    ----------
    weight : Parameter, [F, F]
        V: row i holds what neuron i gets from each. Drawn as the recurrent weights of
        ``torch.nn.RNN`` and of snnTorch's ``RLeaky``, uniformly within ``1 / sqrt(F)``, like the
        bias; for other choices use ``torch.nn.init`` on it.
    bias : Parameter [F] or None

    Raises
    ------
    SaltationError
        If ``layer`` is not a neuron layer or ``features`` not a positive integer.

    Examples
    --------
    >>> net = nn.Sequential(st.SpikeLinear(700, 128), st.Recurrent(st.LIF(), 128))
    """

    def __init__(self, layer: SpikingLayer, features: int, *, bias: bool = False) -> None:
        super().__init__()
        if not isinstance(layer, SpikingLayer):
            raise SaltationError(
                f"Recurrent takes a neuron layer such as st.LIF(), got {type(layer).__name__}"
            )
        self.layer = layer
        self.features = features = count("features", features)
        self.weight = nn.Parameter(torch.empty(features, features))
        self.bias = nn.Parameter(torch.empty(features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.features)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    @overload
    def forward(self, x: Tensor, state: None = None) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]: ...
    def forward(self, x: Tensor, state: RecurrentState | None = None) -> Any:
        """Spikes for a sequence of input currents.

        Parameters
        ----------
        x : Tensor, [T, B, F]
            Input currents, floating point, T >= 1.
        state : RecurrentState, optional
            Start from this state (see `rest`) and return the last state too.

        Returns
        -------
        spikes [T, B, F], or ``(spikes, state)`` if a state was given.
        """
        trace = self._run(x, state, record=False)
        return trace.spikes if state is None else (trace.spikes, trace.state)

    def record(self, x: Tensor, state: RecurrentState | None = None) -> Trace:
        """Like `forward`, and return potentials and states of every step in a `Trace`."""
        return self._run(x, state, record=True)

    def step(self, x: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, RecurrentState]:
        """One step for streaming: currents ``[B, F]`` to ``(spikes [B, F], state)``.

        Without a state the step starts from rest.
        """
        self._check(x, "one step's input currents", "[B, F]", 2)
        # A call of the layer, so that who listens to it sees its steps.
        spikes, after = self(x[None], self.rest(x) if state is None else state)
        return spikes[0], after

    def rest(self, x: Tensor) -> RecurrentState:
        """The resting state for one step's currents ``x`` of ``[B, F]``: no spikes before it."""
        return RecurrentState(torch.zeros_like(x), self.layer.rest(x))

    @property
    def _feedback(self) -> Feedback:
        return Feedback(self.weight, self.bias)

    def _run(self, x: Tensor, state: RecurrentState | None, record: bool) -> Trace:
        self._check(x, "input currents", "[T, B, F] with at least one step", 3)
        x = widened(x)
        start = self.rest(x[0]) if state is None else self._checked(state, x[0])
        neuron, spike = self.layer.neuron, self.layer.surrogate
        parts = x, self._feedback, start, record, self.layer.memory
        trace = dispatch.recurrent(self.layer.backend, neuron, spike, *parts)
        check_finite(x, trace.state.neuron)
        return trace

    def _check(self, x: Tensor, what: str, form: str, dimensions: int) -> None:
        if not tensor(what, x).is_floating_point():
            raise SaltationError(f"{what} must be floating point, got {x.dtype}")
        fits = x.ndim == dimensions and x.shape[-1] == self.features
        if not fits or (dimensions == 3 and len(x) == 0):
            raise SaltationError(
                f"{what} must be {form} and F = {self.features}, got {list(x.shape)}"
            )

    def _checked(self, state: Any, x: Tensor) -> RecurrentState:
        if not isinstance(state, tuple) or len(state) != len(RecurrentState._fields):
            raise SaltationError(
                f"the state of Recurrent is RecurrentState({', '.join(RecurrentState._fields)}), "
                f"got {type(state).__name__}"
            )
        spikes, neuron = state
        if not isinstance(spikes, Tensor) or spikes.shape != x.shape:
            given = list(spikes.shape) if isinstance(spikes, Tensor) else type(spikes).__name__
            raise SaltationError(
                f"state spikes must have the shape of one step, {list(x.shape)}, got {given}"
            )
        return RecurrentState(spikes, self.layer._checked(neuron, x))

    def extra_repr(self) -> str:
        return f"features={self.features}, bias={self.bias is not None}"


def neuron_layers(network: nn.Module) -> dict[str, SpikingLayer | Recurrent]:
    """Every layer of ``network`` that emits spikes, by its name.

    Of a recurrent layer it is the whole: the neurons within it are not called by themselves. Of a
    compiled network the names are those of the network that was compiled.
    """
    found = {
        re.sub(r"(^|\.)_orig_mod(?=\.|$)", "", name).lstrip("."): module
        for name, module in network.named_modules()
        if isinstance(module, SpikingLayer | Recurrent)
    }
    within = {f"{n}.layer".lstrip(".") for n, m in found.items() if isinstance(m, Recurrent)}
    return {name: module for name, module in found.items() if name not in within}
