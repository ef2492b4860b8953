"""The settings of the depth study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator

from saltation.data import DATASETS, Dataset, load, spec_of
from saltation.data.own import HELP
from saltation.data.registry import Spec
from saltation.errors import ConfigError, choose
from saltation.layers.recurrent import neuron_layers
from saltation.models import ARCHITECTURES
from saltation.models.blocks import NORMS
from saltation.models.init import INITS
from saltation.stability import ESTIMATORS, PENALTIES, REMEDIES
from saltation.studies.depth.network import GROWTH
from saltation.studies.engine import room
from saltation.studies.engine.bounds import (
    AtLeast0,
    Count,
    Finite,
    Folder,
    Positive,
    Seed,
    Several,
    Some,
)
from saltation.studies.engine.config import HOW, DataConfig, GradientConfig, names, setting
from saltation.studies.given import PLAIN, Builder, Source, architecture_of, whole_source
from saltation.studies.recipes import LOSSES, NONE, OWN, Recipe, recipes
from saltation.surrogate import SURROGATES

DEPTHS = [4, 8, 12, 16]
_SHOWN = 4  # steps of an image
# Architectures that take features without places, as vectors and sequences have them.
_OF_ROWS = ("mlp", "ms_mlp")
Layers = Annotated[int, Field(ge=1, le=1000)]


class DepthConfig(GradientConfig, DataConfig):
    """What makes depth pay in spiking networks: recipes, and control of the Lyapunov exponent."""

    dataset: str = Field(
        "cifar100",
        description=f"{names(DATASETS)}; `saltation data list` shows which are present; {HELP}.",
    )
    depths: Annotated[list[Layers], Some, Several] = DEPTHS
    """Layers of neurons. With vgg 4 stages share them equally; up to 4 are stages of one."""
    arch: str = Field("vgg", description=f"Networks: {names(ARCHITECTURES)}.")
    network: Source | None = None
    """FILE.py:FUNCTION that builds networks in place of those of arch: of shape, classes, depth and
    steps it takes those that it names, and returns a module from sequences [T, B, C, H, W] to
    logits [B, classes]. One that takes no depth has that of its neuron layers."""
    base_channels: Annotated[int, Field(ge=1, le=512)] = 64
    """Channels of the first stage, doubled by every further one up to 512; with mlp, neurons of a
    layer."""
    T: Count | None = None
    """Steps for which an image is shown, 4 unless given, or in which recorded spikes are counted;
    sequences have their own."""
    beta: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of a membrane potential what is left after a step; unless given that of the architecture, 0.9
    of vgg and mlp."""
    side: Annotated[int, Field(ge=1, le=1024)] = 32
    """Height and width in pixels that images are resized to."""
    epochs: Count = setting("epochs", 100)
    lr: Positive = setting("lr")
    optimizer: str = setting("optimizer", "adamw")
    weight_decay: AtLeast0 = setting("weight_decay", 1e-4)
    schedule: str = setting("schedule", "cosine")
    clip: Positive | None = setting("clip", 10.0)
    surrogate: Annotated[
        list[str],
        Field(
            min_length=1,
            description="Surrogate derivatives, NAME or NAME:PARAMETER: own (of vgg and mlp the "
            f"benchmark's, fast_sigmoid:25), {names(SURROGATES)}.",
        ),
        Several,
    ] = [OWN]
    batch_norm: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Statistics of normalisations: own (of vgg the benchmark's, step), "
            f"{names(NORMS)}.",
        ),
        Several,
    ] = [OWN]
    init: Annotated[
        list[str], Field(min_length=1, description=f"Initial weights: {names(INITS)}."), Several
    ] = ["kaiming"]
    loss: Annotated[
        list[str],
        Field(min_length=1, description=f"Losses: {names(LOSSES)} (of every step's output)."),
        Several,
    ] = ["cross_entropy"]
    remedies: Annotated[
        list[str],
        Field(
            min_length=1,
            description="Before training: none, cure (what saltation.cure finds on up to 2,048 "
            f"training samples), or {names(REMEDIES)}; several in a row are joined by +.",
        ),
        Several,
    ] = [NONE]
    reg_type: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Penalties on λ: {names(PENALTIES)}; {GROWTH}: on growth over depth, "
            "towards 0; none: networks without a penalty alone.",
        ),
        Several,
    ] = ["squared"]
    estimator: Annotated[
        list[str],
        Field(min_length=1, description=f"How the penalty estimates λ: {names(ESTIMATORS)}."),
        Several,
    ] = ["telescoped"]
    lambda_reg: Positive = 0.3
    """Weight of the penalty in the loss."""
    lambda_target: Finite = -0.1
    """λ per step that squared and adaptive_sigmoid aim at."""
    lyap_threshold: Finite = 2.0
    """λ from which extreme and adaptive_* penalise."""
    lyap_every: Count = 4
    """Training steps from one estimate of λ to the next."""
    lyap_samples: Count = 4
    """Samples of a batch that λ is estimated on; more than there are mean all."""
    warmup_epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Epochs over which the weight of the penalty rises to its value."""
    stable_init: bool = False
    """Initial weights half as large."""
    gain: Positive = 1.0
    """Factor on all initial weights but the readout's."""
    seed: Seed | None = None
    """One seed, in place of seeds."""
    seeds: Annotated[list[Seed], Some, Several] = [42]
    """One trial each; weights, order of samples and dropout follow from the seed. Intervals, and a
    verdict, need at least two."""
    data_dir: Folder | None = Path("data")
    """Folder of the data set, searched before $SALTATION_DATA."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = architecture_of(self.networks)
        data = spec_of(self.dataset)
        if data.lengths:
            raise ConfigError(
                f"{data.name} holds sequences of different lengths, whose padding these networks "
                "would take for input (allowed: sequences of one length)"
            )
        if not data.is_image and self.network is None and self.arch not in _OF_ROWS:
            held = "sequences" if data.dt is not None else "recorded spikes"
            if data.dt is None and data.duration is None:
                held = f"vectors of {data.shape[-1]} numbers"
            raise ConfigError(
                f"{data.name} holds {held}, and {self.arch} takes images (allowed: "
                f"{' or '.join(_OF_ROWS)}, or a network of yours)"
            )
        if data.duration is not None and self.T is None:
            raise ConfigError(
                f"{data.name} holds spikes over a time of {data.duration:g}, which are "
                "counted in steps: say how many with steps"
            )
        if data.dt is not None and self.T not in (None, data.shape[0]):
            raise ConfigError(
                f"{data.name} holds sequences of {data.shape[0]} samples, which are the steps: "
                f"give no steps, got {self.T}"
            )
        for recipe in self.recipes:
            recipe.check(self.networks)
            together = recipe.batch_norm in ("all", "tdbn")
            on_exponent = any(penalty in PENALTIES for penalty in self.reg_type)
            if together and on_exponent and "finite" in self.estimator:
                raise ConfigError(
                    f"estimator 'finite' takes networks through their steps one after the other, "
                    f"and batch_norm '{recipe.batch_norm}' normalises all together (allowed: "
                    f"telescoped, tangent, or batch_norm step or per_step)"
                )
        if GROWTH in self.reg_type and min(self.depths) < 2:
            raise ConfigError(
                f"reg_type '{GROWTH}' needs two layers of neurons or more, got depths="
                f"{' '.join(map(str, self.depths))}"
            )
        if self.stable_init and self.init != ["kaiming"]:
            raise ConfigError(
                f"give either stable_init or init, got init={' '.join(self.init)}; stable_init is "
                f"'scaled'"
            )
        if self.network is not None:
            builds: dict[str, Any] = {"init": ["kaiming"], "base_channels": 64}
            builds |= {"stable_init": False, "beta": None}
            for name, default in builds.items():
                if getattr(self, name) != default:
                    raise ConfigError(f"{self.network} builds the whole network: give no {name}")
        for depth in self.depths:
            kind.check(depth, self.side)
        for penalty in self.reg_type:
            choose("reg_type", penalty, (*PENALTIES, GROWTH, NONE))
        for estimator in self.estimator:
            choose("estimator", estimator, ESTIMATORS)
        if self.seed is not None and self.seeds != [42] and self.seed not in self.seeds:
            raise ConfigError(
                f"give either seed or seeds, got seed={self.seed} and "
                f"seeds={' '.join(map(str, self.seeds))}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _as_recorded(cls, given: Any) -> Any:
        """Progress by the name that the script's config has for its opposite, and the first of the
        seeds once."""
        if isinstance(given, dict) and given.get("network"):
            given = given | {"network": whole_source(given["network"])}
            layers = _layers(given)
            depths = list(given.get("depths", DEPTHS))
            if layers and depths not in (DEPTHS, [layers]):
                raise ConfigError(
                    f"{given['network']} takes no depth, and its network has {layers} layers of "
                    f"neurons: give no depths"
                )
            given = given | ({"depths": [layers]} if layers else {})
        if isinstance(given, dict) and "no_progress" in given:
            given = dict(given)
            given["progress"] = not given.pop("no_progress")
            if given.get("seeds"):
                given.pop("seed", None)
        return given

    @property
    def steps(self) -> int:
        """Steps of every trial."""
        data = spec_of(self.dataset)
        return data.shape[0] if data.dt is not None else self.T or _SHOWN

    @property
    def networks(self) -> str:
        """The name of the networks that are trained: of the registry, or of a user's function."""
        return self.network or self.arch

    @property
    def of_network(self) -> dict[str, str]:
        """Settings that say which networks are trained."""
        if self.network is None:
            return {"arch": self.arch}
        return {"arch": self.network, "code": Builder.of(self.network).fingerprint}

    @property
    def recipes(self) -> list[Recipe]:
        """All combinations of what networks are made and trained with."""
        return recipes(self.surrogate, self.batch_norm, self.init, self.loss, self.remedies)

    @property
    def all_seeds(self) -> list[int]:
        """The seeds, however they were given."""
        return self.seeds if self.seed is None or self.seeds != [42] else [self.seed]

    def recorded(self) -> dict[str, Any]:
        """All settings, with the names and fields that the script's config has."""
        return self.model_dump(mode="json", exclude=set(HOW)) | {
            "seed": self.all_seeds[0],
            "seeds": self.all_seeds,
            "no_progress": not self.progress,
        }

    def least_memory(self) -> float:
        data = spec_of(self.dataset)
        pixels = self.side**2 if data.is_image else data.shape[-1]
        samples = min(self.limit_train or data.samples, data.samples)
        batch = min(self.batch_size, samples)
        # One byte for every value of the images, and the potentials of one layer at every step.
        images = samples * data.shape[0] * pixels
        sites = 1 if self.arch in _OF_ROWS else pixels // 16
        return images + room.FLOAT * self.steps * batch * self.base_channels * max(1, sites)

    def load(self) -> Dataset:
        return load(
            self.dataset,
            self.data_dir,
            side=self.side if spec_of(self.dataset).is_image else None,
            limit_train=self.limit_train,
            limit_test=self.limit_test,
        )


def shape_at(spec: Spec, side: int) -> tuple[int, ...]:
    """What a network is given at a step, images at that side in pixels."""
    if spec.is_image:
        return (spec.shape[0], side, side)
    return spec.shape if spec.dt is None else spec.shape[1:]


def _layers(given: dict[str, Any]) -> int:
    """Layers of neurons of a user's network that is built without a depth; 0 if it takes one."""
    builder = Builder.of(str(given["network"]))
    if "depth" in builder.names or builder.is_gone:
        return 0
    spec = spec_of(str(given.get("dataset", DepthConfig.model_fields["dataset"].default)))
    side = given.get("side", DepthConfig.model_fields["side"].default)
    shape = shape_at(spec, side)
    steps = spec.shape[0] if spec.dt is not None else given.get("T") or _SHOWN
    with torch.random.fork_rng(devices=[]):
        network = builder.build(**PLAIN, shape=shape, classes=spec.classes, steps=steps)
    return max(1, len(neuron_layers(network)))
