"""Tangents of one recurrent layer, without a network in every step.

Neurons act one by one: the derivatives of a neuron's step are a few numbers per neuron, and once
the trajectory is known they are computed for all steps at once. What is left in the loop over time
is one product with the feedback weights and one with these numbers. The results are those of the
general way, `estimators.Tangents`, to rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from saltation.layers.recurrent import Recurrent
from saltation.stability.carry import Carry, carried
from saltation.stability.duals import differentiable, dual, parts
from saltation.stability.estimators import Tangents
from saltation.stability.frames import Orthonormal, Scaled, noise
from saltation.stepping import LayerPort, Stepped, undisturbed


def only_layer(network: Stepped) -> Recurrent | None:
    """The recurrent layer of a network that has no other neurons; None in half precision, in which
    there are no decompositions."""
    if len(network.ports) != 1 or not network.at_once:
        return None
    (port,) = network.ports
    if not (isinstance(port, LayerPort) and isinstance(port.module, Recurrent)):
        return None
    return port.module if port.module.weight.dtype in (torch.float32, torch.float64) else None


def currents(network: Stepped, layer: Recurrent, x: Tensor) -> Tensor | None:
    """What the layer is given for ``x``; None if it is not called exactly once."""
    given: list[Tensor] = []

    def before(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        given.append(arguments[0])

    if network.network is layer:
        return x
    handle = layer.register_forward_pre_hook(before)
    try:
        with undisturbed(network.network):
            network.network(x)
    finally:
        handle.remove()
    return given[0] if len(given) == 1 else None


def follow(control: Tangents, layer: Recurrent, x: Tensor) -> None:
    """Carry the vectors of ``control`` along the trajectory for currents ``x`` [T, B, F]."""
    factors = _factors(layer, x)
    k, (steps, samples, width) = control.k, x.shape
    rest = x.new_zeros(k * samples, width)
    first = [noise(rest, control.generator) for _ in range(factors.shape[2])]
    control.begin(first)
    spans = [min(control.qr_every, steps - t) for t in range(0, steps, control.qr_every)]
    whole = torch.ones(1, samples, dtype=x.dtype, device=x.device)
    z = torch.stack([part.view(k, samples, width) for part in first], 2).transpose(0, 1)
    if k <= factors.shape[2] * width:
        logs, sound = Carry.apply(factors, layer.weight, z, control.qr_every)  # type: ignore[no-untyped-call]
        if sound:
            for log, span in zip(logs, spans, strict=True):
                control.count(log, torch.zeros_like(log, dtype=torch.bool), span, whole)
            return
    # Vectors depend on each other, or grow beyond the dtype: step by step, with a floor.
    for span, stretch in zip(spans, torch.split(factors, control.qr_every), strict=True):
        for t, factor in enumerate(stretch, start=1):
            z = carried(factor, layer.weight, z)
            if t < span:
                scaled = Scaled([z.flatten(0, 1)], samples * k)
                control.rescale(scaled.log.view(samples, k).T)
                z = scaled.parts[0].view(z.shape)
        frame = Orthonormal([part.transpose(0, 1).flatten(0, 1) for part in z.unbind(2)], k)
        control.count(frame.log, frame.floored, span, whole)
        z = torch.stack([q.view(k, samples, width) for q in frame.q], 2).transpose(0, 1)


def _factors(layer: Recurrent, x: Tensor) -> Tensor:
    """Derivatives of spikes and states with respect to current and states, ``[T, B, n, n, F]``, of
    every neuron and step; n is 1 + the variables of the model."""
    start = layer.rest(x[0])
    trace = layer.record(x, start)
    before = [
        torch.cat([first[None], later[:-1]])
        for first, later in zip(
            (start.spikes, *start.neuron), (trace.spikes, *trace.states.neuron), strict=True
        )
    ]
    current = x + linear(before[0], layer.weight, layer.bias)
    inputs = [current, *before[1:]]
    neuron, spike = layer.layer.neuron, layer.layer.surrogate
    columns = []
    for chosen in range(len(inputs)):
        with differentiable():
            duals = [dual(one, torch.full_like(one, i == chosen)) for i, one in enumerate(inputs)]
            s, after, _ = neuron.step(duals[0], neuron.State(*duals[1:]), spike)
            columns.append(torch.stack([parts(one)[1] for one in (s, *after)], 2))
    return torch.stack(columns, 3)
