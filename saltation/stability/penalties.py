"""Penalties on Lyapunov exponents, by name, and the term they add to a loss.

With r(u) = max(0, u), λ the largest exponent per step (mean over samples), target t, threshold c.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, positive
from saltation.stability.lyapunov import ESTIMATORS, lyapunov
from saltation.stability.result import Lyapunov
from saltation.stability.taken import taken
from saltation.stepping import Stepped

Penalty = Callable[[Tensor, float, float], Tensor]


def _r(u: Tensor) -> Tensor:
    return u.clamp(min=0)


# ``(spectrum [k], t, c) -> scalar``; all but `floss` look at the largest exponent alone.
PENALTIES: dict[str, Penalty] = {
    "squared": lambda s, t, c: (s[0] - t) ** 2,
    "hinge": lambda s, t, c: _r(s[0]) ** 2,
    "asymmetric": lambda s, t, c: _r(s[0]) ** 2 + 0.1 * _r(-s[0] - 1) ** 2,
    "extreme": lambda s, t, c: _r(s[0] - c) ** 2,
    "adaptive_linear": lambda s, t, c: _r(s[0] - c) ** 3,
    "adaptive_exp": lambda s, t, c: torch.expm1(_r(s[0] - c)) * _r(s[0] - c),
    "adaptive_sigmoid": lambda s, t, c: torch.sigmoid((s[0] - c) / 0.5) * (s[0] - t) ** 2,
    "mult_linear": lambda s, t, c: _r(s[0]) ** 2,
    "mult_squared": lambda s, t, c: _r(s[0]) ** 3,
    "mult_log": lambda s, t, c: torch.log1p(_r(s[0])) * _r(s[0]),
    "floss": lambda s, t, c: (s**2).mean(),
}


# Of those that are polynomials of degree 2 in means over samples: what the variances of these means
# ``[k]`` add to the expectation.
_BIAS: dict[str, Callable[[Tensor], Tensor]] = {
    "squared": lambda variance: variance[0],
    "floss": lambda variance: variance.mean(),
}


class Measured(NamedTuple):
    """One estimate made for the penalty.

    Attributes
    ----------
    call
        Which call of the penalty it was, from 0.
    exponent, standard_error
        λ, and its standard error over samples.
    term
        What was added to the loss.
    floored
        How often a perturbation was lost, and counts as log 1e-12 with gradient 0.
    cuts
        How often the gradient was cut; see `Lyapunov`.
    """

    call: int
    exponent: float
    standard_error: float
    term: float
    floored: int = 0
    cuts: int = 0


_LEAST = {
    "every": 1,
    "samples": 1,
    "warmup_epochs": 0,
    "k": 1,
    "qr_every": 1,
    "transient": 0,
    "seed": 0,
}


@dataclass
class LyapunovPenalty:
    """A term for the loss that keeps the Lyapunov exponents of a network where they should be.

    ``term = weight × warm-up × penalty(λ)``, on every ``every``-th call; 0 on the others. The
    warm-up rises linearly from 1 / ``warmup_epochs`` in the first epoch to 1. Gradients of
    exponents over long chaotic windows grow like exp(λ T) and mean nothing: keep T short, and see
    `lyapunov` for where ``telescoped`` cuts them.

    By default it is a cheap term, not an unbiased one. ``every=4`` leaves three calls of four out,
    so the mean term, and what it does to the weights, is a quarter of that at every call:
    ``rescale=True`` multiplies by ``every``. And the penalty is that of the mean over ``samples``,
    λ̄ of n: as E (λ̄ - t)² = (E λ - t)² + var λ / n, ``squared`` also penalises the spread over
    samples: ``unbiased=True`` subtracts the estimate of var λ / n.

    Without a gradient, in ``torch.no_grad()`` or inference mode, a call gives the value alone.

    Parameters
    ----------
    weight : float
        Of the term.
    penalty : str
        A name in `PENALTIES`: ``squared`` (λ - t)², ``hinge`` r(λ)², ``asymmetric``
        r(λ)² + 0.1 r(-λ - 1)², ``extreme`` r(λ - c)², ``adaptive_linear`` r(λ - c)³,
        ``adaptive_exp`` (exp(r(λ - c)) - 1) r(λ - c), ``adaptive_sigmoid`` σ((λ - c) / 0.5)
        (λ - t)², ``mult_linear`` r(λ)², ``mult_squared`` r(λ)³, ``mult_log`` log(1 + r(λ)) r(λ),
        ``floss``: the mean of λ_i² over the first k.
    target, threshold : float
        t and c.
    estimator : str
        See `lyapunov`. ``telescoped`` costs least, for networks that take many steps at once.
    every : int
        Calls from one estimate to the next.
    samples : int or None
        Samples of the batch that are used; None takes all. Few cost less, and show in the standard
        error.
    warmup_epochs : int
        Epochs over which the weight rises.
    k, qr_every, transient
        See `lyapunov`.
    seed : int
        Of the first call's perturbations; each call draws others.
    rescale : bool
        Whether terms are multiplied by ``every``, so that their mean does not depend on it.
    unbiased : bool
        Whether the variance of the mean over samples is subtracted, for ``squared`` and ``floss``
        and two samples or more: the expectation is then the penalty of the expected exponent. A
        term can be below 0.
    reset : bool
        See `lyapunov`.

    Attributes
    ----------
    history : list of Measured
        Every estimate that was made.

    Raises
    ------
    SaltationError
        If a name is unknown or a number out of range.

    Warns
    -----
    UserWarning
        Once each: if a perturbation was lost, if a gradient was cut, and if nothing that can be
        trained moves the exponents, so that the term has no gradient.

    Examples
    --------
    >>> regularise = st.LyapunovPenalty(weight=0.3, penalty="squared", target=-0.1)
    >>> loss = cross_entropy(net(x), y) + regularise(net, x, epoch)
    """

    weight: float = 0.3
    penalty: str = "squared"
    target: float = 0.0
    threshold: float = 2.0
    estimator: str = "telescoped"
    every: int = 4
    samples: int | None = 4
    warmup_epochs: int = 0
    k: int = 1
    qr_every: int = 1
    transient: int = 0
    seed: int = 0
    rescale: bool = False
    unbiased: bool = False
    reset: bool = True
    history: list[Measured] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        choose("penalty", self.penalty, PENALTIES)
        choose("estimator", self.estimator, ESTIMATORS)
        positive("weight", self.weight)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name == "samples" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SaltationError(
                    f"{name} must be an integer of at least {least}, got {value!r}"
                )
        for name in ("target", "threshold"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise SaltationError(f"{name} must be a finite number, got {value!r}")
        if self.k > 1 and self.penalty != "floss":
            raise SaltationError(
                f"penalty '{self.penalty}' looks at one exponent, not {self.k}; take 'floss'"
            )
        if self.unbiased and self.penalty not in _BIAS:
            raise SaltationError(
                f"penalty '{self.penalty}' has no unbiased estimate (allowed: {', '.join(_BIAS)})"
            )
        if self.unbiased and self.samples == 1:
            raise SaltationError("unbiased needs samples of at least 2, got 1")
        self._calls = 0
        self._said: set[str] = set()

    def __call__(self, network: nn.Module | Stepped, x: Tensor, epoch: int | None = None) -> Tensor:
        """The term for this step: a scalar, differentiable.

        Parameters
        ----------
        network, x
            As for `lyapunov`; of ``x`` the first `samples` samples are used.
        epoch : int, optional
            From 1, for the warm-up; without it there is none.
        """
        call, self._calls = self._calls, self._calls + 1
        if call % self.every:
            return x.new_zeros(())
        whole, x = taken(network, x)
        batch = whole.samples(x)
        found = lyapunov(
            whole,
            x,
            estimator=self.estimator,
            k=self.k,
            qr_every=self.qr_every,
            transient=self.transient,
            samples=None if self.samples is None else min(self.samples, batch),
            seed=self.seed + call,
            reset=self.reset,
        )
        value = PENALTIES[self.penalty](found.spectrum, self.target, self.threshold)
        if self.unbiased:
            value = value - _BIAS[self.penalty](self._variance(found))
        weight = self.weight * self.warm_up(epoch) * (self.every if self.rescale else 1)
        term = weight * value
        self._warn(call, found, term)
        exponent, error, shown = (
            float(number.detach()) for number in (found.exponent, found.standard_error[0], term)
        )
        self.history.append(Measured(call, exponent, error, shown, found.floored, found.cuts))
        return term

    def _variance(self, found: Lyapunov) -> Tensor:
        """Of the means over samples ``[k]``, estimated from the samples."""
        samples = found.exponents.shape[1]
        if samples < 2:
            raise SaltationError("unbiased needs a batch of at least 2 samples, got 1")
        return found.exponents.var(1) / samples

    def _warn(self, call: int, found: Lyapunov, term: Tensor) -> None:
        """Say, each once, what keeps the term from being what it should."""
        notes = {
            "floored": f"{found.floored} times a perturbation was lost, "
            f"and counts as log 1e-12 with gradient 0; `history` has the number of every call",
            "cuts": f"the gradient was cut {found.cuts} times, where perturbations had grown by "
            f"more than e^11; `history` has the number of every call, shorter windows have none",
            "frozen": "nothing that can be trained moves the exponents: the term has no gradient",
        }
        frozen = torch.is_grad_enabled() and not term.requires_grad
        for name, holds in zip(notes, (found.floored, found.cuts, frozen), strict=True):
            if holds and name not in self._said:
                self._said.add(name)
                text = f"LyapunovPenalty, call {call}: {notes[name]}"
                warnings.warn(text, stacklevel=3)

    def state_dict(self) -> dict[str, Any]:
        """How far it is: the number of calls, and `history`."""
        return {"calls": self._calls, "history": [tuple(one) for one in self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._calls = state["calls"]
        self.history[:] = [Measured(*one) for one in state["history"]]

    def warm_up(self, epoch: int | None) -> float:
        """The share of the weight in an epoch, from 1."""
        if not self.warmup_epochs or epoch is None:
            return 1.0
        return min(1.0, epoch / self.warmup_epochs)
