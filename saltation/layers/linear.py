"""A linear layer for spikes."""

from __future__ import annotations

from torch import Tensor, nn

from saltation.kernels import deferred


class SpikeLinear(nn.Linear):
    """`torch.nn.Linear` whose cost on a CPU follows the spikes of its input.

    Parameters, initial values and results are those of ``nn.Linear``, up to the rounding of
    float32. Where the input holds only zeros and ones, few of them ones, the forward adds up the
    weights of the ones, in the order of the inputs, and the backward adds gradients to these
    weights only; any other input takes the dense product, and so does a weight that is not finite.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in nn.Linear
        """``[..., in_features]`` to ``[..., out_features]``."""
        return deferred.linear(input, self.weight, self.bias)
