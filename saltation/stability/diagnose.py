"""Why a network does not learn: one pass forward and back, looked at layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from saltation.errors import SaltationError
from saltation.stability.depth import depth_growth
from saltation.stability.gradients import GradientHealth, matrix_health
from saltation.stability.lyapunov import lyapunov
from saltation.stability.result import Lyapunov
from saltation.stability.taken import taken
from saltation.stability.verdict import Finding, Layer, verdict
from saltation.stepping import Port, SeenSpike, Session, Stepped

if TYPE_CHECKING:
    import pandas as pd

Loss = Callable[[Any, Tensor], Tensor]

# A surrogate reaches the neurons whose potential is so many half-widths of its derivative from
# threshold, or less; there a sigmoid's has fallen to a fiftieth of its peak.
REACH = 3.0


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    layers : list of Layer
        One for every layer of neurons, in the order of their calls.
    weights : list of GradientHealth
        One for every weight matrix.
    findings : list of Finding
        What is wrong and what to try, the gravest first; empty if nothing was found.
    loss : float
        Of the batch.
    chance : float
        The loss of a network that knows nothing, ln(classes); NaN where classes are not known.
    tangent, finite : Lyapunov or None
        Exponents over time by both estimators; None where values were not finite.
    """

    layers: list[Layer]
    weights: list[GradientHealth]
    findings: list[Finding]
    loss: float
    chance: float
    tangent: Lyapunov | None
    finite: Lyapunov | None

    @property
    def table(self) -> pd.DataFrame:
        """The layers, a row each."""
        import pandas as pd  # slow to import

        return pd.DataFrame([layer._asdict() for layer in self.layers]).set_index("name")

    @property
    def weight_table(self) -> pd.DataFrame:
        """The gradients of the weights, a row each."""
        import pandas as pd

        return pd.DataFrame(self.weights, columns=GradientHealth._fields).set_index("name")

    def __str__(self) -> str:
        shown = self.table[_SHOWN]
        chance = "" if math.isnan(self.chance) else f" (chance: {self.chance:.3f})"
        lines = [f"loss {self.loss:.4f}{chance}", shown.to_string(float_format="{:.3g}".format)]
        lines += ["", "gradients of the weights"]
        lines += [self.weight_table.to_string(float_format="{:.3g}".format)]
        if self.tangent is not None and self.finite is not None:
            lines += [
                "",
                f"λ per step over {self.tangent.horizon} steps: "
                f"{float(self.tangent.exponent):+.3f} with the surrogate's derivative, "
                f"{float(self.finite.exponent):+.3f} between two trajectories",
            ]
        lines.append("")
        lines += [f"- {finding}" for finding in self.findings] or ["No fault was found."]
        return "\n".join(lines)

    def plot(self, path: str | Path) -> Path:
        """Draw the layers: activity, distance from threshold, gradients, growth.

        Returns
        -------
        The path of the figure; its ending chooses the format.
        """
        from saltation.stability.figures import draw_diagnosis  # imports matplotlib

        return draw_diagnosis(self, Path(path))


_SHOWN = ["rate", "silent", "dead", "distance", "reached", "gradient", "growth"]


