"""Functions whose last digit torch leaves to the machine, rounded correctly.

torch's exponential and root of float32 differ in the last digit between processors, and a
neuron near its threshold turns that into another spike. So in every time loop such functions of
float32 are computed in double precision and rounded once: the same bits in each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saltation.kernels.program.program import program_of
from saltation.operands import NoRuleError

INEXACT = frozenset({"exp", "expm1", "log", "sqrt", "tanh", "sigmoid"})
_FUNCTIONS = {getattr(of, name) for name in INEXACT for of in (torch, Tensor)}


class _Rounded(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if function not in _FUNCTIONS or args[0].dtype != torch.float32:
            return function(*args, **options)
        if isinstance(args[0], Tensor):
            return function(args[0].double(), *args[1:], **options).float()
        with self:  # what stands in for a tensor computes with tensors
            return args[0].__torch_function__(function, types, args, options)


def rounded(neuron: Any, spike: Any, x: Tensor) -> AbstractContextManager[Any]:
    """What a loop in plain torch runs in: nothing, if the step has no such function."""
    if x.dtype != torch.float32 or torch.compiler.is_compiling():
        return nullcontext()
    try:
        nodes = program_of(neuron, spike).forward.nodes
    except NoRuleError:  # no other loop can run it
        return nullcontext()
    return _Rounded() if any(node.op in INEXACT for node in nodes) else nullcontext()
