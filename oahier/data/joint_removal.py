"""Volumes without the joint, as a control: what is predicted from them is no finding of the joint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torchio as tio

from oahier.types import CARTILAGE_LABELS


class WithoutJoint(tio.Transform):
    """Blank a slab around the joint line in every volume, and z-score by what is left.

    The slab is the middle of the superior-inferior axis, of the same height in all knees, so that its shape
    tells nothing. A knee whose label map shows cartilage outside is refused.

    Args:
        share: of the height that is blanked, above 0 and below 1.

    Raises:
        ValueError: another share; cartilage outside the slab.
    """

    def __init__(self, share: float = 0.8, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < share < 1:
            raise ValueError(f"WithoutJoint: expected a share above 0 and below 1, got {share}")
        self.share = share
        self.args_names = ["share"]

    def apply_transform(self, subject: Any) -> Any:
        """The subject with its ``mri`` blanked."""
        volume = subject["mri"].data.float()
        height = volume.shape[3]
        rest = max(1, round(height * (1 - self.share) / 2))
        kept = np.ones(height, dtype=bool)
        kept[rest : height - rest] = False
        if "cartilage" in subject:
            cartilage = np.isin(subject["cartilage"].data.numpy(), CARTILAGE_LABELS)
            outside = int(cartilage[..., kept].sum())
            if outside:
                share = f"{outside / cartilage.sum():.1%}"
                raise ValueError(
                    f"{share} of the cartilage lies outside the blanked {self.share:g} of the height; give "
                    "WithoutJoint a larger share"
                )
        left = volume[..., torch.from_numpy(kept)]
        volume = (volume - left.mean()) / left.std().clamp_min(1e-6)
        volume[..., torch.from_numpy(~kept)] = 0
        subject["mri"].set_data(volume)
        return subject
