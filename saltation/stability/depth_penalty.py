"""A term for the loss that keeps perturbations from growing or dying over depth."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, positive
from saltation.stability.depth import depth_growth
from saltation.stability.taken import taken
from saltation.stepping import Stepped


class MeasuredDepth(NamedTuple):
    """One estimate made for the penalty.

    Attributes
    ----------
    call
        Which call of the penalty it was, from 0.
    growth
        From each layer to the next, mean over samples; NaN where the perturbation is lost.
    term
        What was added to the loss.
    lost
        Layers that the perturbation of no sample reached; they have no part in the term.
    """

    call: int
    growth: tuple[float, ...]
    term: float
    lost: int


_LOST = 1e3  # far above what the steps of a long input add up to
_LEAST = {"every": 1, "samples": 1, "warmup_epochs": 0, "seed": 0}


@dataclass
class DepthPenalty:
    """A term for the loss that keeps perturbations at their size from layer to layer.

    ``term = weight × warm-up × mean over l of (g_l - target)²``, g_l being `depth_growth`: the
    logarithm of the ratio of the norms, over all steps, that a perturbation of the first layer has
    in layers l + 1 and l, mean over samples. Between layers that a perturbation does not reach
    there is no ratio: they are left out, and counted in `history`.

    It is what `LyapunovPenalty` is over time: every ``every``-th call makes an estimate on the
    first ``samples`` of the batch, in one pass over all steps where the network allows it, and the
    others give 0. With fewer than all samples it is also a penalty on the spread over samples, as
    for ``squared`` there. The ancestor is LSUV, which sets the size of outputs from layer to layer
    before training (Mishkin & Matas, "All you need is a good init", ICLR 2016).

    Parameters
    ----------
    weight : float, default 0.1
        Of the term.
    target : float, default 0
        Growth per layer, natural logarithm.
    every : int, default 4
        Calls from one estimate to the next.
    samples : int or None, default 4
        Samples of the batch that are used; None takes all.
    warmup_epochs : int, default 0
        Epochs over which the weight rises linearly to its value.
    seed : int, default 0
        Of the first call's perturbation; each call draws another.

    Attributes
    ----------
    history : list of MeasuredDepth
        Every estimate that was made.

    Raises
    ------
    SaltationError
        If a number is out of range; in a call, if the network cannot be followed (see `lyapunov`)
        or has one layer of neurons alone.

    Warns
    -----
    UserWarning
        Once each: if a layer was not reached, and if nothing that can be trained moves the growth,
        so that the term has no gradient.

    Examples
    --------
    >>> level = st.DepthPenalty(weight=0.1)
    >>> loss = cross_entropy(net(x), y) + level(net, x, epoch)
    """

    weight: float = 0.1
    target: float = 0.0
    every: int = 4
    samples: int | None = 4
    warmup_epochs: int = 0
    seed: int = 0
    history: list[MeasuredDepth] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        positive("weight", self.weight)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name == "samples" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SaltationError(
                    f"{name} must be an integer of at least {least}, got {value!r}"
                )
        if not isinstance(self.target, int | float) or not math.isfinite(self.target):
            raise SaltationError(f"target must be a finite number, got {self.target!r}")
        self._calls = 0
        self._said: set[str] = set()

    def __call__(self, network: nn.Module | Stepped, x: Tensor, epoch: int | None = None) -> Tensor:
        """The term for this step: a scalar, differentiable.

        Parameters
        ----------
        network, x
            As for `depth_growth`; of ``x`` the first `samples` samples are used.
        epoch : int, optional
            From 1, for the warm-up; without it there is none.
        """
        call, self._calls = self._calls, self._calls + 1
        if call % self.every:
            return x.new_zeros(())
        whole, x = taken(network, x)
        if self.samples is not None:
            few = min(self.samples, whole.samples(x))
            x = x.narrow(whole.batch_dim, 0, few)  # type: ignore[arg-type]
        found = depth_growth(whole, x, seed=self.seed + call)
        if len(found.layers) < 2:
            raise SaltationError("growth over depth needs two layers of neurons or more, got one")
        # What is lost has the least normal number for its norm, in every step.
        reached = found.norms.detach() > _LOST * torch.finfo(found.norms.dtype).tiny
        both = reached[1:] & reached[:-1]
        growth = torch.where(both, found.growth, 0).sum(1) / both.sum(1)  # 0 / 0 where none is
        known = both.any(1)
        value = (growth[known] - self.target).square().mean() if known.any() else 0 * x.sum()
        term = self.weight * self._share(epoch) * value
        lost = int((~reached.any(1)).sum())
        self._warn(call, lost, term)
        measured = tuple(growth.detach().tolist())
        self.history.append(MeasuredDepth(call, measured, float(term.detach()), lost))
        return term

    def _share(self, epoch: int | None) -> float:
        """Of the weight, in an epoch from 1."""
        if not self.warmup_epochs or epoch is None:
            return 1.0
        return min(1.0, epoch / self.warmup_epochs)

    def _warn(self, call: int, lost: int, term: Tensor) -> None:
        """Say, each once, what keeps the term from being what it should."""
        notes = {
            f"the perturbation does not reach {lost} layers, which have no part in the term; "
            f"`history` has the number of every call": lost > 0,
            "nothing that can be trained moves the growth: the term has no gradient": (
                torch.is_grad_enabled() and not term.requires_grad
            ),
        }
        for place, (text, holds) in enumerate(notes.items()):
            if holds and str(place) not in self._said:
                self._said.add(str(place))
                warnings.warn(f"DepthPenalty, call {call}: {text}", stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        """How far it is: the number of calls, and `history`."""
        return {"calls": self._calls, "history": [tuple(one) for one in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._calls = state["calls"]
        self.history[:] = [MeasuredDepth(*one) for one in state["history"]]
