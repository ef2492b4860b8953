"""Layers that spikes drive at their own times, in steps cut at every one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.errors import SaltationError, positive, tensor
from saltation.layers.neuron import SpikingLayer
from saltation.neurons import impulse, in_step


def timed_spikes(layer: SpikingLayer, times: Tensor, weight: Tensor, t_end: float) -> Tensor:
    """Spike times of a layer under impulses at any time, with derivatives for times and weights.

    The layer's steps are cut where a spike arrives, which adds ``weight`` to its charge; between
    cuts its scheme integrates as ever, and its own spikes are found within. So spikes pass from
    layer to layer without a grid, and a network's spike times have the derivative of the exact
    solution, up to the scheme's error.

    Parameters
    ----------
    layer : SpikingLayer
        With ``spike_time`` linear or hermite; from rest, with no input but the impulses.
    times : Tensor, [T, B, F]
        As `SpikingLayer.spike_times` or this function returns them: in any order, infinite for no
        spike. Those at ``t_end`` or later have no part.
    weight : Tensor, [N, F]
        Charges.
    t_end : float
        Up to when.

    Returns
    -------
    Tensor, [K, B, N]
        Spike times of every piece of a step, infinite where it has none, in order.

    Raises
    ------
    SaltationError
        If the layer spikes on the grid, its model takes no impulses, or shapes do not fit.
    """
    end = positive("t_end", t_end)
    if not isinstance(layer, SpikingLayer) or layer.neuron.spike_time == "grid":
        raise SaltationError(
            "timed_spikes takes a neuron layer with spike_time 'linear' or 'hermite', got "
            f"{type(layer).__name__}"
        )
    fits = tensor("times", times).ndim == 3 and tensor("weight", weight).ndim == 2
    if not fits or times.shape[2] != weight.shape[1]:
        raise SaltationError(
            f"times must be [T, B, F] and weight [N, F], got {list(times.shape)} and "
            f"{list(weight.shape)}"
        )
    neuron = layer.neuron.with_values({"detach_reset": True})
    starts, charges = _pieces(times, weight, neuron.dt, end)
    stops = torch.cat([starts[1:], torch.full_like(starts[:1], end)])
    x = torch.zeros_like(charges[0])
    state, found = neuron.rest(x), []
    for start, stop, charge in zip(starts, stops, charges, strict=True):
        state = neuron.State(*impulse.struck(neuron, charge, state))
        length = (stop - start)[:, None].expand_as(x)
        s, state, theta = in_step.advance(neuron, x, state, length, layer.surrogate)
        at = start[:, None] + theta * length
        found.append(torch.where(s.detach() > 0, at, torch.full_like(at, torch.inf)))
    return torch.stack(found)


def _pieces(times: Tensor, weight: Tensor, dt: float, end: float) -> tuple[Tensor, Tensor]:
    """Where pieces of steps begin, ``[K, B]``, and the charges that arrive there, ``[K, B, N]``."""
    steps, batch, features = times.shape
    flat = times.transpose(1, 2).reshape(steps * features, batch)
    arrives = flat.detach() < end
    count = int(arrives.sum(0).max()) if flat.numel() else 0
    last = torch.full_like(flat, end)
    events, order = torch.where(arrives, flat, last).sort(0)
    events, order = events[:count], order[:count]
    known = arrives.gather(0, order)
    charges = weight.T[order % features] * known[..., None]
    # A hair less than whole steps is not one more.
    whole = torch.arange(0.0, end * (1 - 1e-12), dt, dtype=torch.float64, device=times.device)
    grid = whole.to(times.dtype)[:, None].expand(-1, batch)
    starts, place = torch.cat([grid, events]).sort(0)
    none = charges.new_zeros(len(grid), *charges.shape[1:])
    every = torch.cat([none, charges])
    return starts, every.gather(0, place[..., None].expand(-1, -1, every.shape[2]))
