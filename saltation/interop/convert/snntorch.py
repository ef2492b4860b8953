"""Neurons of snnTorch as layers of saltation.

``Leaky`` is LIF with ``beta`` (A = beta, C = 1). Its reset acts one step late and is detached: by
subtraction it is our ``soft_delayed``; to zero, late, it is our ``hard``, because nothing happens
between the jump and the next step but for the state that is returned, which there is the one before
the jump. snnTorch's neurons spike above threshold, ours at threshold: their thresholds become the
next number above.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from saltation import surrogate as ours
from saltation.interop import snntorch as peer
from saltation.interop.convert import models
from saltation.interop.convert.modules import kind_of, of_sequences
from saltation.interop.convert.peers import Library, Neurons, fixed, layer_of_learned
from saltation.layers.neuron import layer_of
from saltation.layers.recurrent import Recurrent
from saltation.layers.zoo import LIF

_SURROGATES: dict[str, Any] = {
    "fast_sigmoid": lambda slope: ours.FastSigmoid(slope),
    "atan": lambda alpha: ours.ATan(alpha),
    "sigmoid": lambda slope: ours.Sigmoid(slope),
    "straight_through_estimator": models.StraightThrough,
}
# What a neuron does is a method that is chosen when it is made.
_RESETS = {"subtract": "_base_sub", "zero": "_base_zero", "none": "_base_int"}
KNOWN = ("Leaky", "RLeaky", "Lapicque", "Synaptic", "RSynaptic")


class SnnTorch(Library):
    """snnTorch's neurons, and modules of torch, called step by step."""

    converter = "from_snntorch"

    def is_leaf(self, module: nn.Module) -> bool:
        is_neuron = peer.kind_of(module) is not None
        return is_neuron or (kind_of(module) is not None and not isinstance(module, nn.Sequential))

    def neurons(self, name: str, module: Any) -> Neurons | None:
        kind = peer.kind_of(module)
        if kind is None:
            return None
        if type(module).__name__ not in KNOWN or kind != type(module).__name__:
            raise self.refused(name, module, f"(known: {', '.join(KNOWN)})")
        self._check(name, module)
        recurrent = kind in ("RLeaky", "RSynaptic")
        layer, potential = self._layer(name, module, kind.removeprefix("R"))
        variables = ("i", potential) if kind.endswith("Synaptic") else (potential,)
        made: nn.Module = self._fed_back(name, module, layer) if recurrent else layer
        single = module.init_hidden and not module.output
        return Neurons(made, "spikes" if single else ("spikes", *variables))

    def other(self, name: str, module: nn.Module, memo: dict[int, Any]) -> nn.Module:
        return of_sequences(name, module, self.converter, memo, by_step=True)

    def _check(self, name: str, module: Any) -> None:
        does = getattr(module.state_function, "__name__", "")
        if does != _RESETS.get(module.reset_mechanism):
            raise self.refused(
                name, module, "whose reset_mechanism was changed, but not what it does"
            )
        if module.inhibition:
            raise self.refused(name, module, "with inhibition=True")
        if module.state_quant:
            raise self.refused(name, module, "with state_quant")
        factor = module.graded_spikes_factor
        if factor.requires_grad or not bool((factor == 1).all()):
            raise self.refused(name, module, "with graded spikes")
        at_once = not getattr(module, "reset_delay", True)
        if at_once and module.reset_mechanism == "subtract":
            raise self.refused(name, module, "with reset_mechanism='subtract', reset_delay=False")

    def _layer(self, name: str, module: Any, kind: str) -> tuple[Any, str]:
        reset = module.reset_mechanism
        at_once = not getattr(module, "reset_delay", True)
        learned: dict[str, Any] = {}
        for own in ("alpha", "beta"):
            raw = getattr(module, own, None)
            if isinstance(raw, nn.Parameter):
                value = raw.detach().clamp(0, 1)
                learned[own] = (raw, models.Clamped(0.0, 1.0), value)
        if isinstance(module.threshold, nn.Parameter):
            above = models.just_above(module.threshold.detach())
            learned["v_threshold"] = (module.threshold, models.JustAbove(), above)
        fixed_ones: dict[str, Any] = {
            "v_threshold": self._threshold(module),
            "alpha": _decay(getattr(module, "alpha", None)),
            "beta": _decay(module.beta),
        }
        options: dict[str, Any] = {
            "surrogate": self._surrogate(name, module),
            # A reset at once carries gradients; a late one is detached.
            "detach_reset": not at_once,
        }
        jumps = {"subtract": "soft_delayed", "zero": "hard", "none": "none"}
        made: type[Any] = LIF
        if kind == "Synaptic":
            if at_once and reset == "zero":
                raise self.refused(name, module, "with reset_delay=False")
            if "v_threshold" in learned and reset == "subtract":
                raise self.refused(name, module, "with a learned threshold")
            made = layer_of(models.SynapticNeuron)
            options |= {
                "subtracted": fixed(module.threshold) if reset == "subtract" else 0.0,
                "kept": 0.0 if reset == "zero" else 1.0,
                "jump": "none" if reset == "none" else "hard",
            }
        elif kind == "Lapicque":
            if reset == "zero" or not bool((module.R == 1).all()):
                raise self.refused(name, module, "with R other than 1 or reset_mechanism='zero'")
            if "beta" in learned:
                raise self.refused(name, module, "with a learned beta that its steps do not use")
            del fixed_ones["beta"]
            options |= {
                "tau": fixed(module.R * module.C),
                "dt": fixed(module.time_step),
                "scheme": "euler",
                "jump": jumps[reset],
            }
        else:
            options["jump"] = jumps[reset]
        names = made.neuron_type.parameters()
        plain = {n: v for n, v in fixed_ones.items() if n in names and n not in learned}
        layer = layer_of_learned(made, learned, **options, **plain)
        return layer, "v" if at_once else "h"

    def _threshold(self, module: Any) -> Any:
        dtype = torch.promote_types(module.threshold.dtype, torch.float32)
        return fixed(models.just_above(module.threshold.detach().to(dtype)))

    def _surrogate(self, name: str, module: Any) -> Any:
        function = module.spike_grad
        place = getattr(function, "__qualname__", type(function).__name__).partition(".")[0]
        within = getattr(function, "__module__", "")
        if isinstance(function, ours.Surrogate):
            return function
        if place not in _SURROGATES or not within.startswith("snntorch."):
            raise self.refused(
                name, module, f"with the surrogate '{place}' (known: {', '.join(_SURROGATES)})"
            )
        values = inspect.getclosurevars(function).nonlocals
        return _SURROGATES[place](**{k: float(v) for k, v in values.items()})

    def _fed_back(self, name: str, module: Any, layer: Any) -> Recurrent:
        weights = getattr(module, "recurrent", None)
        if not module.all_to_all or type(weights) is not nn.Linear:
            raise self.refused(name, module, "without linear feedback from all to all")
        made = Recurrent(layer, weights.out_features, bias=weights.bias is not None)
        for own in ("weight", "bias"):
            parameter = getattr(weights, own)
            if parameter is not None:
                copied = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
                setattr(made, own, copied)
        return made


def _decay(value: Tensor | None) -> Any:
    """A decay as snnTorch uses it, between 0 and 1."""
    return None if value is None else fixed(value.detach().clamp(0, 1))
