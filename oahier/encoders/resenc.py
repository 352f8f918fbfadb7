"""The residual encoder of nnU-Net, of which the OpenMind weights are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from oahier.encoders.base import StagedEncoder


class ResEnc(StagedEncoder):
    """Encoder of nnU-Net's ResEnc (extra ``oahier[openmind]``), every stage open; output stride 32.

    The defaults are ResEnc-L (Isensee et al. 2024, arXiv:2404.09556), for which self-supervised weights of
    the OpenMind benchmark exist (Wald et al. 2025, arXiv:2412.17041): :func:`load_pretrained` reads them.

    Args:
        features: channels of each stage; the first keeps the grid, each further one halves it.
        blocks: residual blocks of each stage.

    Raises:
        ValueError: not one number of blocks a stage.
        ImportError: dynamic-network-architectures is not installed.
    """

    def __init__(
        self,
        features: Sequence[int] = (32, 64, 128, 256, 320, 320),
        blocks: Sequence[int] = (1, 3, 4, 6, 6, 6),
    ) -> None:
        super().__init__()
        if len(features) != len(blocks) or not features:
            raise ValueError(
                f"ResEnc: expected one number of blocks a stage, got {len(features)} features and "
                f"{len(blocks)} blocks"
            )
        try:
            from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
        except ImportError as error:
            raise ImportError(
                "encoder ResEnc needs dynamic-network-architectures: pip install 'oahier[openmind]'"
            ) from error
        self.network = ResidualEncoder(
            input_channels=1,
            n_stages=len(features),
            features_per_stage=list(features),
            conv_op=nn.Conv3d,
            kernel_sizes=3,
            strides=[1] + [2] * (len(features) - 1),
            n_blocks_per_stage=list(blocks),
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        self.num_features = int(features[-1])

    def stages(self) -> Sequence[nn.Module]:
        first, *further = self.network.stages
        return [nn.Sequential(self.network.stem, first), *further]
