"""What a trial of the flossing study is made of: network, flossing, and what is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.layers import Recurrent, SpikeLinear, SpikeStatistics, SpikingLayer
from saltation.neurons import get_neuron, known_parameters
from saltation.random import TEST, TRAIN
from saltation.stability import LyapunovPenalty, lyapunov
from saltation.studies.engine.specification import TrialSettings
from saltation.studies.flossing.delayed import SYMBOLS, Delayed, Trials
from saltation.training import Diverged, EpochRecord, Score

# Samples that exponents and gradients are measured on, at every epoch the same; their numbers are
# beyond those of the test.
_MEASURED, _PLACE = 16, 1 << 30


class FlossingTrial(TrialSettings):
    """The settings of a trial."""

    task: str
    delay: int
    mode: str
    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    schedule: str
    clip: float | None
    neuron: str
    surrogate: str
    hidden: int
    tau: float
    input_gain: float
    gain: float
    cue_steps: int
    answer_steps: int
    noise: float
    train_samples: int
    test_samples: int
    k: int
    # Of a mode with flossing.
    floss_steps: NotRequired[int]
    floss_lr: NotRequired[float]
    floss_window: NotRequired[int]
    floss_samples: NotRequired[int]
    floss_every: NotRequired[int]
    floss_weight: NotRequired[float]
    qr_every: NotRequired[int]


class Measured(TypedDict):
    """What `measure` finds."""

    exponent: float
    spectrum: list[float]
    gradient_by_distance: list[float]


def task_of(trial: FlossingTrial) -> Delayed:
    """The task of a trial."""
    return Delayed(
        task=trial["task"],
        delay=trial["delay"],
        cue_steps=trial["cue_steps"],
        answer_steps=trial["answer_steps"],
        noise=trial["noise"],
    )


def neurons_of(trial: FlossingTrial) -> SpikingLayer:
    """The neurons of a trial."""
    own = known_parameters(trial["neuron"], tau=trial["tau"])
    layer: SpikingLayer = get_neuron(trial["neuron"]).layer(surrogate=trial["surrogate"], **own)
    return layer


def network_of(trial: FlossingTrial) -> nn.Sequential:
    """The network of a trial, with the weights that torch's generator gives now."""
    hidden = trial["hidden"]
    currents = SpikeLinear(task_of(trial).channels, hidden)
    recurrent = Recurrent(neurons_of(trial), hidden)
    network = nn.Sequential(currents, recurrent, SpikeLinear(hidden, SYMBOLS))
    with torch.no_grad():
        currents.weight.mul_(trial["input_gain"])
        recurrent.weight.mul_(trial["gain"])
    return network


def answer(outputs: Tensor, trial: FlossingTrial) -> Tensor:
    """Logits ``[B, 2]``: the mean of the outputs ``[T, B, 2]`` over the steps of the answer."""
    return outputs[-trial["answer_steps"] :].mean(0)


def untrained(
    network: nn.Sequential,
    trial: FlossingTrial,
    device: torch.device,
    score: Callable[[], tuple[Score, dict[str, SpikeStatistics]]],
) -> EpochRecord:
    """Floss the network if the trial asks for it; what it is before training, as epoch 0."""
    start = time.perf_counter()
    drawn = measure(network, trial, device)
    if trial["mode"] != "none":
        floss(network, trial, device)
    test, layers = score()
    before = measure(network, trial, device)
    return EpochRecord(
        epoch=0,
        train=Score(math.nan, math.nan),
        test=test,
        layers=layers,
        gradient_norm=math.nan,
        lr=math.nan,
        seconds=time.perf_counter() - start,
        found={**before, **{f"{name}_drawn": value for name, value in drawn.items()}},
    )


def floss(network: nn.Module, trial: FlossingTrial, device: torch.device) -> None:
    """Drive the leading exponents of the network towards zero, whatever the task asks.

    The readout, on which exponents do not depend, stays as it is.
    """
    task, samples = task_of(trial), trial["floss_samples"]
    penalty = _penalty(trial, every=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=trial["floss_lr"])
    for step in range(1, trial["floss_steps"] + 1):
        index = torch.arange(samples, device=device) + step * samples
        x = task.draw(index, seed=trial["seed"], epoch=0, stream=TRAIN).spikes
        loss = penalty(network, x[: trial["floss_window"]])
        if not math.isfinite(float(loss.detach())):
            raise Diverged("the flossing penalty", 0, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


class Flossing:
    """What the loss has beside the task's: flossing over the beginning of a trial."""

    def __init__(self, trial: FlossingTrial) -> None:
        self._window = trial["floss_window"]
        self._penalty = _penalty(trial, every=trial["floss_every"], weight=trial["floss_weight"])
        self.state_dict = self._penalty.state_dict
        self.load_state_dict = self._penalty.load_state_dict

    def __call__(self, network: nn.Module, batch: Trials, epoch: int) -> Tensor:
        return self._penalty(network, batch.spikes[: self._window])


def _penalty(trial: FlossingTrial, every: int, weight: float = 1.0) -> LyapunovPenalty:
    return LyapunovPenalty(
        weight=weight,
        penalty="floss",
        estimator="tangent",
        every=every,
        samples=trial["floss_samples"],
        k=trial["k"],
        qr_every=trial["qr_every"],
        seed=trial["seed"],
    )


def measure(network: nn.Sequential, trial: FlossingTrial, device: torch.device) -> Measured:
    """Exponents over whole trials, and how a loss's gradient depends on the distance in time.

    Returns
    -------
    ``exponent``: λ1; ``spectrum``: the first k; ``gradient_by_distance``: the norm of the gradient
    of a sample's loss with respect to the input currents of the recurrent layer at one step, mean
    over samples; first that at the last step, then at those before it.
    """
    index = torch.arange(_MEASURED, device=device) + _PLACE
    x, labels = task_of(trial).draw(index, seed=trial["seed"], epoch=0, stream=TEST)
    with torch.no_grad():
        spectrum = lyapunov(network, x, k=trial["k"], seed=trial["seed"]).spectrum
    currents = network[0](x)
    loss = cross_entropy(answer(network[1:](currents), trial), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, currents)
    by_step = gradient.norm(dim=2).mean(1)
    return {
        "exponent": float(spectrum[0]),
        "spectrum": spectrum.tolist(),
        "gradient_by_distance": by_step.flip(0).tolist(),
    }
