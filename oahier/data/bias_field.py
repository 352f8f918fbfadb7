"""N4 bias field correction."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from oahier.data.reading import Image

_WORKING_SPACING = 3.0
"""Millimetres per voxel at which the field is estimated; it varies over centimetres."""


def remove_bias(image: Image) -> Float32[np.ndarray, "i j k"]:
    """Divide a volume by its bias field, as N4 estimates it.

    Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.

    The field is estimated on a copy of about 3 mm within the voxels above Otsu's threshold, and evaluated
    at full resolution. One thread, so that the result is the same on every machine.

    Raises:
        ValueError: there is no foreground to estimate a field in.
    """
    import SimpleITK as sitk

    floor = float(image.data.min())
    values = image.data.astype(np.float32) - np.float32(floor)
    volume = sitk.GetImageFromArray(values.T)
    volume.SetSpacing([float(length) for length in image.grid.spacing])
    factors = [max(1, round(_WORKING_SPACING / length)) for length in image.grid.spacing]
    small = sitk.Shrink(volume, factors)
    mask = sitk.OtsuThreshold(small, 0, 1, 128)
    if not np.any(sitk.GetArrayViewFromImage(mask)):
        raise ValueError("bias correction: expected voxels above the background, found none")
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([30, 30, 20])
    corrector.SetConvergenceThreshold(0.001)
    corrector.SetNumberOfThreads(1)
    corrector.Execute(small, mask)
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(volume)).T
    return np.asarray(values / np.exp(field), dtype=np.float32)
