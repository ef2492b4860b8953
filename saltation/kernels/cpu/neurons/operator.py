"""The compiled time loop as an operator of torch, for graphs that torch.compile captures.

Eager calls take `loop.run`, which costs less; a captured graph holds this operator as one node,
with a derivative and a form for tensors without data, so that it is not broken at a neuron layer.
"""

from __future__ import annotations

import functools
import json
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saltation.kernels import reference
from saltation.kernels.cpu.neurons import loop
from saltation.neurons import NEURONS
from saltation.neurons.base import Neuron
from saltation.surrogate import SURROGATES, Surrogate


class Key(NamedTuple):
    """Neuron and surrogate as ``text``, the only form an operator can be given, and the values of
    their fields that it was made of."""

    text: str
    neuron: tuple[tuple[str, Any], ...]
    spike: tuple[tuple[str, Any], ...]


def key_of(neuron: Any, spike: Any) -> Key | None:
    """Their key; None if they are not known by name."""
    known: Any = (NEURONS, neuron), (SURROGATES, spike)
    if any(names.get(getattr(thing, "name", "")) is not type(thing) for names, thing in known):
        return None
    # The fields as they are, so that what was computed from others is not computed again.
    made = fields_of(neuron), fields_of(spike)
    try:
        text = json.dumps([neuron.name, made[0], spike.name, made[1]])
    except TypeError:  # a field is no plain number
        return None
    return Key(text, *(tuple(one.items()) for one in made))


def is_key_of(key: Key, neuron: Any, spike: Any) -> bool:
    """Whether they are what the key was made of; traced, so that a graph is made again once they
    are not."""
    for thing, known in ((neuron, key.neuron), (spike, key.spike)):
        for name, value in known:
            if getattr(thing, name) != value:
                return False
    return True


def fields_of(thing: Any) -> dict[str, Any]:
    """The fields of a dataclass by name."""
    return {field.name: getattr(thing, field.name) for field in fields(thing)}


@functools.cache
def _parts(key: str) -> tuple[Neuron, Surrogate]:
    name, parameters, surrogate, numbers = json.loads(key)
    if parameters.get("beta") is not None:
        parameters |= {"tau": None, "dt": None, "scheme": None}
    made: Any = NEURONS[name]
    return made(**parameters), SURROGATES[surrogate](**numbers)


# Schemas are given: torch before 2.7 cannot read lists in annotations.
@torch.library.custom_op(
    "saltation::neuron_loop",
    mutates_args=(),
    schema="(Tensor x, Tensor[] state, str key) -> Tensor[]",
)
def neuron_loop(x: Tensor, state: list[Tensor], key: str) -> list[Tensor]:
    """Spikes ``[T, B, ...]`` and the last state, from currents ``x`` and the first state."""
    neuron, spike = _parts(key)
    run = reference.run if loop.refuses(neuron, spike, x, state, False) else loop.run
    trace = run(neuron, spike, x.detach(), neuron.State(*state), record=False)
    return [trace.spikes, *trace.state]


@neuron_loop.register_fake
def _(x: Tensor, state: list[Tensor], key: str) -> list[Tensor]:
    return [torch.empty_like(x), *(torch.empty_like(part) for part in state)]


@torch.library.custom_op(
    "saltation::neuron_loop_backward",
    mutates_args=(),
    schema="(Tensor x, Tensor[] state, Tensor[] gradients, str key) -> Tensor[]",
)
def neuron_loop_backward(
    x: Tensor, state: list[Tensor], gradients: list[Tensor], key: str
) -> list[Tensor]:
    """Gradients of currents and first state from those of spikes and last state."""
    neuron, spike = _parts(key)
    if not loop.refuses(neuron, spike, x, state, False):
        return loop.gradients(neuron, spike, x, state, gradients)
    parts = [part.detach().requires_grad_() for part in (x, *state)]
    with torch.enable_grad():
        trace = reference.run(neuron, spike, parts[0], neuron.State(*parts[1:]))
        outputs = trace.spikes, *trace.state
        return list(torch.autograd.grad(outputs, parts, gradients, materialize_grads=True))


@neuron_loop_backward.register_fake
def _(x: Tensor, state: list[Tensor], gradients: list[Tensor], key: str) -> list[Tensor]:
    return [torch.empty_like(x), *(torch.empty_like(part) for part in state)]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, state, ctx.key = inputs
    ctx.save_for_backward(x, *state)


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    x, *state = ctx.saved_tensors
    g_x, *g_state = neuron_loop_backward(x, state, gradients, ctx.key)
    return g_x, g_state, None


neuron_loop.register_autograd(_backward, setup_context=_setup)
