"""A network as a graph."""

from __future__ import annotations

import operator
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saltation.errors import SaltationError
from saltation.interop.convert.modules import kind_of
from saltation.interop.convert.network import Converted, Operation, Value
from saltation.interop.convert.peers import Library, Neurons
from saltation.interop.convert.plan import Plan
from saltation.interop.nir import models
from saltation.interop.nir.integrators import Integrator, Scaled
from saltation.interop.nir.nodes import NAMES, Shape, shape_of
from saltation.layers.neuron import SpikingLayer
from saltation.layers.numerics import WithNumerics
from saltation.layers.readout import Readout
from saltation.layers.recurrent import Recurrent
from saltation.layers.sequential import Sequential
from saltation.neurons import CubaLIFNeuron, LIFNeuron, PLIFNeuron

_KINDS: dict[type[Any], str] = {
    LIFNeuron: "LIF",
    PLIFNeuron: "LIF",
    models.ResistiveLIFNeuron: "LIF",
    models.IntegrateAndFireNeuron: "IF",
    CubaLIFNeuron: "CubaLIF",
    models.ResistiveCubaLIFNeuron: "CubaLIF",
}
# NIR's parameters of every kind, and what they are where a model has none.
_PARAMETERS: dict[str, dict[str, float]] = {
    "IF": {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0},
    "LIF": {"tau": 1.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0},
    "CubaLIF": {
        "tau_syn": 1.0, "tau_mem": 1.0, "r": 1.0, "v_leak": 0.0, "w_in": 1.0, "v_threshold": 1.0,
        "v_reset": 0.0,
    },
}  # fmt: skip


def save(network: nn.Module, path: str | Path, *, shape: tuple[int, ...] | None = None) -> None:
    """Write the equations and weights of a network as a NIR graph.

    The scheme, the step and the surrogate are no part of a graph: what loads it chooses its own.

    Parameters
    ----------
    network : Module
        LIF, PLIF, CUBA-LIF with hard resets, `Recurrent` ones of them, what `load` gives, linear
        layers, convolutions, average and sum pooling, flatten; on sequences ``[T, B, ...]``.
    path : path
        Of the file; one that is there is replaced.
    shape : tuple of int, optional
        Of one step of one sample, such as ``(2, 34, 34)``; needed unless the first module is a
        linear layer.

    Raises
    ------
    SaltationError
        If something in the network cannot be said in NIR; the message names it.
    """
    try:
        import nir
    except ImportError:
        raise SaltationError("writing NIR graphs needs nir: pip install 'saltation[nir]'") from None
    nodes, edges = _Graph(network, shape).found()
    made = {name: getattr(nir, kind)(**fields) for name, (kind, fields) in nodes.items()}
    graph = nir.NIRGraph(nodes=made, edges=edges, type_check=False)
    path = Path(path)
    # Whole or not at all.
    part = path.with_name(f".{path.name}.part")
    try:
        nir.write(str(part), graph)
        part.replace(path)
    except OSError as error:
        raise SaltationError(f"{path} cannot be written: {' '.join(str(error).split())}") from None
    finally:
        if part.parent.is_dir():
            part.unlink(missing_ok=True)


class _Own(Library):
    """Saltation's own modules, which are what they are."""

    converter = "nir.save"

    def is_leaf(self, module: nn.Module) -> bool:
        ours = isinstance(module, Recurrent | Scaled | WithNumerics)
        torchs = type(module).__mro__[1:2] and kind_of(module) is not None
        layer = type(module).__module__.startswith("saltation.") and isinstance(
            module, nn.Linear | nn.Conv2d | nn.AvgPool2d | nn.Conv1d
        )
        return ours or layer or (bool(torchs) and not isinstance(module, nn.Sequential))

    def takes_sequences(self, neurons: list[Any]) -> bool:
        return True

    def neurons(self, name: str, module: nn.Module) -> Neurons | None:
        spiking = isinstance(module, SpikingLayer | Recurrent)
        return Neurons(module, "spikes") if spiking else None

    def other(self, name: str, module: nn.Module, memo: dict[int, Any]) -> nn.Module:
        return module


Nodes = dict[str, tuple[str, dict[str, Any]]]


