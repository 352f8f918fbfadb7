"""OAI-ZIB in miniature: label maps without geometry on phantoms written as OAI's DICOM series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from miniature.dicom import write_dicom_series
from miniature.oai import sagittal, write_kxr
from oahier.phantom.knee import PhantomKnee, phantom_knee

AS_PUBLISHED = ((0, 1, 2), (False, True, False))
"""Axes of the published maps, out of RAS: slices, posterior, superior."""


def knee(
    severity: float = 0.3, side: str = "right", shape: tuple[int, int, int] = (24, 64, 64)
) -> PhantomKnee:
    """A phantom that is just large enough for the cartilage to have an inside."""
    return phantom_knee(severity, shape=shape, side=side)  # type: ignore[arg-type]


def write_image(folder: Path, phantom: PhantomKnee, **tags: object) -> Path:
    """The MRI as a DICOM series of whole numbers."""
    volume = np.round(1000 * phantom.mri / phantom.mri.max()).astype(np.int16)
    turned, affine = sagittal(volume, np.abs(np.diag(phantom.affine)[:3]))
    options = {
        "PatientID": folder.parent.parent.name,
        "StudyDate": folder.parent.name,
        "SeriesDescription": f"SAG_3D_DESS_{phantom.side.upper()}",
    }
    write_dicom_series(folder, turned, affine, **{**options, **tags})
    return folder


def write_mask(
    path: Path,
    labels: np.ndarray,
    turn: tuple[tuple[int, int, int], tuple[bool, bool, bool]] = AS_PUBLISHED,
    header: Mapping[str, str] | None = None,
) -> Path:
    """A map in RAS order as ``.mhd`` and ``.raw``: axes exchanged, then reversed; one id of tibial cartilage.

    Args:
        path: of the header.
        labels: our ids, in RAS order.
        turn: order of the axes, and which are reversed then.
        header: fields that replace those of an identity.
    """
    order, signs = turn
    stored = np.where(labels == 5, 4, labels).astype(np.uint8).transpose(order)
    stored = stored[tuple(slice(None, None, -1 if sign else 1) for sign in signs)]
    fields = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 1 1",
        "DimSize": " ".join(map(str, stored.shape)), "ElementType": "MET_UCHAR",
        "ElementDataFile": path.with_suffix(".raw").name,
    }  # fmt: skip
    fields = {**fields, **(header or {}), "ElementDataFile": fields["ElementDataFile"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".raw").write_bytes(stored.tobytes(order="F"))
    path.write_text("".join(f"{name} = {value}\n" for name, value in fields.items()))
    return path


def make_oai_zib(folder: Path) -> Path:
    """Write label maps with their lists, and the baseline tree of the OAI they are of.

    9001104 and 9001400 are as published; 9002316 is stored in another order of axes with another voxel size;
    9002430 is a left knee; 9003126 has the map of somebody else, whose knee lay elsewhere; 9003316 an image
    that is not in the tree; 9003406 a map with ids of another kind. 9001400 has both knees in the tree.
    """
    masks, base = folder / "segmentation/segmentation_masks", folder / "results/00m/0.C.2"
    paths: dict[str, str] = {}

    def add(subject: str, phantom: PhantomKnee, series: str = "10000001", **options: object) -> None:
        place = f"{subject}/20041111/{series}"
        write_image(base / place, phantom)
        paths[subject] = f"0.C.2/{place}"
        write_mask(masks / f"{subject}.segmentation_masks.mhd", phantom.label_map, **options)  # type: ignore[arg-type]

    add("9001104", knee(0.1))
    add("9001400", knee(0.5, "left"))
    write_image(base / "9001400/20041111/10000002", knee(0.5, "right"))
    add(
        "9002316",
        knee(0.7),
        turn=((2, 0, 1), (True, False, True)),
        header={"ElementSpacing": "0.36 0.36 0.7"},
    )
    add("9002430", knee(0.3, "left"), header={"TransformMatrix": "-1 0 0 0 -1 0 0 0 1"})
    add("9003126", knee(0.2))
    elsewhere = np.roll(knee(0.4).label_map, (2, 3, -4), axis=(0, 1, 2))
    write_mask(masks / "9003126.segmentation_masks.mhd", elsewhere)
    write_mask(masks / "9003316.segmentation_masks.mhd", knee(0.4).label_map)
    paths["9003316"] = "0.E.1/9003316/20050101/10000009"
    add("9003406", knee(0.6))
    write_mask(masks / "9003406.segmentation_masks.mhd", knee(0.6).label_map * 2)
    docs = folder / "segmentation/doc"
    docs.mkdir(parents=True)
    (docs / "oai_mri_paths.txt").write_text("".join(f"{who}: {path}\n" for who, path in paths.items()))
    (docs / "2foldCrossValidation-List1.txt").write_text("9001104\n9002430\n")
    (docs / "2foldCrossValidation-List2.txt").write_text("9001400, 9002316, 9003126, 9003316, 9003406\n")
    grades = {"9001104": "0", "9001400": "2", "9002316": "3: 3", "9002430": "1", "9003126": "1"}
    rows = [
        (who, "2: Left" if who in ("9001400", "9002430") else "1: Right", "15", kl)
        for who, kl in grades.items()
    ]
    write_kxr(folder / "results/kxr_sq_bu00.txt", rows)
    return folder
