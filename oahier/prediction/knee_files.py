"""The files of a predicted knee: overlay, picture and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from oahier.callbacks.files import knee_file
from oahier.pages.niivue import Library
from oahier.prediction.loading import LoadedScan
from oahier.prediction.one_knee import KneePrediction
from oahier.prediction.planes import (
    picture_sources,
    planes_through_middle,
    planes_through_peak,
    write_picture,
)
from oahier.prediction.trained import TrainedModel


def write_knee_files(
    folder: Path, trained: TrainedModel, loaded: LoadedScan, prediction: KneePrediction, *, overlays: bool,
    pages: bool, niivue: Library | None, told: Mapping[str, object],
) -> tuple[str, ...]:  # fmt: skip
    """Write what was asked for; returns the names of the files relative to the folder.

    Args:
        folder: of the predictions.
        trained: the model.
        loaded: the scan.
        prediction: of the scan.
        overlays: write the saliency on the grid of the scan.
        pages: write the picture and the page.
        niivue: draws the viewer of the page; without it the page has none.
        told: options that the page tells its reader.
    """
    name = knee_file(loaded.scan.knee)
    files = []
    if overlays and prediction.saliency is not None:
        from oahier.images import write_image

        files.append(f"overlays/{name}.nii.gz")
        rounded = np.round(prediction.saliency.values * 4096) / np.float32(4096)  # packs ten times as small
        values = loaded.image.in_source_axes(rounded.astype(np.float32))
        write_image(folder / files[-1], values, loaded.image.source.affine)
    if pages:
        from oahier.prediction.knee_pages import knee_page
        from oahier.prediction.knee_viewer import knee_viewer

        planes = planes_through_peak(loaded, prediction.saliency)
        files += [f"pictures/{name}.png", f"pages/{name}.html"]
        write_picture(folder / files[-2], loaded, prediction, planes)
        middle = planes_through_middle(loaded, prediction.saliency)
        pictures = [picture_sources(cut, loaded) for cut in (planes, middle)]
        viewer = None if niivue is None else knee_viewer(niivue, loaded, prediction)
        knee_page(folder / files[-1], trained, loaded, prediction, pictures, told, viewer)
    return tuple(files)
