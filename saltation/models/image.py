"""What networks of images have in common: an image is shown at every step, a sequence as it is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from saltation.encoding import direct
from saltation.errors import SaltationError


class ImageNetwork(nn.Module, ABC):
    """Base of the networks that take images; a subclass says what it makes of a sequence.

    Attributes
    ----------
    steps : int
        Number of steps T for which an image is shown.
    shape : tuple
        ``(C, H, W)`` of an image; H and W are None where any will do.
    """

    def __init__(self, steps: int, shape: tuple[int, int | None, int | None]) -> None:
        super().__init__()
        self.steps = steps
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images or sequences.

        Parameters
        ----------
        x : Tensor, [B, C, H, W] or [T, B, C, H, W]
            An image, which is shown at every one of ``steps`` steps, or the input of each of any
            number of steps. What is the same at every step is computed once.

        Returns
        -------
        Tensor, [B, classes]

        Raises
        ------
        SaltationError
            If ``x`` has another shape or is not floating point.
        """
        return self.logits(self.as_sequence(x))

    def as_sequence(self, x: Tensor) -> Tensor:
        """An image as the sequence that the network is shown; a sequence as it is."""
        self._check(x)
        return direct(x, self.steps) if x.ndim == 4 else x

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to logits ``[B, classes]``."""

    def _check(self, x: Tensor) -> None:
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
            )
