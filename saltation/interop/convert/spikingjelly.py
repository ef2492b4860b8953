"""Neurons of SpikingJelly as layers of saltation.

``LIFNode`` is LIF by explicit Euler with dt = 1, its ``v_reset`` also the resting potential;
without one the reset is soft. ``IFNode`` is LIF that does not leak.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from saltation import surrogate as ours
from saltation.interop.convert import models
from saltation.interop.convert.modules import (
    HeldDropout,
    Voting,
    as_it_stands,
    kind_of,
    of_sequences,
)
from saltation.interop.convert.peers import Library, Neurons, layer_of_learned
from saltation.layers.learned import Range
from saltation.layers.neuron import layer_of
from saltation.layers.zoo import LIF, Izhikevich

_PACKAGE = "spikingjelly.activation_based."
_SURROGATES: dict[str, Any] = {
    "Sigmoid": lambda alpha: ours.Sigmoid(alpha),
    "ATan": lambda alpha: ours.ATan(alpha),
    "PiecewiseQuadratic": lambda alpha: ours.Triangle(1 / alpha),
    "Erf": lambda alpha: ours.Gaussian(1 / (alpha * 2**0.5)),
    "Rect": lambda alpha: ours.Rectangle(0.5 / alpha),
}
KNOWN = ("IFNode", "LIFNode", "ParametricLIFNode", "IzhikevichNode")


class SpikingJelly(Library):
    """SpikingJelly's neurons and layers, and modules of torch."""

    converter = "from_spikingjelly"

    def __init__(self) -> None:
        self.by_step = False

    def is_leaf(self, module: nn.Module) -> bool:
        own = type(module).__module__
        if type(module).__name__ == "MultiStepContainer":
            return False  # a loop over its modules
        if own.startswith((_PACKAGE + "neuron", _PACKAGE + "layer", _PACKAGE + "rnn")):
            return True
        return kind_of(module) is not None and not isinstance(module, nn.Sequential)

    def takes_sequences(self, neurons: list[Any]) -> bool:
        modes = {module.step_mode for module in neurons}
        self.by_step = modes != {"m"}
        return modes == {"m"}

    def neurons(self, name: str, module: Any) -> Neurons | None:
        if not type(module).__module__.startswith((_PACKAGE + "neuron", _PACKAGE + "rnn")):
            return None
        kind = type(module).__name__
        if kind not in KNOWN:
            raise self.refused(name, module, f"(known: {', '.join(KNOWN)})")
        soft = module.v_reset is None
        options: dict[str, Any] = {
            "v_threshold": module.v_threshold,
            "v_reset": 0.0 if soft else module.v_reset,
            "jump": "soft" if soft else "hard",
            "detach_reset": module.detach_reset,
            "surrogate": self._surrogate(name, module),
        }
        rest: dict[str, Any] = {"v_rest": 0.0 if soft else module.v_reset}
        if kind == "IFNode":
            return Neurons(LIF(beta=1.0, **rest, **options), "spikes")
        if kind == "LIFNode":
            layer = LIF(
                tau=float(module.tau),
                dt=1.0,
                scheme="euler",
                decay_input=module.decay_input,
                **rest,
                **options,
            )
            return Neurons(layer, "spikes")
        if kind == "ParametricLIFNode":
            k = torch.sigmoid(module.w.detach())
            own = layer_of_learned(
                layer_of(models.ParametricLIFNeuron),
                {"k": (module.w, Range(0.0, 1.0), k)},
                scheme="euler",
                decay_input=module.decay_input,
                **rest,
                **options,
            )
            return Neurons(own, "spikes")
        if soft:
            raise self.refused(name, module, "with v_reset=None")
        names = ("tau", "v_c", "a0", "v_rest", "tau_w", "a", "b", "w_rest")
        values: dict[str, Any] = {n: float(getattr(module, n)) for n in names}
        return Neurons(Izhikevich(**values, scheme="symplectic_v", **options), "spikes")

    def other(self, name: str, module: Any, memo: dict[int, Any]) -> nn.Module:
        kind = type(module).__name__
        if type(module).__module__.startswith(_PACKAGE + "layer"):
            if kind in ("Dropout", "Dropout2d"):
                return HeldDropout(module.p, kind == "Dropout2d")
            if kind == "VotingLayer":
                return Voting(module.voting_size)
            if kind == "SeqToANNContainer":
                parts = [
                    of_sequences(f"{name}.{i}", m, self.converter, memo, by_step=False)
                    for i, m in enumerate(module)
                ]
                return nn.Sequential(*parts)
            mode = getattr(module, "step_mode", "s")
            if mode == ("m" if self.by_step else "s"):
                raise self.refused(
                    name, module, f"with step_mode='{mode}' beside neurons with the other"
                )
        elif not self.by_step:
            # Of torch, on the whole sequence as it stands.
            return as_it_stands(module, memo)
        return of_sequences(name, module, self.converter, memo, by_step=self.by_step)

    def _surrogate(self, name: str, module: Any) -> Any:
        function = module.surrogate_function
        kind = type(function).__name__
        if kind not in _SURROGATES or not getattr(function, "spiking", True):
            graded = "" if getattr(function, "spiking", True) else " that does not spike"
            raise self.refused(
                name, module, f"with the surrogate {kind}{graded} (known: {', '.join(_SURROGATES)})"
            )
        return _SURROGATES[kind](alpha=float(function.alpha))
