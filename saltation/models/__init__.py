"""Networks, each from one constructor."""

from saltation.models.architectures import ARCHITECTURES, Architecture
from saltation.models.mlp import spiking_mlp
from saltation.models.vgg import spiking_vgg

__all__ = ["ARCHITECTURES", "Architecture", "spiking_mlp", "spiking_vgg"]
