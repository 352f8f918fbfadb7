"""Encoders: feature maps of a volume, then one embedding."""

from oahier.encoders.base import Encoder, StagedEncoder
from oahier.encoders.factory import as_encoder, create_encoder
from oahier.encoders.m3t import M3T
from oahier.encoders.monai import MonaiEncoder
from oahier.encoders.nnmamba import NnMamba
from oahier.encoders.plain import PlainEncoder, as_feature_maps
from oahier.encoders.pretrained import Pretrained, load_pretrained
from oahier.encoders.resenc import ResEnc
from oahier.encoders.resnet3d import ResNet3D
from oahier.encoders.selective_scan import selective_scan
from oahier.encoders.timm3d import Timm3dEncoder
from oahier.encoders.weight_files import PretrainedError, read_weights

__all__ = [
    "M3T",
    "Encoder",
    "MonaiEncoder",
    "NnMamba",
    "PlainEncoder",
    "Pretrained",
    "PretrainedError",
    "ResEnc",
    "ResNet3D",
    "StagedEncoder",
    "Timm3dEncoder",
    "as_encoder",
    "as_feature_maps",
    "create_encoder",
    "load_pretrained",
    "read_weights",
    "selective_scan",
]
