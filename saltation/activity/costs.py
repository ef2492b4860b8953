"""Synaptic operations of a network and what they would cost on neuromorphic hardware.

    E = e_add SynOps + e_mac (MACs + updates of states)

with the energy of an addition and of a multiply-accumulate in 32 bits at 45 nm, 0.9 and 4.6 pJ
(Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC, 2014). It is an
estimate of arithmetic alone: reading weights and states, and moving spikes, is counted, not costed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from saltation import inline
from saltation.activity.counting import WEIGHTED, Operations, of_feedback, of_module, of_product
from saltation.errors import SaltationError, not_negative
from saltation.interop import adapt
from saltation.layers.recurrent import Recurrent
from saltation.stepping import Call, Session, settled

ADDITION, MULTIPLY_ACCUMULATE = 0.9, 4.6  # pJ


@dataclass(frozen=True)
class LayerCost:
    """What one module does for all samples.

    Attributes
    ----------
    operations
        Of its weights: `Operations`.
    updates
        Of state variables: one per variable, neuron, step and sample; 0 for a module of weights.
    spikes
        That its neurons emitted.
    sites
        Neurons times steps times samples.
    """

    operations: Operations
    updates: int = 0
    spikes: int = 0
    sites: int = 0


@dataclass(frozen=True)
class Energy:
    """Operations of a network on one input, and their energy; printed as a table per sample.

    Attributes
    ----------
    layers : dict of str to LayerCost
        By the name of the module.
    samples, steps : int
        Of the input.
    uncounted : tuple of str
        Products that were seen and are in no count.
    addition, multiply_accumulate : float
        Energy of one, in pJ.
    """

    layers: dict[str, LayerCost]
    samples: int
    steps: int
    uncounted: tuple[str, ...] = ()
    addition: float = ADDITION
    multiply_accumulate: float = MULTIPLY_ACCUMULATE
    total: Operations = field(init=False)

    def __post_init__(self) -> None:
        total = sum((one.operations for one in self.layers.values()), Operations())
        object.__setattr__(self, "total", total)

    @property
    def synops(self) -> int:
        """Additions of weights for spikes, of all samples."""
        return self.total.synops

    @property
    def macs(self) -> int:
        """Multiply-accumulates with inputs that are not spikes, of all samples."""
        return self.total.macs

    @property
    def updates(self) -> int:
        """Updates of state variables, of all samples."""
        return sum(one.updates for one in self.layers.values())

    @property
    def weight_reads(self) -> int:
        """Reads of weights, of all samples: one for every synaptic operation and MAC."""
        return self.synops + self.macs

    @property
    def state_accesses(self) -> int:
        """Reads and writes of state variables, of all samples: one each for every update."""
        return 2 * self.updates

    @property
    def pj(self) -> float:
        """Energy of a sample in pJ."""
        return sum(map(self._pj, self.layers.values()))

    def _pj(self, one: LayerCost) -> float:
        macs = one.operations.macs + one.updates
        total = self.addition * one.operations.synops + self.multiply_accumulate * macs
        return total / self.samples

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "SynOps", "MACs", "updates", "rate", "nJ")]
        for name, one in self.layers.items():
            rate = f"{one.spikes / one.sites:.4f}" if one.sites else ""
            counts = (one.operations.synops, one.operations.macs, one.updates)
            shown = [f"{n / self.samples:,.0f}" if n else "" for n in counts]
            rows.append((name, *shown, rate, f"{self._pj(one) / 1e3:,.2f}"))
        counts = (self.synops, self.macs, self.updates)
        shown = [f"{n / self.samples:,.0f}" for n in counts]
        rows.append(("together", *shown, "", f"{self.pj / 1e3:,.2f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        head = (
            f"Operations of one sample (mean of {self.samples}) in {self.steps} steps; estimated "
            f"at {self.addition:g} pJ a SynOp, {self.multiply_accumulate:g} pJ a MAC or update"
        )
        told = [f"not counted: {', '.join(self.uncounted)}"] if self.uncounted else []
        return "\n".join([head, *lines, *told])

    def _repr_html_(self) -> str:
        """As it prints, in a notebook."""
        return inline.text(str(self))


def energy(
    network: nn.Module,
    x: Tensor,
    *,
    addition: float = ADDITION,
    multiply_accumulate: float = MULTIPLY_ACCUMULATE,
) -> Energy:
    """Count a network's synaptic operations on an input, and estimate their energy.

    Linear layers, convolutions, feedback of `Recurrent` and matrix products of two activities are
    counted from what goes into them: spikes times true fan-out where it is all zeros and ones,
    multiply-accumulates otherwise. The network is not changed; dropout is off.

    Parameters
    ----------
    network : Module
        Of saltation, snnTorch, SpikingJelly or Norse, as for `lyapunov`.
    x : Tensor
        Its input, as for `lyapunov`.
    addition, multiply_accumulate : float, default 0.9, 4.6
        Energy of one in pJ (Horowitz, 2014: 32 bits at 45 nm).

    Raises
    ------
    SaltationError
        If the network or the input cannot be followed, or an energy is negative.

    Examples
    --------
    >>> print(st.energy(net, st.poisson(torch.rand(64, 784), steps=25)))
    """
    costs = {
        "addition": not_negative("addition", addition),
        "multiply_accumulate": not_negative("multiply_accumulate", multiply_accumulate),
    }
    found, x = settled(adapt(network), x)
    tally = _Tally(found)
    with torch.no_grad(), tally.listening(found.network), tally:
        Session(found, None, tally).native(x)
    steps = max(tally.steps.values())
    return Energy(tally.layers(), found.samples(x), steps, tuple(sorted(tally.uncounted)), **costs)


_PRODUCTS = {
    torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__,
    Tensor.__rmatmul__,
}  # fmt: skip
_UNCOUNTED: dict[Any, str] = {
    functional.conv1d: "conv1d", functional.conv2d: "conv2d",
    functional.conv3d: "conv3d", functional.bilinear: "bilinear", torch.einsum: "einsum",
    torch.addmm: "addmm", torch.baddbmm: "baddbmm", torch.tensordot: "tensordot",
    functional.scaled_dot_product_attention: "scaled_dot_product_attention",
    functional.multi_head_attention_forward: "multi_head_attention_forward",
}  # fmt: skip


def _has_products(module: nn.Module) -> bool:
    """Whether a module of torch has weights of products that are not looked at."""
    own = type(module).__module__.startswith("torch.nn.")
    return own and any(p.ndim > 1 for p in module.parameters(recurse=False))


class _Tally(TorchFunctionMode, list[Call]):
    """Adds up what is called while a network runs: modules by hooks, products as they are called.

    In the place of the list of calls of neurons, of which it keeps counts alone.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self._ports = {port.name: port for port in network.ports}
        self._variables: dict[str, int] = {}
        self._operations: dict[str, Operations] = {}
        self._neurons: dict[str, list[int]] = {}
        self._order: list[str] = []
        self.steps: dict[str, int] = {}
        self.uncounted: set[str] = set()
        self._within = 0

    def append(self, call: Call) -> None:
        """Count a call of neurons."""
        port, name = self._ports[call.name], call.name
        spikes, sites = self._neurons.setdefault(name, [0, 0])
        self._neurons[name] = [spikes + int(call.spikes.sum()), sites + call.currents.numel()]
        self.steps[name] = self.steps.get(name, 0) + call.steps
        # Spikes that are kept to be fed back are no state.
        self._variables[name] = len(set(port.variables) - {"spikes", "spk", "z"})
        self._see(name, Operations())
        if isinstance(port.module, Recurrent):
            self._see(f"{name} (feedback)", of_feedback(call.spikes))

    def _see(self, name: str, operations: Operations) -> None:
        self._operations[name] = self._operations.get(name, Operations()) + operations

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        """Within the block, count what goes into modules of weights."""
        with ExitStack() as stack:
            for name, module in network.named_modules():
                if isinstance(module, WEIGHTED):
                    before, after = self._hooks(name or "network")
                    stack.callback(module.register_forward_pre_hook(before).remove)
                    stack.callback(module.register_forward_hook(after, always_call=True).remove)
                elif _has_products(module):
                    tell = self._told(f"{name} ({type(module).__name__})")
                    stack.callback(module.register_forward_pre_hook(tell).remove)
            yield

    def _told(self, name: str) -> Callable[..., None]:
        def before(*_: Any) -> None:
            self.uncounted.add(name)

        return before

    def _hooks(self, name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(module: nn.Module, args: tuple[Any, ...]) -> None:
            if not args:
                raise SaltationError(f"'{name}' must be called with a tensor by its position")
            if not self._within:  # else it calls itself
                self._see(name, of_module(module, args[0]))
            self._within += 1

        def after(*_: Any) -> None:
            self._within -= 1

        return before, after

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        outer = not self._within
        if outer and function in _PRODUCTS and len(args) == 2:
            a, b = args[::-1] if function is Tensor.__rmatmul__ else args
            self._see("products", of_product(a, b))
        elif outer and function is functional.linear:
            self._see("products", of_product(args[0], args[1].T))
        elif outer and function in _UNCOUNTED:
            self.uncounted.add(_UNCOUNTED[function])
        self._within += 1  # what it calls itself is part of it
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self._within -= 1

    def layers(self) -> dict[str, LayerCost]:
        """The costs of all modules in the order of their first calls."""
        costs = {}
        for name, operations in self._operations.items():
            spikes, sites = self._neurons.get(name, [0, 0])
            updates = sites * self._variables.get(name, 0)
            costs[name] = LayerCost(operations, updates, spikes, sites)
        return costs
