"""N4 bias field correction."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from oahier.images import Image
from oahier.images.resampling import forwards, memory_order

_WORKING_SPACING = 4.0
"""Millimetres per voxel at which the field is estimated; it varies over centimetres."""
_FEWEST = 8
"""Voxels per axis that remain where the field is estimated, if the scan has as many."""


def remove_bias(image: Image) -> Float32[np.ndarray, "i j k"]:
    """Divide a volume by its bias field, as N4 estimates it.

    Tustison et al. 2010, doi:10.1109/TMI.2010.2046908.

    The field is estimated on means over about 4 mm within the voxels above Otsu's threshold, and evaluated
    at full resolution. One thread and no random numbers: the result is the same every time.

    Raises:
        ValueError: there is no foreground to estimate a field in, or the scan is too thin.
    """
    order = memory_order(image.data)
    lengths = [image.grid.spacing[axis] for axis in order]
    stored = image.data.transpose(order)
    values = forwards(stored).astype(np.float32) - np.float32(stored.min())
    np.divide(values, _field(values, lengths), out=values)
    if not np.isfinite(values).all():
        raise ValueError("bias correction: the estimated field is not finite; turn bias_correction off")
    turned = values[tuple(slice(None, None, -1 if step < 0 else 1) for step in stored.strides)]
    return turned.transpose(np.argsort(order))


def _field(values: Float32[np.ndarray, "a b c"], lengths: list[float]) -> Float32[np.ndarray, "a b c"]:
    """The factor by which every voxel is too bright; axes from slow to fast in memory."""
    import SimpleITK as sitk

    volume = sitk.GetImageFromArray(values)
    volume.SetSpacing([float(length) for length in reversed(lengths)])
    factors = [
        max(1, min(round(_WORKING_SPACING / length), size // _FEWEST))
        for length, size in zip(volume.GetSpacing(), volume.GetSize(), strict=True)
    ]
    small = sitk.BinShrink(volume, factors)
    mask = sitk.OtsuThreshold(small, 0, 1, 128)
    if not np.any(sitk.GetArrayViewFromImage(mask)):
        raise ValueError("bias correction: expected voxels above the background, found none")
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([30, 30, 20])
    corrector.SetConvergenceThreshold(0.001)
    corrector.SetNumberOfThreads(1)
    try:
        corrector.Execute(small, mask)
        field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(volume))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"bias correction of {values.shape} voxels failed: {reason}") from error
    return np.asarray(np.exp(field, out=field), dtype=np.float32)