class _Graph:
    """The nodes and edges of a network."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...] | None) -> None:
        if isinstance(network, Converted):
            self._plan, self._output = list(network.plan), network.output
            self._modules = dict(network.named_modules())
        else:
            if isinstance(network, Sequential):  # whatever else it looks at on the way
                network = nn.Sequential(OrderedDict(network.named_children()))
            plan = Plan(network, _Own())
            self._plan, self._output, self._modules = plan.operations, plan.output, plan.modules
        self._shape = shape
        self._nodes: Nodes = {}
        self._edges: list[tuple[str, str]] = []

    def found(self) -> tuple[Nodes, list[tuple[str, str]]]:
        names: dict[int, list[str]] = {0: ["input"]}
        shapes: dict[int, Shape] = {0: self._first_shape()}
        self._nodes["input"] = ("Input", {"input_type": np.array(shapes[0])})
        for place, one in enumerate(self._plan[1:], 1):
            if one.kind == "function" and one.target is operator.add and _both(one.args):
                a, b = (value.place for value in one.args)
                names[place], shapes[place] = names[a] + names[b], shapes[a]
                continue
            if one.kind not in ("module", "neurons") or len(one.args) != 1:
                told = getattr(one.target, "__name__", one.target)
                raise SaltationError(f"NIR has no '{told}', which the network calls")
            before = one.args[0].place
            names[place], shapes[place] = self._module(one, names[before], shapes[before])
        outputs = self._output if isinstance(self._output, dict) else {"output": self._output}
        for name, value in outputs.items():
            if not isinstance(value, Value) or value.part not in ("", "spikes"):
                raise SaltationError("NIR's outputs are spikes or currents, the network has others")
            out = f"{name}_" if name in self._nodes else name
            self._nodes[out] = ("Output", {"output_type": np.array(shapes[value.place])})
            self._edges += [(before, out) for before in names[value.place]]
        return self._nodes, self._edges

    def _first_shape(self) -> Shape:
        if self._shape is not None:
            return shape_of("the input", self._shape)
        first: Any = self._modules.get(str(self._plan[1].target)) if len(self._plan) > 1 else None
        if isinstance(first, nn.Linear):
            return (first.in_features,)
        if isinstance(first, Recurrent):
            return (first.features,)
        raise SaltationError(
            "the shape of one step of one sample must be given, such as shape=(2, 34, 34)"
        )

    def _module(self, one: Operation, before: list[str], shape: Shape) -> tuple[list[str], Shape]:
        name = str(one.target)
        module: Any = self._modules[name]
        if isinstance(module, nn.Identity | nn.Dropout):
            return before, shape  # in use they do nothing
        if name in self._nodes:
            raise SaltationError(f"'{name}' is called twice, and a node of NIR is one thing")
        if isinstance(module, SpikingLayer | Recurrent):
            self._neurons(name, module, shape)
        else:
            self._nodes[name] = _node(name, module, shape)
        self._edges += [(a, name) for a in before]
        if isinstance(module, SpikingLayer | Recurrent | Integrator):
            return [name], shape
        with torch.no_grad():
            x = torch.zeros(1, 1, *shape, dtype=_dtype(module))
            return [name], tuple(module(x).shape[2:])

    def _neurons(self, name: str, module: Any, shape: Shape) -> None:
        layer = module.layer if isinstance(module, Recurrent) else module
        self._nodes[name] = neurons(name, layer.neuron, shape)
        if isinstance(module, Recurrent):
            kind = "Linear" if module.bias is None else "Affine"
            self._nodes[f"{name}.w_rec"] = (kind, _weights(module))
            self._edges += [(name, f"{name}.w_rec"), (f"{name}.w_rec", name)]


def _both(args: tuple[Any, ...]) -> bool:
    return len(args) == 2 and all(isinstance(value, Value) for value in args)


def _dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters()), torch.get_default_dtype())


def _numpy(value: Tensor) -> Any:
    return value.detach().cpu().numpy()


def _weights(module: Any) -> dict[str, Any]:
    fields = {"weight": _numpy(module.weight)}
    return fields if module.bias is None else {**fields, "bias": _numpy(module.bias)}


def _node(name: str, module: Any, shape: Shape) -> tuple[str, dict[str, Any]]:
    if isinstance(module, nn.Linear):
        return ("Linear" if module.bias is None else "Affine"), _weights(module)
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.padding_mode == "zeros":
        fields = {n: getattr(module, n) for n in ("stride", "padding", "dilation", "groups")}
        bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
        one = isinstance(module, nn.Conv1d)
        if one:
            fields = {n: v[0] if isinstance(v, tuple) else v for n, v in fields.items()}
        return ("Conv1d" if one else "Conv2d"), {
            "input_shape": shape[1] if one else shape[1:],
            "weight": _numpy(module.weight),
            "bias": _numpy(bias),
            **fields,
        }
    if isinstance(module, nn.AvgPool2d):
        sizes = {n: getattr(module, n) for n in ("kernel_size", "stride", "padding")}
        pairs = {n: np.array(v if isinstance(v, tuple) else (v, v)) for n, v in sizes.items()}
        padded = bool(pairs["padding"].any())
        if module.ceil_mode or module.divisor_override not in (None, 1):
            raise SaltationError(f"'{name}' pools with ceil_mode or a divisor, which NIR has not")
        if padded and not module.count_include_pad:
            raise SaltationError(f"'{name}' leaves padding out of its means, which NIR has not")
        return ("SumPool2d" if module.divisor_override == 1 else "AvgPool2d"), pairs
    if isinstance(module, nn.Flatten):
        first, last = module.start_dim, module.end_dim
        if 0 <= first < 2:
            raise SaltationError(f"'{name}' flattens steps or samples together, which NIR has not")
        return "Flatten", {
            "input_type": {"input": np.array(shape)},
            "start_dim": first - 2 if first >= 0 else first,
            "end_dim": last - 2 if last >= 0 else last,
        }
    if isinstance(module, Scaled):
        return "Scale", {"scale": _numpy(module.scale)}
    if isinstance(module, Integrator):
        return _integrator(name, module, shape)
    hint = ": save what is before it, such as network[:-1]" if isinstance(module, Readout) else ""
    raise SaltationError(f"'{name}' is a {type(module).__name__}, which NIR has none of{hint}")


def neurons(name: str, neuron: Any, shape: Shape) -> tuple[str, dict[str, Any]]:
    """NIR's node of a model.

    Raises
    ------
    SaltationError
        If NIR has no such neurons.
    """
    kind = _KINDS.get(type(neuron))
    if kind is None:
        raise SaltationError(
            f"'{name}' are neurons of {neuron.title}, which NIR has none of (it has LIF, CUBA-LIF "
            f"and IF)"
        )
    if neuron.jump != "hard" or neuron.refractory:
        what = f"jump='{neuron.jump}'" if neuron.jump != "hard" else "a refractory time"
        raise SaltationError(f"'{name}' has {what}: NIR's neurons are set to v_reset, at once")
    for own, usual in (("spike_time", "grid"), ("input", "held")):
        if getattr(neuron, own) != usual:
            raise SaltationError(
                f"'{name}' has {own}='{getattr(neuron, own)}', of which a graph says nothing: it "
                f"would be loaded with '{usual}'"
            )
    values = _values(neuron, kind)
    if isinstance(neuron, LIFNeuron) and neuron.beta is not None:
        kind, values = _of_steps(name, neuron, values)
    # Ours spike at threshold, NIR's above it.
    threshold = np.asarray(values["v_threshold"], np.float32)
    values["v_threshold"] = np.nextafter(threshold, np.float32(-np.inf))
    return kind, {n: _full(v, shape) for n, v in values.items()}


def _values(neuron: Any, kind: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for own, default in _PARAMETERS[kind].items():
        value = getattr(neuron, NAMES[own], default)
        values[own] = _numpy(value) if isinstance(value, Tensor) else value
    if not getattr(neuron, "decay_input", True):
        values["r"] = values["tau"]
    return values


def _of_steps(name: str, neuron: Any, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A decay per step as the equations whose exact step of length 1 it is."""
    beta = np.asarray(_numpy(neuron.beta) if isinstance(neuron.beta, Tensor) else neuron.beta)
    if (beta == 1).all() and neuron.v_rest == 0:
        return "IF", {**{n: values[n] for n in _PARAMETERS["IF"]}, "r": 1.0}
    if not ((beta > 0) & (beta < 1)).all():
        raise SaltationError(f"'{name}' has beta = {beta.min():g}, which is no decay in time")
    return "LIF", {**values, "tau": -1 / np.log(beta), "r": 1 / (1 - beta)}


def _integrator(name: str, module: Integrator, shape: Shape) -> tuple[str, dict[str, Any]]:
    kind = _KINDS[type(module.neuron)]
    values = _values(module.neuron, kind)
    own = {"IF": "I", "LIF": "LI", "CubaLIF": "CubaLI"}[kind]
    kept = {n: v for n, v in values.items() if n not in ("v_threshold", "v_reset")}
    return own, {n: _full(v, shape) for n, v in kept.items()}


def _full(value: Any, shape: Shape) -> Any:
    try:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.float64), shape))
    except ValueError:
        told = f"parameters of {list(np.shape(value))} are not those of neurons {list(shape)}"
        raise SaltationError(told) from None
