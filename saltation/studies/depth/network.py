"""What the settings of a trial of the depth study are, and the network and input they make."""

from __future__ import annotations

from typing import Any, NotRequired

import torch
from torch import Tensor, nn

from saltation.data import spec_of
from saltation.data.trains import SpikeTrains
from saltation.encoding import direct
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.given import architecture_of
from saltation.studies.recipes import Recipe

# The penalty that is on growth over depth, and not on λ.
GROWTH = "depth_growth"


class DepthTrial(TrialSettings):
    """The settings of a trial."""

    depth: int
    mode: str
    arch: str
    code: NotRequired[str]
    base_channels: int
    T: int
    beta: NotRequired[float]
    side: int
    epochs: int
    dataset: str
    limit_train: int | None
    limit_test: int | None
    batch_size: int
    lr: float
    optimizer: str
    weight_decay: float
    schedule: str
    clip: float | None
    stable_init: bool
    gain: float
    # Of a penalty.
    reg_type: NotRequired[str]
    estimator: NotRequired[str]
    lambda_reg: NotRequired[float]
    lambda_target: NotRequired[float]
    lyap_threshold: NotRequired[float]
    lyap_every: NotRequired[int]
    lyap_samples: NotRequired[int]
    warmup_epochs: NotRequired[int]
    # Of a recipe.
    surrogate: NotRequired[str]
    batch_norm: NotRequired[str]
    init: NotRequired[str]
    loss: NotRequired[str]
    remedies: NotRequired[str]


def network_of(trial: DepthTrial, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of a trial without its remedies, with the weights that torch's generator gives
    now."""
    recipe = Recipe.of(trial)
    network = architecture_of(trial["arch"]).build(
        shape,
        classes,
        trial["depth"],
        base_channels=trial["base_channels"],
        steps=trial["T"],
        init="scaled" if trial["stable_init"] else recipe.init,
        **recipe.options,
        **({"beta": trial["beta"]} if "beta" in trial else {}),
    )
    with torch.no_grad():
        for weight in driving(network).values():
            weight.mul_(trial["gain"])
    return network


def sequence_of(images: Any, trial: DepthTrial) -> Tensor:
    """What the network of a trial is shown, ``[T, B, *shape]``: images at every step, sequences
    ``[B, T, F]`` with time in front, of recorded spikes how many there are in each of T steps."""
    if isinstance(images, SpikeTrains):
        duration = spec_of(trial["dataset"]).duration or images.duration
        return images.counted(trial["T"], duration / trial["T"])
    return images.transpose(0, 1) if images.ndim == 3 else direct(images, trial["T"])


def as_given(images: Any, trial: DepthTrial) -> Tensor:
    """What the network of a trial is called with: images as they are, others as sequences."""
    if isinstance(images, Tensor) and images.ndim != 3:
        return images
    return sequence_of(images, trial)


def driving(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weight matrices that drive neurons: all but the last, which is the readout's.

    The readout is of no use for condition numbers: over the classes the gradient of a cross-entropy
    adds up to 0, so that its matrix is singular in any network.
    """
    matrices = {name: p for name, p in network.named_parameters() if p.ndim >= 2}
    return dict(list(matrices.items())[:-1])
