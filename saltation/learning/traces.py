"""Rules of spike pairs: traces, eligibility and reward; and STDP without a reward.

The equations stand in `saltation.kernels.plasticity`. A trace of time constant tau keeps
``exp(-dt / tau)`` of itself in a step, so a rule means the same for every dt.

A pair of spikes needs a spike of the output: an output that spikes more is changed more, and one
that is silent not at all. So weights run away, or all outputs fall silent, unless something holds
them: after every batch those of each output are scaled to the same sum, as by Diehl & Cook
("Unsupervised learning of digit recognition using spike-timing-dependent plasticity", Frontiers in
Computational Neuroscience, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from saltation.errors import choose, not_negative, positive
from saltation.kernels import dispatch_learning
from saltation.kernels.plasticity import Pair
from saltation.learning.network import Activity, checked_labels
from saltation.learning.rules import Rule, reward_of

MOMENTS = ("end", "online")


@dataclass(frozen=True)
class PairRule(Rule):
    """What rules of spike pairs share.

    Parameters
    ----------
    lr : float
        Learning rate.
    clip : float, default 5
        Weights are kept within ``[-clip, clip]``.
    decay : float, default 0
        Fraction that the weights lose after every change, in [0, 1).
    dt : float, default 1
        Length of a step.
    tau_plus, tau_minus : float, default 2
        Time constants of the pre- and the postsynaptic trace, in the unit of time of ``dt``.
    a_plus, a_minus : float, default 1 and 0.1
        What a pair adds where the presynaptic spike comes first, and takes away where it comes
        last; at least 0.
    total : float or None, default 10
        Weights are kept within ``[0, clip]``, and those of each output scaled to this sum, so that
        no output can win by size alone. None leaves them as they are, within ``[-clip, clip]``.

    Raises
    ------
    SaltationError
        If a number is out of range.
    """

    lr: float
    clip: float = 5.0
    decay: float = 0.0
    dt: float = 1.0
    tau_plus: float = 2.0
    tau_minus: float = 2.0
    a_plus: float = 1.0
    a_minus: float = 0.1
    total: float | None = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dt", "tau_plus", "tau_minus"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        for name in ("a_plus", "a_minus"):
            object.__setattr__(self, name, not_negative(name, getattr(self, name)))
        if self.total is not None:
            object.__setattr__(self, "total", positive("total", self.total))

    def apply(self, weight: Tensor, change: Tensor) -> None:
        super().apply(weight, change)
        if self.total is None:
            return
        weight.clamp_(min=0)
        sums = weight.sum(1, keepdim=True)
        # An output all of whose weights are 0 stays silent: there is nothing to scale.
        weight *= torch.where(sums > 0, self.total / sums, 1.0)

    def _changed(self, activity: Activity, factor: Tensor, keep: float) -> Tensor:
        """Mean over samples and steps of what the third factor [T, B] makes of the pairs."""
        pair = Pair(
            self.a_plus,
            self.a_minus,
            math.exp(-self.dt / self.tau_plus),
            math.exp(-self.dt / self.tau_minus),
            keep,
        )
        change = dispatch_learning.stdp(activity.hidden, activity.outputs, factor, pair)
        return self.lr / activity.steps * change.mean(0)


@dataclass(frozen=True)
class TraceRSTDP(PairRule):
    """Reward-modulated STDP with an eligibility trace (Izhikevich, 2007; Frémaux & Gerstner, 2016).

    Pairs of spikes mark a synapse as eligible; reward turns what is left of the mark into a change
    of the weight. ``end``: after the last step, 1 if the output that spiked most is the label, else
    -1. ``online``: at every output spike, 1 if it is the label's, else -1; a step without one has
    none.

    Parameters
    ----------
    lr, clip, decay, dt, tau_plus, tau_minus, a_plus, a_minus, total
        See `PairRule`.
    reward : str, default "end"
        ``end`` or ``online``.
    tau_eligibility : float, default 100
        Time constant of the eligibility, in the unit of time of ``dt``.

    Raises
    ------
    SaltationError
        If the reward is unknown or a number out of range.
    """

    reward: str = "end"
    tau_eligibility: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        choose("reward", self.reward, MOMENTS)
        tau = positive("tau_eligibility", self.tau_eligibility)
        object.__setattr__(self, "tau_eligibility", tau)

    def change_of(self, activity: Activity, labels: Tensor) -> Tensor:
        labels = checked_labels(labels, *activity.output_counts.shape)
        if self.reward == "online":
            places = labels[None, :, None].expand(activity.steps, -1, 1)
            right = activity.outputs.gather(2, places).squeeze(2)
            factor = 2 * right - activity.outputs.sum(2)
        else:
            factor = torch.zeros_like(activity.outputs[:, :, 0])
            factor[-1] = reward_of(activity.output_counts, labels)
        return self._changed(activity, factor, math.exp(-self.dt / self.tau_eligibility))


@dataclass(frozen=True)
class PairSTDP(PairRule):
    """STDP of pairs without a reward (Diehl & Cook, 2015, with traces on both sides).

    What labels teach, they teach through the network's teaching current.

    Parameters
    ----------
    lr, clip, decay, dt, tau_plus, tau_minus, a_plus, a_minus, total
        See `PairRule`.
    """

    def change_of(self, activity: Activity, labels: Tensor) -> Tensor:
        checked_labels(labels, *activity.output_counts.shape)
        # Without eligibility a factor of 1 counts every pair once.
        return self._changed(activity, torch.ones_like(activity.outputs[:, :, 0]), keep=0.0)
