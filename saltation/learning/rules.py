"""Rules that change the output weights of a network from what it did; and the one of spike counts.

R-STDP on counts, pre = hidden spikes / T. ``pm1`` rewards the winner w, the output that spiked
most, with r = 1 where it is the label, else -1; ``onehot`` compares all outputs with the label:

    pm1      dW[w] = mean of r pre over the samples that w won
    onehot   dW = mean over the batch of (onehot(label) - softmax(output spikes)) pre^T

Counts stand in for the spike pairs of reward-modulated STDP (Florian, "Reinforcement learning
through modulation of spike-timing-dependent synaptic plasticity", Neural Computation, 2007).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from saltation.errors import SaltationError, choose, count, fraction, positive, tensor
from saltation.learning.network import Activity, checked_labels


def reward_of(output_counts: Tensor, labels: Tensor) -> Tensor:
    """``[B]``: 1 where the output that spiked most is the label, else -1."""
    return torch.where(output_counts.argmax(1) == labels, 1.0, -1.0).to(output_counts.dtype)


def _pm1(pre: Tensor, output_counts: Tensor, labels: Tensor) -> Tensor:
    won = one_hot(output_counts.argmax(1), output_counts.shape[1]).to(pre.dtype)
    rewarded = (won * reward_of(output_counts, labels)[:, None]).T @ pre
    return rewarded / won.sum(0).clamp(min=1)[:, None]


def _onehot(pre: Tensor, output_counts: Tensor, labels: Tensor) -> Tensor:
    wanted = one_hot(labels, output_counts.shape[1]).to(pre.dtype)
    return (wanted - output_counts.softmax(1)).T @ pre / len(pre)


# ``(pre [B, H], output counts [B, C], labels [B]) -> dW [C, H]``.
REWARDS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"pm1": _pm1, "onehot": _onehot}


class Rule(ABC):
    """How output weights change after a batch: ``W + change``, then decay, then limits.

    Attributes
    ----------
    lr : float
        Learning rate, above 0.
    clip : float
        Weights are kept within ``[-clip, clip]``.
    decay : float
        Fraction that the weights lose after every change, in [0, 1).
    """

    lr: float
    clip: float
    decay: float

    def __post_init__(self) -> None:
        for name, check in (("lr", positive), ("clip", positive), ("decay", fraction)):
            object.__setattr__(self, name, check(name, getattr(self, name)))

    @abstractmethod
    def change_of(self, activity: Activity, labels: Tensor) -> Tensor:
        """The change ``[C, H]`` of the output weights, learning rate included.

        Parameters
        ----------
        activity
            What the network did on the batch.
        labels : Tensor of int64, [B]
        """

    def apply(self, weight: Tensor, change: Tensor) -> None:
        """Change ``weight`` [C, H] in place."""
        weight += change
        if self.decay:
            weight *= 1 - self.decay
        weight.clamp_(-self.clip, self.clip)

    @torch.no_grad()
    def learn(self, weight: Tensor, activity: Activity, labels: Tensor) -> None:
        """Change ``weight`` [C, H] in place by what a batch with these labels teaches."""
        self.apply(weight, self.change_of(activity, labels))


@dataclass(frozen=True)
class RSTDP(Rule):
    """Reward-modulated STDP on spike counts.

    Parameters
    ----------
    lr : float
        Learning rate.
    reward : str, default "pm1"
        ``pm1`` or ``onehot``; see the equations of this module.
    clip : float, default 5
        Weights are kept within ``[-clip, clip]``.
    decay : float, default 0
        Fraction that the weights lose after every change, in [0, 1).

    Raises
    ------
    SaltationError
        If the reward is unknown or a number out of range.
    """

    lr: float
    reward: str = "pm1"
    clip: float = 5.0
    decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        choose("reward", self.reward, REWARDS)

    def change(
        self, hidden_counts: Tensor, output_counts: Tensor, labels: Tensor, steps: int
    ) -> Tensor:
        """The change ``[C, H]`` of the output weights, learning rate included.

        Parameters
        ----------
        hidden_counts, output_counts : Tensor, [B, H] and [B, C]
            Spikes of each sample and neuron.
        labels : Tensor of int64, [B]
        steps : int
            Number of steps T that were counted over.

        Raises
        ------
        SaltationError
            If shapes do not fit or a label is not a class.
        """
        for what, counts in (("hidden", hidden_counts), ("output", output_counts)):
            if tensor(f"{what} counts", counts).ndim != 2 or not counts.is_floating_point():
                raise SaltationError(
                    f"{what} counts must be floating point [B, N], "
                    f"got {counts.dtype} {list(counts.shape)}"
                )
        if len(hidden_counts) != len(output_counts):
            raise SaltationError(
                "hidden and output counts must be of the same samples, "
                f"got {list(hidden_counts.shape)} and {list(output_counts.shape)}"
            )
        steps = count("steps", steps)
        labels = checked_labels(labels, *output_counts.shape)
        return self.lr * REWARDS[self.reward](hidden_counts / steps, output_counts, labels)

    def change_of(self, activity: Activity, labels: Tensor) -> Tensor:
        return self.change(activity.hidden_counts, activity.output_counts, labels, activity.steps)