def diagnose(
    network: nn.Module | Stepped,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Look at a spiking network layer by layer, and say in words what keeps it from learning.

    Weights and their gradients are left as they were.

    Parameters
    ----------
    network : Module or Stepped
        Of saltation, snnTorch or SpikingJelly; see `saltation.adapt` for what it must be like.
    x : Tensor
        A batch of its input, ``[T, B, ...]`` (or what `adapt` says).
    y : Tensor, [B]
        Labels.
    loss : callable, optional
        ``(output, y) -> scalar``. Default: cross-entropy of the output, of its mean over time where
        it is ``[T, B, classes]``, and of its first part where it is a tuple.
    seed : int
        Of the perturbations.

    Returns
    -------
    Diagnosis
        Prints as a table of layers, a table of weights and the findings. Of every layer: rate (per
        neuron and step), silent (share of sample and neuron without a spike), dead (share of
        neurons that never spiked), distance (mean |potential - threshold| in half-widths of the
        surrogate's derivative), reached (share of potentials within 3 half-widths), gradient (norm
        of the loss's gradient with respect to the layer's input), growth (factor from the layer
        before, of a perturbation of the first layer).

    Raises
    ------
    SaltationError
        If the network's neurons are not known, or the loss does not depend on its weights.
    """
    whole, x = taken(network, x)
    outputs, seen = _observe(whole, x)
    value = (loss or _cross_entropy)(outputs, y)
    if not value.requires_grad:
        raise SaltationError("the loss does not depend on any weight that can be trained")
    weights, gradients = _gradients(whole.network, value, seen)
    finite = bool(torch.isfinite(value)) and all(
        bool(torch.isfinite(u).all()) for one in seen for u in one.potentials
    )
    depth = tangent = two = None
    if finite:
        with torch.no_grad():
            depth = depth_growth(whole, x, seed=seed)
            tangent = lyapunov(whole, x, estimator=_estimator(whole), seed=seed)
            # The first step of this one also counts how many components were perturbed.
            later = int(tangent.horizon > 1)
            if whole.closed and whole.copies and not whole.whole:
                two = lyapunov(whole, x, estimator="finite", transient=later, seed=seed)
    growth = [math.nan] * len(seen)
    if depth is not None:
        by_name = dict(zip(depth.layers[1:], depth.growth.mean(1).exp().tolist(), strict=True))
        growth = [by_name.get(one.port.name, math.nan) for one in seen]
    layers = [
        one.layer(gradient, factor)
        for one, gradient, factor in zip(seen, gradients, growth, strict=True)
    ]
    outputs = outputs[0] if isinstance(outputs, tuple) else outputs
    classes = outputs.shape[-1] if isinstance(outputs, Tensor) else 0
    chance = math.log(classes) if loss is None and classes > 1 else math.nan
    findings = verdict(layers, weights, float(value.detach()), chance, tangent, two)
    return Diagnosis(layers, weights, findings, float(value.detach()), chance, tangent, two)


def _estimator(network: Stepped) -> str:
    """The estimator of tangents that can follow the network."""
    return "tangent" if network.closed else "telescoped"


class _Seen:
    """What one neuron module was given and gave, call by call."""

    def __init__(self, port: Port, spike: SeenSpike) -> None:
        self.port = port
        self.spike = spike
        self.inputs: list[Tensor] = []
        self.spikes: list[Tensor] = []
        self.potentials: list[Tensor] = []

    def layer(self, gradient: float, growth: float) -> Layer:
        in_time = [s if self.port.sequences else s[None] for s in self.spikes]
        spikes = torch.cat(in_time).detach().flatten(2)
        u = torch.cat([one.flatten() for one in self.potentials]).double()
        width = self.spike.width()
        none = (spikes == 0).all(0)
        return Layer(
            name=self.port.name,
            rate=float((spikes > 0).double().mean()),
            silent=float(none.double().mean()),
            dead=float(none.all(0).double().mean()),
            distance=float(u.abs().mean()) / width,
            reached=float((u.abs() <= REACH * width).double().mean()),
            gradient=gradient,
            growth=growth,
            width=width,
            above=float(u.mean()),
            spread=float(u.std()),
            driven=any(bool((one != 0).any()) for one in self.inputs),
        )


def _observe(whole: Stepped, x: Tensor) -> tuple[Any, list[_Seen]]:
    """The output for ``x``, and what every neuron module with a spike function did."""
    seen = [_Seen(port, port.spike) for port in whole.ports if port.spike is not None]
    with ExitStack() as stack:
        for one in seen:
            one.spike.seen = one.potentials
            stack.callback(setattr, one.spike, "seen", None)
            for handle in _listen(one):
                stack.callback(handle.remove)

        def forget() -> None:
            for one in seen:
                for kept in (one.inputs, one.spikes, one.potentials):
                    kept.clear()

        output = Session(whole).native(x, forget)
    called = [one for one in seen if one.inputs]
    return output, called


def _listen(one: _Seen) -> list[Any]:
    def before(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        one.inputs.append(arguments[0])

    def after(_: nn.Module, __: Any, output: Any) -> None:
        one.spikes.append(output[0] if isinstance(output, tuple) else output)

    module = one.port.module
    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


def _cross_entropy(output: Any, y: Tensor) -> Tensor:
    output = output[0] if isinstance(output, tuple) else output
    if not isinstance(output, Tensor) or output.ndim not in (2, 3):
        raise SaltationError(
            "the output must be [B, classes] or [T, B, classes]; give a loss for any other"
        )
    return cross_entropy(output.mean(0) if output.ndim == 3 else output, y)


def _gradients(
    network: nn.Module, value: Tensor, seen: list[_Seen]
) -> tuple[list[GradientHealth], list[float]]:
    """Health of the weights' gradients, and the norm of that of each layer's input."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad and p.ndim >= 2}
    inputs = [[x for x in one.inputs if x.requires_grad] for one in seen]
    wanted = [*named.values(), *(x for one in inputs for x in one)]
    found = torch.autograd.grad(value, wanted, allow_unused=True)
    zeros = [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]
    weights = [matrix_health(name, g) for name, g in zip(named, zeros, strict=False)]
    rest, norms = iter(zeros[len(named) :]), []
    for one in inputs:
        parts = [next(rest) for _ in one]
        norms.append(
            math.sqrt(sum(float((p.double() ** 2).sum()) for p in parts)) if one else math.nan
        )
    return weights, norms
