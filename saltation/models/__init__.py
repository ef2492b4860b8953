"""Networks, each from one constructor."""

from saltation.models.mlp import spiking_mlp

__all__ = ["spiking_mlp"]
