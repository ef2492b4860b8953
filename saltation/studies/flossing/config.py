"""The settings of the flossing study."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from saltation.errors import ConfigError, choose
from saltation.layers import LAYERS
from saltation.studies.engine import room
from saltation.studies.engine.bounds import Count, Fraction, Positive, Seed, Several, Some
from saltation.studies.engine.config import VALIDATION_HELP, GradientConfig, names, setting
from saltation.studies.engine.validation import number_held_out
from saltation.studies.flossing.delayed import TASKS
from saltation.surrogate import SURROGATES

MODES = ("none", "before", "both")
Probability = Annotated[float, Field(ge=0, le=1)]


class FlossingConfig(GradientConfig):
    """Whether flossing helps recurrent spiking networks to learn over long delays."""

    tasks: Annotated[
        list[str], Field(min_length=1, description=f"Tasks: {names(TASKS)}."), Several
    ] = ["xor", "copy"]
    delays: Annotated[list[Count], Some, Several] = [10, 20, 40, 80]
    """Steps between the cue and what follows it."""
    modes: Annotated[
        list[str],
        Field(
            min_length=1,
            description=f"Flossing: {names(MODES)} training and during it.",
        ),
        Several,
    ] = ["none", "before", "both"]
    seeds: Annotated[list[Seed], Some, Several] = [0, 1, 2]
    """One trial each; weights, samples and their spikes follow from the seed."""
    neuron: str = Field("lif", description=f"Neuron model: {names(LAYERS)}.")
    surrogate: str = Field("atan", description=f"Surrogate derivative: {names(SURROGATES)}.")
    hidden: Count = 64
    """Neurons of the recurrent layer."""
    tau: Positive = 4.0
    """Membrane time constant, in steps."""
    input_gain: Positive = 4.0
    """Factor on the input weights as torch draws them."""
    gain: Positive = 3.0
    """Factor on the recurrent weights as torch draws them."""
    cue_steps: Count = 4
    """Steps that a cue is shown."""
    answer_steps: Count = 4
    """Steps of the go cue, over which the answer is read."""
    noise: Probability = 0.02
    """Probability of a spike in input channels that show nothing."""
    epochs: Count = 5
    """Passes over the training set, each with new spikes."""
    train_samples: Count = 2560
    """Samples of an epoch."""
    test_samples: Count = 512
    """Samples of the test."""
    validation: Fraction = Field(0.0, description=VALIDATION_HELP)
    batch_size: Count = 32
    """Samples per batch."""
    lr: Positive = setting("lr", 5e-3)
    clip: Positive | None = setting("clip", 1.0)
    success_at: Annotated[float, Field(gt=0, le=100)] = 95.0
    """Test accuracy in percent from which a trial counts as solved."""
    k: Count = 8
    """Exponents that are flossed and measured, from the largest."""
    floss_steps: Count = 30
    """Gradient steps of flossing before training."""
    floss_lr: Positive = 3e-2
    """Learning rate of these steps (Adam)."""
    floss_window: Count = 12
    """Steps of a trial, from its beginning, over which exponents are flossed."""
    floss_samples: Count = 4
    """Samples of every such estimate."""
    floss_every: Count = 20
    """Training steps from one flossing to the next during training."""
    floss_weight: Positive = 1.0
    """Weight of the penalty in the loss during training."""
    qr_every: Count = 6
    """Steps between decompositions while flossing; exponents are measured with 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for what, given, allowed in (("task", self.tasks, TASKS), ("mode", self.modes, MODES)):
            for name in given:
                choose(what, name, allowed)
        choose("neuron", self.neuron, LAYERS)
        choose("surrogate", self.surrogate, SURROGATES)
        number_held_out(self.train_samples, self.validation)
        if self.k > self.hidden:
            raise ConfigError(
                f"k must be at most the {self.hidden} neurons of the layer, got {self.k}"
            )
        return self

    def least_memory(self) -> float:
        batch = min(self.batch_size, self.train_samples)
        steps = max(self.delays) + self.cue_steps + self.answer_steps
        tangents = min(self.floss_window, steps) * self.floss_samples * self.k * self.hidden
        if set(self.modes) == {"none"}:
            tangents = 0
        # Backpropagation needs every potential of every step.
        values = self.hidden * steps * batch + tangents
        return room.LEARNED * self.hidden**2 + room.FLOAT * values
