"""What a network does with its input, as a graph, without running it.

The forward pass is followed symbolically (`torch.fx`): loops over steps are unrolled, and a loop
over the steps of the input is followed for a few of them.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from saltation.errors import SaltationError

# Steps for which a loop over the input's own steps is followed: enough to see what repeats. Numbers
# that were made of them differ in another pass with one more.
PROBED = 3


class _Counted(fx.Proxy):
    """A value whose size, where a loop asks for it, is that of so many steps."""

    def __index__(self) -> int:
        return self._probed(_dimension(self.node))

    def __len__(self) -> int:
        return self._probed(0 if self.node.op == "placeholder" else None)

    def _probed(self, dimension: int | None) -> int:
        if dimension is None:
            raise TypeError("a loop over a number that is no size of the input")
        self.tracer.probed.add(dimension)  # type: ignore[attr-defined]
        return self.tracer.steps  # type: ignore[attr-defined, no-any-return]


def _dimension(node: fx.Node) -> int | None:
    """The dimension of the input whose size a value is, if it is one."""
    given: list[Any] = [*node.args, None, None]
    source: Any
    dimension: Any
    if node.target == "size" and isinstance(given[0], fx.Node):
        source, dimension = given[0], given[1]
    elif node.target is operator.getitem and isinstance(given[0], fx.Node):
        shape: fx.Node = given[0]
        dimension = given[1]
        whole = shape.target == "size" or (shape.target is getattr and shape.args[1] == "shape")
        source = shape.args[0] if whole and len(shape.args) < 3 else None
    else:
        return None
    is_input = isinstance(source, fx.Node) and source.op == "placeholder"
    return dimension if is_input and isinstance(dimension, int) else None


class _Tracer(fx.Tracer):
    def __init__(self, is_leaf: Callable[[nn.Module], bool], steps: int) -> None:
        super().__init__()
        self._is_leaf = is_leaf
        self.steps = steps
        self.probed: set[int] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return self._is_leaf(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Counted(node, self)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        if obj.node.op != "placeholder":
            return super().iter(obj)
        self.probed.add(0)
        return iter([obj[step] for step in range(self.steps)])  # type: ignore[index]


class Traced:
    """The graph of a network.

    Attributes
    ----------
    nodes
        In the order of execution.
    modules
        The network's modules, by name.
    attributes
        Tensors of the network that its forward uses itself, by name, as they are then.
    probed
        Dimensions of the input over whose size a loop goes; ``steps`` of them are in the graph.

    Parameters
    ----------
    network, is_leaf
        The network, and whether a module is not looked into.
    steps
        Of a loop over the input's own steps.
    training
        The mode that it is looked at in; its own unless told.
    """

    def __init__(
        self,
        network: nn.Module,
        is_leaf: Callable[[nn.Module], bool],
        steps: int = PROBED,
        training: bool | None = None,
    ) -> None:
        parameters = list(inspect.signature(network.forward).parameters.values())
        needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (2, 4)]
        if len(needed) != 1 and not isinstance(network, nn.Sequential):
            raise SaltationError(
                f"forward of {type(network).__name__} must take one tensor, it takes "
                f"{', '.join(needed) or 'none'}"
            )
        tracer = _Tracer(is_leaf, steps)
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        with _as_it_was(network), _zeros_of_any_size(tracer):
            network.train(network.training if training is None else training)
            try:
                graph = tracer.trace(network, given)
            except SaltationError:
                raise
            except Exception as error:
                told = str(error).partition("\n")[0]
                raise SaltationError(
                    f"forward of {type(network).__name__} cannot be followed without running it "
                    f"({type(error).__name__}: {told}): branches on values of tensors and numbers "
                    "taken from them cannot be converted"
                ) from None
            self.attributes = {
                str(node.target): _attribute(tracer.root, str(node.target))
                for node in graph.nodes
                if node.op == "get_attr"
            }
        self.nodes = [node for node in graph.nodes if node.op == "output" or node.users]
        self.modules = dict(network.named_modules())
        self.probed = tracer.probed


def _attribute(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = getattr(module, part)
    return module


@contextmanager
def _zeros_of_any_size(tracer: _Tracer) -> Iterator[None]:
    """Let ``torch.zeros`` take sizes that are not known yet, as initial states do."""
    zeros = torch.zeros

    def made(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values(), *(args[0] if args and isinstance(args[0], tuple) else ())]
        if any(isinstance(one, fx.Proxy) for one in given):
            return tracer.create_proxy("call_function", zeros, args, kwargs)
        return zeros(*args, **kwargs)

    torch.zeros = made
    try:
        yield
    finally:
        torch.zeros = zeros


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Give hidden states back that a forward pass resets."""
    kept = [(m, dict(m.__dict__), dict(m._buffers)) for m in network.modules()]
    modules: list[Any] = list(network.modules())
    memories = [(m, dict(m._memories)) for m in modules if hasattr(m, "_memories")]
    try:
        yield
    finally:
        for module, attributes, buffers in kept:
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)
        for module, states in memories:
            module._memories.update(states)
