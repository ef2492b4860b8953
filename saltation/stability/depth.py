"""Growth of a perturbation over depth, in place of time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from saltation.interop import adapt
from saltation.layers.stepping import Session, State, Stepped
from saltation.stability.duals import differentiable, dual, parts
from saltation.stability.frames import FLOOR, noise, safe_norm, squares


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
        self.squares: list[Tensor] = []
        self._started = False

    def start(self, name: str, rest: State) -> State:
        first, self._started = not self._started, True
        tangents = [
            noise(part, self._generator) if first else torch.zeros_like(part) for part in rest
        ]
        return tuple(dual(part, tangent) for part, tangent in zip(rest, tangents, strict=True))

    def advance(self, states: list[State]) -> list[State]:
        tangents = [[parts(part)[1] for part in state] for state in states]
        self.squares.append(torch.stack([squares(t, len(t[0])).sum(0) for t in tangents]))
        return states


def depth_growth(network: nn.Module | Stepped, x: Tensor, *, seed: int = 0) -> DepthGrowth:
    """Growth of a random perturbation of the first layer's state from layer to layer.

    In a feed-forward network the exponents over time are those of single neurons, for the Jacobian
    is block triangular; what grows or dies with depth is the transient. Here it is: the surrogate's
    tangent, over all steps of ``x``. Parameters and errors as for `lyapunov`.
    """
    whole = network if isinstance(network, Stepped) else adapt(network)
    control = _FirstLayer(seed)
    session = Session(whole, control)
    with differentiable():
        session.run(x)
    norms, _ = safe_norm(torch.stack(control.squares).sum(0), FLOOR)
    return DepthGrowth(tuple(session.names), norms, norms.log().diff(dim=0))
