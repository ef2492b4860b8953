"""Networks, each from one constructor."""

from saltation.models.architectures import ARCHITECTURES, Architecture
from saltation.models.mlp import spiking_mlp
from saltation.models.ms_resnet import (
    ms_resnet,
    ms_resnet18,
    ms_resnet34,
    ms_resnet104,
    ms_resnet_cifar,
)
from saltation.models.sew_resnet import (
    sew_resnet,
    sew_resnet18,
    sew_resnet34,
    sew_resnet50,
    sew_resnet101,
    sew_resnet152,
)
from saltation.models.spikformer import spikformer
from saltation.models.vgg import spiking_vgg

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "ms_resnet",
    "ms_resnet18",
    "ms_resnet34",
    "ms_resnet104",
    "ms_resnet_cifar",
    "sew_resnet",
    "sew_resnet18",
    "sew_resnet34",
    "sew_resnet50",
    "sew_resnet101",
    "sew_resnet152",
    "spikformer",
    "spiking_mlp",
    "spiking_vgg",
]
