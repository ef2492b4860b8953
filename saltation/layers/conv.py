"""A convolution for spikes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from saltation.kernels import dispatch


class SpikeConv2d(nn.Conv2d):
    """`torch.nn.Conv2d` whose cost on a CPU follows the spikes of its input.

    Parameters, initial values and results are those of ``nn.Conv2d``, up to the rounding of
    float32. Where the input holds only zeros and ones, few of them ones, forward adds up the
    weights of the ones, and backward the gradients around them; the gradient of the input is a
    dense product. That holds for windows of 3x3 with stride 1, padding 1 and one group, and for a
    multiple of 16 output channels; anything else, other inputs included, is `nn.Conv2d`.

    With channels last in memory, and 32 of them or more on both sides, dense gradients are computed
    by tiles of 4x4 with a quarter of the multiplications, and are rounded to some 3e-6 of the
    largest number (Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in nn.Conv2d
        """``[N, C, H, W]`` to ``[N, O, H', W']``; sequences ``[T, B, C, H, W]`` step by step."""
        if input.ndim == 5:
            return self(input.flatten(0, 1)).unflatten(0, input.shape[:2])  # type: ignore[no-any-return]
        if self.padding_mode != "zeros":
            return super().forward(input)
        form: Any = (self.stride, self.padding, self.dilation, self.groups)
        return dispatch.conv2d(input, self.weight, self.bias, *form)
