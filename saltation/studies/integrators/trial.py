"""A trial of the integrators study: its neuron, its network, its input and its loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NotRequired

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.data import Batch, Dataset, at_steps, spec_of
from saltation.encoding import ENCODERS
from saltation.errors import ConfigError
from saltation.layers import LeakyIntegrator, counted, lengths_mask
from saltation.losses import mse_loss
from saltation.models import spiking_mlp
from saltation.models.mlp import SpikingMLP
from saltation.neurons import Neuron, get_neuron, known_parameters, model_of
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.given import Builder
from saltation.studies.integrators.config import CURRENTS, EVENTS, INTEGRATOR, OwnSettings


class IntegratorsTrial(TrialSettings, OwnSettings):
    """The settings of a trial."""

    neuron: str
    scheme: str
    dt: float
    steps: int
    readout: str
    epochs: int
    dataset: str
    limit_train: int | None
    limit_test: int | None
    hidden: list[int]
    tau: float
    input: NotRequired[str]  # not in the oldest studies
    encoder: str
    batch_size: int
    lr: float
    optimizer: str
    schedule: str
    clip: float | None


def neuron_of(trial: IntegratorsTrial) -> Neuron:
    """The neuron of a trial."""
    return model_of(trial["neuron"], **_of_neuron(trial))


def _of_neuron(trial: IntegratorsTrial) -> dict[str, Any]:
    # What was recorded before there was a choice was held.
    return {
        "tau": trial["tau"],
        "dt": trial["dt"],
        "scheme": trial["scheme"],
        "input": trial.get("input", "held"),
    }


def encoded(trial: IntegratorsTrial, batch: Batch, epoch: int, stream: int) -> Tensor:
    """A batch as spikes ``[T, B, F]``, for a user's network ``[T, B, *shape]``; or sequences as
    currents."""
    if trial["encoder"] == CURRENTS:
        return at_steps(batch.images, spec_of(trial["dataset"]).dt or 1.0, trial["dt"])
    if trial["encoder"] == EVENTS:
        trains: Any = batch.images
        spikes: Tensor = trains.at(trial["steps"], trial["dt"])
        return spikes.view(*spikes.shape[:2], *trains.shape[1:]) if "network" in trial else spikes
    is_image = "network" in trial and batch.images.shape[1:3] != (1, 1)
    return ENCODERS[trial["encoder"]](
        batch.images if is_image else batch.images.flatten(1),
        trial["steps"],
        trial["dt"],
        index=batch.index,
        seed=trial["seed"],
        epoch=epoch,
        stream=stream,
    )


def steps_of_samples(trial: IntegratorsTrial, batch: Batch) -> Tensor | None:
    """The steps that belong to each sample, ``[T, B]``; None where all do.

    The last step of a sequence counts if any part of it is in the sequence.
    """
    if batch.lengths is not None:
        dt = spec_of(trial["dataset"]).dt or 1.0
        steps = torch.ceil(torch.round(batch.lengths.double() * dt / trial["dt"], decimals=9))
        return lengths_mask(steps.long().clamp(min=1), trial["steps"])
    if trial.get("own_lengths"):
        trains: Any = batch.images
        return lengths_mask(trains.lengths(trial["steps"], trial["dt"]), trial["steps"])
    return None


def mask_of(batch: Batch, steps: Tensor | None) -> Tensor | None:
    """Of the `steps_of_samples` those that readouts look at: where targets are of every step none
    do, and the loss leaves out what has no target."""
    return None if batch.labels.ndim == 3 else steps


def answered(
    network: nn.Module, trial: IntegratorsTrial, batch: Batch, epoch: int, stream: int
) -> Tensor:
    """What the network makes of a batch, at the steps that each sample has; spikes behind their
    end are not counted."""
    x_seq, steps = encoded(trial, batch, epoch, stream), steps_of_samples(trial, batch)
    mask = mask_of(batch, steps)
    with counted(steps):
        outputs: Tensor = network(x_seq) if mask is None else network(x_seq, mask.to(x_seq.device))
    return outputs


def loss_of(trial: IntegratorsTrial, data: Dataset) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy; of targets the mean squared error over the variance of those of the training
    set, which is 1 for who always answers with their mean.

    Targets of moments are brought to the steps of the network as inputs are; a last step that
    reaches beyond the sequence counts for the part that is in it. Behind the end of a shorter
    sequence they are NaN, and nothing counts.

    Raises
    ------
    ConfigError
        If all targets are the same.
    """
    if not data.regression:
        return cross_entropy
    targets = data.train.labels.double().flatten(0, -2)
    variance = float((targets - targets.nanmean(0)).square().nanmean())
    if not variance > 0:
        raise ConfigError(f"{data.name}: all targets are the same, so there is nothing to learn")

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        there = labels.isfinite()
        found, here = (
            at_steps(x, data.dt or 1.0, trial["dt"])
            for x in (labels.nan_to_num(), there[:, :, :1].to(labels.dtype))
        )
        # What a step that is cut short lacks is not the target's fault.
        wanted = torch.where(here > 0, found / here, 0)
        return mse_loss(outputs, wanted, mask=here[..., 0], scale=variance)

    def loss_of_samples(outputs: Tensor, labels: Tensor) -> Tensor:
        return mse_loss(outputs[None], labels[None], scale=variance)

    return loss if data.of_moments else loss_of_samples


def network_of(trial: IntegratorsTrial, data: Dataset) -> nn.Module:
    """The network of a trial, with the weights that torch's generator gives now."""
    if "network" in trial:
        return Builder.of(trial["network"]).build(
            shape=data.sample_shape,
            classes=data.classes,
            neuron=get_neuron(trial["neuron"]),
            steps=trial["steps"],
            **_of_neuron(trial),
        )
    sizes = (math.prod(data.shape), *trial["hidden"], data.classes)
    parameters = known_parameters(trial["neuron"], **_of_neuron(trial))
    if trial["readout"] != INTEGRATOR:
        return spiking_mlp(sizes, neuron=trial["neuron"], readout=trial["readout"], **parameters)
    chain = spiking_mlp(sizes, neuron=trial["neuron"], readout="last", **parameters)
    return SpikingMLP(*list(chain)[:-1], LeakyIntegrator(trial["tau"], trial["dt"]))
