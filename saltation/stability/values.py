"""What can be said of a network's numbers before it runs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from saltation.errors import SaltationError
from saltation.stability.layer import Finding


def broken_values(network: nn.Module) -> list[Finding]:
    """A finding for every parameter and saved buffer with values that are not finite.

    Infinities in a buffer are left out: masks of attention have them.

    Raises
    ------
    SaltationError
        If a parameter has no values yet.
    """
    found = []
    for what, name, tensor in _saved(network):
        if is_lazy(tensor):
            raise SaltationError(
                f"'{name}' has no values yet: call the network once before it is diagnosed"
            )
        if not tensor.is_floating_point() and not tensor.is_complex():
            continue
        count = int((~torch.isfinite(tensor) if what == "weight" else tensor.isnan()).sum())
        if count:
            many = f"{count} of {tensor.numel()} values" if tensor.numel() > 1 else "its value"
            text = f"the {what} '{name}' is not finite: {many}"
            advice = "begin from new weights or an earlier checkpoint; clip gradients or lower the "
            advice += "learning rate where it broke"
            found.append(Finding("not finite", name, text, advice, (name,)))
    return found


def _saved(network: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    saved = network.state_dict(keep_vars=True)
    for name, parameter in network.named_parameters():
        yield "weight", name, parameter
    for name, buffer in network.named_buffers():
        if name in saved:
            yield "buffer", name, buffer
