"""Growth of a perturbation over depth, in place of time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from saltation.stability.duals import differentiable, dual, parts
from saltation.stability.entry import estimate
from saltation.stability.frames import log_norm, noise
from saltation.stability.taken import taken
from saltation.stepping import Session, State, Stepped


class DepthGrowth(NamedTuple):
    """How a perturbation of the first layer reaches the others.

    Attributes
    ----------
    layers
        Names, in the order of their calls.
    norms
        ``[L, B]``: Euclidean norm, over all steps, of the tangent of each layer's state.
    growth
        ``[L - 1, B]``: logarithm of the ratio of each norm to that of the layer before.
    """

    layers: tuple[str, ...]
    norms: Tensor
    growth: Tensor


class _FirstLayer:
    """A tangent in the first layer's state at rest, carried along without renormalisation."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.logs: list[Tensor] = []
        self._started = False

    def start(self, name: str, rest: State) -> State:
        first, self._started = not self._started, True
        tangents = [
            noise(part, self._generator) if first else torch.zeros_like(part) for part in rest
        ]
        return tuple(dual(part, tangent) for part, tangent in zip(rest, tangents, strict=True))

    def advance(self, states: list[State]) -> list[State]:
        self.logs.append(self._of(states))
        return states

    def _of(self, states: list[State]) -> Tensor:
        tangents = [[parts(part)[1] for part in state] for state in states]
        return torch.stack([log_norm(t, len(t[0])) for t in tangents])

    def count(self, history: list[State]) -> None:
        """Take note of the states after every step, ``[T, B, ...]``, in place of the last ones."""
        by_sample = [tuple(part.transpose(0, 1) for part in state) for state in history]
        self.logs = [self._of(by_sample)]


@estimate
def depth_growth(network: nn.Module | Stepped, x: Tensor, *, seed: int = 0) -> DepthGrowth:
    """Growth of a random perturbation of the first layer's state from layer to layer.

    In a feed-forward network the exponents over time are those of single neurons, for the Jacobian
    is block triangular; what grows or dies with depth is the transient. Here it is: the surrogate's
    tangent, over all steps of ``x``. Parameters and errors as for `lyapunov`.
    """
    whole, x = taken(network, x)
    control = _FirstLayer(seed)
    session = Session(whole, control)
    with differentiable():
        if whole.at_once:
            history: list[State] = []
            session.run_at_once(x, history)
            control.count(history)
        else:
            session.run(x)
    logs = torch.logsumexp(2 * torch.stack(control.logs), 0) / 2
    return DepthGrowth(tuple(session.names), logs.exp(), logs.diff(dim=0))
