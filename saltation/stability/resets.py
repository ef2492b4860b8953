"""Networks whose jumps are left out of the linearisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch.autograd import forward_ad

from saltation.errors import SaltationError
from saltation.layers.recurrent import Recurrent
from saltation.neurons import Neuron
from saltation.stability.duals import dual
from saltation.stepping import LayerPort, Stepped


@contextmanager
def without_reset(network: Stepped) -> Iterator[None]:
    """Within the block tangents pass jumps as if there were none; states jump as ever.

    Raises
    ------
    SaltationError
        If there are neurons other than saltation's.
    """
    with ExitStack() as stack:
        for port in network.ports:
            if not isinstance(port, LayerPort):
                raise SaltationError(
                    f"reset=False needs layers of saltation, '{port.name}' is a "
                    f"{type(port.module).__name__}"
                )
            layer = port.module.layer if isinstance(port.module, Recurrent) else port.module
            stack.callback(setattr, layer, "_replaced", layer._replaced)
            layer.neuron = _unmoved(layer.neuron)
        yield


def _unmoved(neuron: Neuron) -> Neuron:
    """``neuron`` with jumps that leave the tangent of the potential's state as it was."""
    made = copy.copy(neuron)

    def apply_jump(h: Any, s: Tensor) -> Any:
        after = neuron.apply_jump(h, s)
        return type(h)(*(_with_tangent(a, b) for a, b in zip(after, h, strict=True)))

    # Models are frozen. A jump that acts in the next step is part of the integration there, and
    # passes no tangent on if it is detached.
    object.__setattr__(made, "apply_jump", apply_jump)
    object.__setattr__(made, "detach_reset", True)
    return made


def _with_tangent(value: Tensor, of: Tensor) -> Tensor:
    """``value`` with the tangent of another tensor, if there is one."""
    tangent = forward_ad.unpack_dual(of)[1]  # type: ignore[no-untyped-call]
    if tangent is None:
        return value
    return dual(forward_ad.unpack_dual(value)[0], tangent)  # type: ignore[no-untyped-call]
