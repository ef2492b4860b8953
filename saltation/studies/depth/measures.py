"""What is measured of a network of the depth study, before its training and after every epoch."""

from __future__ import annotations

import math
import time
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.data import Batch
from saltation.layers import SpikeStatistics
from saltation.stability import depth_growth, lyapunov
from saltation.stability.gradients import matrix_health
from saltation.stability.taken import taken
from saltation.stepping import undisturbed
from saltation.studies.depth.network import DepthTrial, as_given, driving, sequence_of
from saltation.training import EpochRecord, Score

# Training samples, the first in stored order, that gradients and exponents are measured on. The
# gradient of a matrix [out, in] is a sum of one product per step, sample and place: with fewer of
# these than rows it is singular whatever the network is like.
GRADED, _PERTURBED = 64, 16


class Measured(TypedDict):
    """What `measure` finds."""

    exponent: float
    exponent_error: float
    exponent_finite: float
    growth_by_layer: list[float]
    gradient_by_layer: list[float]
    largest_by_layer: list[float]
    smallest_by_layer: list[float]
    condition_by_layer: list[float]


def untrained(network: nn.Module, fixed: Batch, trial: DepthTrial) -> EpochRecord:
    start = time.perf_counter()
    before = measure(network, fixed, trial)
    return EpochRecord(
        epoch=0,
        train=Score(math.nan, math.nan),
        test=Score(math.nan, math.nan),
        layers={},
        gradient_norm=math.nan,
        lr=math.nan,
        seconds=time.perf_counter() - start,
        found=before,
    )


def by_layer(record: EpochRecord) -> dict[str, list[float]]:
    """Spikes per neuron and step, and the fraction of dead neurons, of every layer on the test."""
    layers: list[SpikeStatistics] = list(record.layers.values())
    return {
        "rate_by_layer": [layer.mean_spike_rate for layer in layers],
        "dead_by_layer": [layer.dead_fraction for layer in layers],
    }


def measure(network: nn.Module, batch: Batch, trial: DepthTrial) -> Measured:
    """What perturbations and gradients do in the network as training sees it.

    That is with the statistics of the batch in batch normalisation, and without dropout. The
    network, and torch's generator, are left as they were.

    Returns
    -------
    ``exponent``, ``exponent_error``: λ per step by the surrogate's tangent, and its standard error
    over samples; ``exponent_finite``: between two trajectories, as its penalty has it;
    ``growth_by_layer``: log of the growth of a perturbation from each layer to the next, L - 1
    numbers; of the gradient of the cross-entropy with respect to each weight matrix but the
    readout's ``gradient_by_layer``: its norm, ``largest_by_layer``, ``smallest_by_layer``: its
    singular values, ``condition_by_layer``: their ratio. ``exponent_finite`` is NaN where a network
    that normalises all steps together cannot be taken through them one after the other.
    """
    training = network.training
    network.train()
    sequence = sequence_of(batch.images[:_PERTURBED], trial)
    with torch.no_grad():
        tangent = lyapunov(network, sequence, seed=trial["seed"])
        finite = _finite(network, sequence, trial["seed"])
        growth = depth_growth(network, sequence, seed=trial["seed"]).growth
    weights = driving(network)
    with undisturbed(network):
        outputs = network(as_given(batch.images, trial))
        logits = outputs.mean(0) if outputs.ndim == 3 else outputs
        loss = cross_entropy(logits, batch.labels)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    health = [matrix_health(name, g) for name, g in zip(weights, gradients, strict=True)]
    network.train(training)
    return {
        "exponent": float(tangent.exponent),
        "exponent_error": float(tangent.standard_error[0]),
        "exponent_finite": finite,
        "growth_by_layer": growth.mean(1).tolist(),
        "gradient_by_layer": [one.norm for one in health],
        "largest_by_layer": [one.largest for one in health],
        "smallest_by_layer": [one.smallest for one in health],
        "condition_by_layer": [one.condition for one in health],
    }


def _finite(network: nn.Module, sequence: Tensor, seed: int) -> float:
    whole, sequence = taken(network, sequence)
    if whole.whole:
        return math.nan
    return float(lyapunov(whole, sequence, estimator="finite", seed=seed).exponent)
