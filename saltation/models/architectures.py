"""The networks that can be made to any depth, by name: what studies of depth train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from saltation.errors import SaltationError
from saltation.models.mlp import fits_mlp, image_mlp
from saltation.models.ms_mlp import fits_ms_mlp, ms_mlp
from saltation.models.ms_resnet import ms_of_depth
from saltation.models.sew_resnet import fits_sew, sew_of_depth
from saltation.models.spikformer import fits_spikformer, spikformer_of_depth
from saltation.models.vgg import fits_vgg, vgg_of_depth

REACH = 64  # layers beyond a depth in which one that fits is looked for


@dataclass(frozen=True)
class Architecture:
    """Networks of one kind.

    Attributes
    ----------
    build
        ``(shape, classes, depth, *, base_channels, steps, init, ...) -> Module`` from sequences
        ``[T, B, C, H, W]`` or images ``[B, C, H, W]`` to logits ``[B, classes]``; ``shape`` is
        ``(C, H, W)``, ``depth`` the number of neuron layers from image to readout (those beside a
        residual branch or each other are not counted), ``init`` a name in `INITS`. The last weight
        matrix is the readout's.
    fits
        ``(depth, side) -> whether`` there is a network of this depth for images of this side.
    takes
        What ``build`` takes beside these: ``surrogate``, ``batch_norm``, and ``per_step``, which
        gives the output of every step.
    """

    build: Callable[..., nn.Module]
    fits: Callable[[int, int], bool]
    takes: frozenset[str]

    def check(self, depth: int, side: int) -> int:
        """Return ``depth`` if there is a network that deep for images of that side in pixels.

        Raises
        ------
        SaltationError
            Otherwise; the message names the nearest depths that there are.
        """
        if depth >= 1 and self.fits(depth, side):
            return depth
        lower = (d for d in range(depth - 1, 0, -1) if self.fits(d, side))
        upper = (d for d in range(max(1, depth + 1), max(1, depth) + REACH) if self.fits(d, side))
        found = [next(lower, None), next(upper, None)]
        near = " and ".join(str(d) for d in found if d is not None) or "none"
        raise SaltationError(
            f"depth {depth} does not fit images of {side} x {side} pixels (nearest that fit: "
            f"{near})"
        )


_ALL = frozenset({"surrogate", "batch_norm", "per_step"})
_ROWS = _ALL - {"per_step"}
_NORMED = _ALL - {"batch_norm"}  # the normalisation is what the network has

ARCHITECTURES: dict[str, Architecture] = {
    "vgg": Architecture(vgg_of_depth, fits_vgg, _ALL),
    "bare_vgg": Architecture(partial(vgg_of_depth, batch_norm="none"), fits_vgg, _NORMED),
    "sew_resnet": Architecture(sew_of_depth, fits_sew, _ALL),
    "ms_resnet": Architecture(ms_of_depth, fits_sew, _ALL),
    "spikformer": Architecture(spikformer_of_depth, fits_spikformer, _NORMED),
    "mlp": Architecture(image_mlp, fits_mlp, _ROWS),
    "ms_mlp": Architecture(ms_mlp, fits_ms_mlp, _ROWS),
}
