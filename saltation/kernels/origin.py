"""What a tensor that waits to be read is made of, and how it is made."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from saltation.kernels import dispatch, dispatch_chain
from saltation.kernels.events import Events, SpikeTensor
from saltation.kernels.reference import Stage

Check = Callable[[Tensor, Any], None]
Settle = Callable[[Any], Tensor]


class Origin:
    """Spikes, layers of neurons, and the weights behind them whose currents are wanted.

    Weights are copies from when the layer was called, so that neither their numbers nor what they
    are derivatives of depends on what happens to the layer until somebody reads the result.

    Parameters
    ----------
    parent, source
        The tensor that the layer was given and its origin; None at the chain's begin.
    events
        The spikes that the chain begins with.
    stages
        Layers of neurons and the weights that drive them. Without ``weight``, what is wanted are
        the spikes of the last.
    weight, bias
        The weights behind the stages.
    check
        Called with the currents and the last state of neurons that run by themselves.

    Attributes
    ----------
    wants
        Whether derivatives may be asked for: there was a graph, and a weight requires a gradient.
    settled
        Whether the tensor has numbers.
    fused
        Whether another tensor was computed from the same spikes past this one, so that no gradient
        of that passes through it.
    """

    def __init__(
        self,
        parent: Tensor | None,
        source: Origin | None,
        events: Events,
        stages: tuple[Stage, ...],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        check: Check | None = None,
    ) -> None:
        self.parent, self.source = parent, source
        self.events, self.stages, self.weight, self.bias = events, stages, weight, bias
        self.check = check
        self.inference = torch.is_inference_mode_enabled()
        self.wants = torch.is_grad_enabled() and any(p.requires_grad for p in self.parts())
        self.settled = self.fused = False
        self._early: Tensor | None = None
        self._children: list[weakref.ref[Origin]] = []
        if source is not None and source.wants and self.wants:
            source._children.append(weakref.ref(self))

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, B, F)``."""
        steps, batch, _ = self.events.shape
        return steps, batch, len(self.stages[-1].weight if self.weight is None else self.weight)

    def parts(self) -> list[Tensor]:
        """All weights and biases."""
        pairs = [*((s.weight, s.bias) for s in self.stages), (self.weight, self.bias)]
        return [part for pair in pairs for part in pair if part is not None]

    def given(self) -> tuple[Stage, ...]:
        """The stages for what is made of this: constants, if no graph was recorded."""
        if self.wants:
            return self.stages
        return tuple(
            s._replace(weight=s.weight.detach(), bias=None if s.bias is None else s.bias.detach())
            for s in self.stages
        )

    def made(self, settle: Settle) -> Tensor:
        """The tensor with its graph, which passes through every tensor before that has numbers."""
        if self._early is not None:
            made, self._early = self._early, None
        else:
            self.settled = True
            try:
                with self.as_it_was(grad=self.wants):
                    made = self._compute(settle if self.wants else None)
            except BaseException:
                self.settled = False
                raise
        self.settled, self.parent = True, None
        return made

    def make_children(self, settle: Settle) -> None:
        """Compute what was made of this and still waits."""
        for reference in self._children:
            child = reference()
            if child is not None and not child.settled and child._early is None:
                child._early = child.made(settle)
                child.settled = False
        self._children.clear()

    def afresh(self) -> Tensor:
        """The tensor once more, from the spikes on, with a graph if one is being recorded."""
        with self.as_it_was(grad=torch.is_grad_enabled()):
            return self._compute(None)

    def _compute(self, settle: Settle | None) -> Tensor:
        """From the parent, if ``settle`` is given that makes it ordinary, where it has numbers or
        has to have them; or from the spikes on."""
        line: list[Origin] = []
        source = self.source
        while source is not None:
            line.append(source)
            source = source.source
        graph = torch.is_grad_enabled() and self.wants
        apart = graph and self.weight is None  # whose gradient is wanted as a tensor
        through = settle is not None and any(one.wants and one.settled for one in line)
        if not (apart or through):
            out = dispatch_chain.in_one_piece(self.events, self.stages, self.weight, self.bias)
            if out is not None:
                for one in line if self.wants else ():
                    one.fused = True
                return out
        return self._behind(self._before(settle))

    def _before(self, settle: Settle | None) -> Tensor:
        if self.source is None:
            return SpikeTensor(self.events)
        return self.source._compute(None) if settle is None else settle(self.parent)

    def _behind(self, x: Tensor) -> Tensor:
        """The last layer by itself."""
        if self.weight is not None:
            return dispatch.linear(x, self.weight, self.bias)
        stage = self.stages[-1]
        trace = dispatch.run("auto", stage.neuron, stage.spike, x, stage.neuron.rest(x[0]))
        if self.check is not None:
            self.check(x, trace.state)
        return trace.spikes

    @contextmanager
    def as_it_was(self, grad: bool) -> Iterator[None]:
        """What decides about a graph as it was when the layer was called; ``grad`` or none."""
        with ExitStack() as stack:
            if torch._C._are_functorch_transforms_active():
                from torch._functorch import pyfunctorch

                stack.enter_context(pyfunctorch.temporarily_clear_interpreter_stack())
            if torch.is_autocast_enabled("cpu"):
                stack.enter_context(torch.autocast("cpu", enabled=False))
            if torch.is_inference_mode_enabled() != self.inference:
                stack.enter_context(torch.inference_mode(self.inference))
            stack.enter_context(torch.set_grad_enabled(grad))
            yield
