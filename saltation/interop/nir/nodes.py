"""Nodes of a graph as modules, and the shapes between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from saltation.errors import DataError, SaltationError
from saltation.interop.convert.models import just_above
from saltation.interop.convert.modules import folded
from saltation.interop.nir import models
from saltation.interop.nir.graph import Node
from saltation.interop.nir.integrators import Integrator, Scaled
from saltation.layers.conv import SpikeConv2d
from saltation.layers.linear import SpikeLinear
from saltation.layers.neuron import layer_of
from saltation.neurons import CubaLIFNeuron, LIFNeuron
from saltation.neurons.base import Neuron

Shape = tuple[int, ...]
# NIR's names of parameters and ours.
NAMES = {
    "tau": "tau", "tau_mem": "tau", "tau_syn": "tau_syn", "r": "r", "w_in": "w_in",
    "v_leak": "v_rest", "v_threshold": "v_threshold", "v_reset": "v_reset",
}  # fmt: skip
_MODELS: dict[str, type[Neuron]] = {
    "I": models.IntegrateAndFireNeuron,
    "IF": models.IntegrateAndFireNeuron,
    "LI": models.ResistiveLIFNeuron,
    "LIF": models.ResistiveLIFNeuron,
    "CubaLI": models.ResistiveCubaLIFNeuron,
    "CubaLIF": models.ResistiveCubaLIFNeuron,
}
# Without resistance and input weight these are models of saltation.
_PLAIN: dict[str, type[Neuron]] = {"LIF": LIFNeuron, "LI": LIFNeuron, "CubaLIF": CubaLIFNeuron}


class Made(NamedTuple):
    """A module and the shape that it gives, of one step of one sample."""

    module: nn.Module
    shape: Shape


def made(name: str, node: Node, shape: Shape, source: str, options: dict[str, Any]) -> Made:
    """The module of a node that is given ``shape``.

    Raises
    ------
    DataError
        If its arrays do not fit what it is given, or are not possible.
    """
    where = f"{source}: node '{name}', a {node.kind},"
    try:
        return _BUILDERS[node.kind](where, node.fields, shape, node.kind, options)
    except DataError:
        raise
    except (SaltationError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        told = str(error).partition("\n")[0]
        raise DataError(f"{where} cannot be made: {told}") from None


def shape_of(where: str, given: Any) -> Shape:
    """A shape that a node states."""
    flat = np.asarray(given).reshape(-1)
    if flat.size == 0 or flat.dtype.kind not in "iu" or (flat < 1).any() or flat.size > 8:
        raise DataError(f"{where} has the shape {flat.tolist()[:8]}, which is none")
    return tuple(int(size) for size in flat)


def _fits(where: str, wanted: Shape, given: Shape) -> None:
    if wanted != given:
        raise DataError(f"{where} takes {list(wanted)}, but is given {list(given)}")


def _tensor(value: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def weights(where: str, fields: dict[str, Any], shape: Shape) -> SpikeLinear:
    """A linear layer with the weights of a node."""
    weight = fields["weight"]
    if weight.ndim != 2 or 0 in weight.shape:
        raise DataError(f"{where} needs a weight [out, in], got {list(weight.shape)}")
    _fits(where, (weight.shape[1],), shape)
    layer = SpikeLinear(weight.shape[1], weight.shape[0], bias="bias" in fields)
    with torch.no_grad():
        layer.weight.copy_(_tensor(weight))
        if "bias" in fields:
            _fits(f"{where} whose bias", fields["bias"].shape, weight.shape[:1])
            layer.bias.copy_(_tensor(fields["bias"]))
    return layer


def _linear(where: str, fields: Any, shape: Shape, kind: str, _: Any) -> Made:
    layer = weights(where, fields, shape)
    return Made(layer, (layer.out_features,))


def _convolution(where: str, fields: Any, shape: Shape, kind: str, _: Any) -> Made:
    weight = fields["weight"]
    dims = 1 if kind == "Conv1d" else 2
    if weight.ndim != dims + 2 or len(shape) != dims + 1 or 0 in weight.shape:
        raise DataError(
            f"{where} needs a weight of {dims + 2} dimensions and an input of {dims + 1}, got "
            f"{list(weight.shape)} and {list(shape)}"
        )
    groups = _whole(where, "groups", fields["groups"], 1)[0]
    _fits(f"{where} whose channels", (weight.shape[1] * groups,), shape[:1])
    if "input_shape" in fields:
        _fits(f"{where} whose input_shape", shape_of(where, fields["input_shape"]), shape[1:])
    padding = fields["padding"]
    if not isinstance(padding, str):
        padding = _whole(where, "padding", padding, dims, least=0)
    kind_of_layer: Any = nn.Conv1d if dims == 1 else SpikeConv2d
    layer: Any = kind_of_layer(
        weight.shape[1] * groups,
        weight.shape[0],
        weight.shape[2:],
        stride=_whole(where, "stride", fields["stride"], dims),
        padding=padding,
        dilation=_whole(where, "dilation", fields["dilation"], dims),
        groups=groups,
    )
    with torch.no_grad():
        layer.weight.copy_(_tensor(weight))
        layer.bias.copy_(_tensor(fields["bias"]))
    layer = folded(layer) if dims == 1 else layer
    return Made(layer, _shape_behind(layer, shape))


def _pool(where: str, fields: Any, shape: Shape, kind: str, _: Any) -> Made:
    if len(shape) != 3:
        raise DataError(f"{where} takes maps [C, H, W], but is given {list(shape)}")
    sizes: list[Any] = [_whole(where, n, fields[n], 2, least=n != "padding") for n in _POOL]
    # A sum is a mean that is divided by one.
    divisor = 1 if kind == "SumPool2d" else None
    size, stride, padding = sizes
    layer = folded(nn.AvgPool2d(size, stride, padding, divisor_override=divisor))
    return Made(layer, _shape_behind(layer, shape))


_POOL = ("kernel_size", "stride", "padding")


def _flatten(where: str, fields: Any, shape: Shape, kind: str, _: Any) -> Made:
    first, last = (int(fields[n]) for n in ("start_dim", "end_dim"))
    if "input_type" in fields:
        _fits(where, shape_of(where, fields["input_type"]), shape)
    # Of one step of one sample; behind them time and samples come first.
    layer = nn.Flatten(first + 2 if first >= 0 else first, last + 2 if last >= 0 else last)
    return Made(layer, tuple(torch.empty(shape, device="meta").flatten(first, last).shape))


def _scale(where: str, fields: Any, shape: Shape, kind: str, _: Any) -> Made:
    _fits(where, fields["scale"].shape, shape)
    return Made(Scaled(_tensor(fields["scale"])), shape)


def _neurons(where: str, fields: Any, shape: Shape, kind: str, options: dict[str, Any]) -> Made:
    for value in fields.values():
        if value.shape not in (shape, (), (1,)):
            raise DataError(f"{where} is of {list(value.shape)}, but is given {list(shape)}")
    model, values = parameters(kind, fields, options["scheme"])
    if kind in ("I", "LI", "CubaLI"):
        options = {n: v for n, v in options.items() if n != "surrogate"}
        return Made(Integrator(model(**values, **options)), shape)
    return Made(layer_of(model)(**values, **options), shape)


def parameters(kind: str, fields: dict[str, Any], scheme: str) -> tuple[Any, dict[str, Any]]:
    """The model of NIR's neurons and its parameters: numbers, or one value per neuron.

    A model of saltation's own where there is no resistance and it has the scheme.
    """
    values = {NAMES[name]: _uniform(value) for name, value in fields.items()}
    if "v_threshold" in values:
        # NIR's neurons spike above threshold, ours at threshold.
        threshold = values["v_threshold"]
        above = just_above(torch.as_tensor(threshold, dtype=torch.float32))
        values["v_threshold"] = above if isinstance(threshold, Tensor) else float(above)
    extra = [values.get(name, 1.0) for name in ("r", "w_in")]
    plain = kind in _PLAIN and scheme in _PLAIN[kind].schemes
    if plain and all(isinstance(v, float) and v == 1 for v in extra):
        return _PLAIN[kind], {n: v for n, v in values.items() if n not in ("r", "w_in")}
    return _MODELS[kind], values


def _uniform(value: Any) -> Any:
    array = np.asarray(value, dtype=np.float64)
    if array.size and (array == array.reshape(-1)[0]).all():
        return float(array.reshape(-1)[0])
    return _tensor(value)


def _whole(where: str, name: str, given: Any, dims: int, least: int = 1) -> tuple[int, ...]:
    flat = np.asarray(given).reshape(-1)
    sizes = flat.tolist() * (dims if flat.size == 1 else 1)
    if len(sizes) != dims or any(n != int(n) or not least <= n < 2**31 for n in sizes):
        raise DataError(f"{where} has {name} {flat.tolist()[:8]}, which cannot be")
    return tuple(map(int, sizes))


def _shape_behind(layer: nn.Module, shape: Shape) -> Shape:
    """What a layer makes of ``shape``, found out without memory or numbers."""
    with torch.no_grad():
        at_hand = torch.func.functional_call(
            layer,
            {n: torch.empty_like(p, device="meta") for n, p in layer.named_parameters()},
            torch.empty(1, 1, *shape, device="meta"),
        )
    if math.prod(at_hand.shape) == 0:
        raise ValueError(f"nothing is left of {list(shape)}")
    return tuple(at_hand.shape[2:])


_BUILDERS: dict[str, Callable[..., Made]] = {
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _convolution,
    "Conv2d": _convolution,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Scale": _scale,
    **dict.fromkeys(_MODELS, _neurons),
}
