"""The settings of the remedies study."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from saltation.data import spec_of
from saltation.errors import ConfigError, choose
from saltation.models import ARCHITECTURES
from saltation.stability import REMEDIES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Positive, Seed, Several, Some
from saltation.studies.engine.config import NamedDataConfig, names
from saltation.studies.given import Source, architecture_of, takes_nothing
from saltation.studies.recipes import CURE, NONE, remedies_of
from saltation.studies.remedies.faults import FAULTS


class RemediesConfig(NamedDataConfig):
    """Which remedies make which networks learn: networks, faults and remedies, ranked."""

    networks: Annotated[
        list[str],
        Field(min_length=1, description=f"Networks: {names(ARCHITECTURES)}."),
        Several,
    ] = ["vgg", "mlp"]
    network: Source | None = None
    """FILE.py:FUNCTION in place of networks. A function of shape, classes, depth and steps, or some
    of them, returns a module from sequences [T, B, C, H, W] to logits [B, classes] for the data
    set; one that takes nothing returns its own samples too, (network, x, y) or (network, x, y,
    loss), as for `saltation diagnose`."""
    faults: Annotated[
        list[str], Field(min_length=1, description=f"Faults to plant: {names(FAULTS)}."), Several
    ] = ["none", "silent", "steep", "large"]
    remedies: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Remedies to try: none, cure, {names(REMEDIES)}; several in a row are "
            "joined by +. What others are compared with, none, is always there.",
        ),
        Several,
    ] = [NONE, *REMEDIES]
    depth: Annotated[int, Field(ge=1, le=1000)] = 8
    """Layers of neurons of the networks."""
    base_channels: Annotated[int, Field(ge=1, le=512)] = 8
    """Channels of the first stage; with mlp, neurons of a layer."""
    T: Count = 4
    """Steps for which an image is shown."""
    side: Annotated[int, Field(ge=1, le=1024)] = 16
    """Height and width in pixels that images are resized to."""
    samples: Annotated[int, Field(ge=16, le=1_000_000)] = 800
    """Training samples that are used: three quarters to train on, the rest to judge by."""
    epochs: Count = 5
    """Passes over the samples to train on."""
    batch_size: Count = 32
    """Samples of a step."""
    lr: Positive = 3e-3
    """Learning rate of Adam, with a cosine schedule."""
    seeds: Annotated[list[Seed], Some, Several] = [0, 1, 2]
    """One trial each; weights, split and order of samples follow from the seed. Of a user's
    network the weights follow from torch's generator, which is given the seed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for fault in self.faults:
            choose("fault", fault, FAULTS)
        for remedy in self.remedies:
            for name in remedies_of(remedy):
                choose("remedy", name, (NONE, CURE, *REMEDIES))
        if self.has_samples:
            return self
        data = spec_of(self.dataset)
        if data.dt is not None or data.duration is not None:
            raise ConfigError(
                f"this study shows images, and {data.name} holds sequences or spikes "
                "(allowed: images [N, C, H, W], vectors [N, F], or a network with its own samples)"
            )
        for name in self.tried:
            architecture_of(name).check(self.depth, self.side)
            if not data.is_image and name in ARCHITECTURES and name != "mlp":
                raise ConfigError(
                    f"{data.name} holds vectors of {data.shape[-1]} numbers, and {name} takes "
                    "images (allowed: mlp, or a network of yours)"
                )
        return self

    @property
    def has_samples(self) -> bool:
        """Whether a user's function returns samples with its network."""
        return self.network is not None and takes_nothing(self.network)

    @property
    def tried(self) -> list[str]:
        """The networks, by the names of the registry or the user's function."""
        return [self.network] if self.network else self.networks

    def least_memory(self) -> float:
        if self.has_samples:
            return 0.0
        pixels = self.side**2
        images = self.samples * spec_of(self.dataset).shape[0] * pixels
        return images + room.FLOAT * self.T * self.batch_size * self.base_channels
