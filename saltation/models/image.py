"""What networks of images have in common: an image is shown at every step, a sequence as it is."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from saltation.encoding import direct
from saltation.errors import LayoutWarning, SaltationError, tensor
from saltation.layers import WithNumerics


class ImageNetwork(WithNumerics, ABC):
    """Base of the networks that take images; a subclass says what it makes of a sequence.

    Attributes
    ----------
    steps : int
        Number of steps T for which an image is shown.
    shape : tuple
        ``(C, H, W)`` of an image; H and W are None where any will do.
    per_step : bool
        Whether the network gives the output of every step; False unless it is set.
    over_time : str
        ``mean`` or ``sum`` over the steps, of the spikes that the readout is given.
    """

    over_time: ClassVar[str] = "mean"

    def __init__(self, steps: int, shape: tuple[int, int | None, int | None]) -> None:
        super().__init__()
        self.steps = steps
        self.shape = shape
        self.per_step = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images or sequences.

        Parameters
        ----------
        x : Tensor, [B, C, H, W] or [T, B, C, H, W]
            An image, which is shown at every one of ``steps`` steps, or the input of each of any
            number of steps. What is the same at every step is computed once.

        Returns
        -------
        Tensor, [B, classes], or [T, B, classes] if ``per_step``
            The mean of the outputs of all steps is the logits.

        Raises
        ------
        SaltationError
            If ``x`` has another shape or is not floating point.

        Warns
        -----
        LayoutWarning
            If a sequence has a batch as large as ``steps``, and another number of steps, and what
            would be steps are not more alike than what would be samples: time may have come second.
        """
        sequence = self.as_sequence(x)
        return self.outputs(sequence) if self.per_step else self.logits(sequence)

    def as_sequence(self, x: Tensor) -> Tensor:
        """An image as the sequence that the network is shown; a sequence as it is."""
        self._check(x)
        return direct(x, self.steps) if x.ndim == 4 else x

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""

    def numerics(self) -> dict[str, Any]:
        return {"steps": self.steps}

    @abstractmethod
    def outputs(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to the output of every step, ``[T, B, classes]``."""

    def _check(self, x: Tensor) -> None:
        tensor("images", x)
        known = x.ndim == 4 or (x.ndim == 5 and len(x) > 0)
        fits = known and all(
            side > 0 if wanted is None else side == wanted
            for side, wanted in zip(x.shape[-3:], self.shape, strict=True)
        )
        if not fits or not x.is_floating_point():
            form = ", ".join(
                name if side is None else str(side)
                for name, side in zip("CHW", self.shape, strict=True)
            )
            raise SaltationError(
                f"the network takes floating-point images [B, {form}] or sequences [T, B, {form}] "
                f"of at least one step, got {x.dtype} {list(x.shape)}"
                + ("; divide pixels of 0 to 255 by 255" if x.dtype == torch.uint8 else "")
            )
        batch_first = x.ndim == 5 and x.shape[1] == self.steps and len(x) not in (1, self.steps)
        if batch_first and not torch.compiler.is_compiling() and not _first_is_time(x):
            warnings.warn(
                f"a sequence {list(x.shape)} is read as {len(x)} steps of {self.steps} images, by "
                f"a network that shows an image for {self.steps} steps: if the batch comes first, "
                "give x.transpose(0, 1)",
                LayoutWarning,
                stacklevel=6,  # through torch to the call of the network
            )


def _first_is_time(x: Tensor) -> bool:
    """Whether neighbours along the first dimension are more alike than those along the second, as
    steps of one sample are beside different samples; by four standard errors."""
    with torch.no_grad():
        steps, samples = (x.detach().diff(dim=dim).abs().double() for dim in (0, 1))
        error = steps.var() / steps.numel() + samples.var() / samples.numel()
        return bool(samples.mean() - steps.mean() > 4 * error.sqrt())
