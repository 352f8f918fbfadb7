"""DICOM series as a scanner writes them: one small explicit-VR file for each slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

Tag = Any
"""A value for every slice, a function of the slice number (from 0), or ``None``: no such element."""


def write_dicom_series(
    folder: Path,
    volume: np.ndarray,
    affine: np.ndarray | None = None,
    *,
    start: int = 1,
    names: str = "{:03d}",
    **tags: Tag,
) -> list[Path]:
    """Write one MR slice file for each index of the last axis.

    Args:
        folder: made if missing; files that are there already stay.
        volume: ``(i, j, k)`` whole numbers that int16 (or uint16, if that is the type) can hold.
        affine: voxel ``(i, j, k)`` to millimetres RAS+, the identity when not given; it may be oblique and
            of either handedness, its axes must be at right angles.
        start: ``InstanceNumber`` of the first slice.
        names: format of the file names, given the instance number.
        **tags: DICOM keywords, which replace the defaults: ``SeriesDescription="SAG_3D_DESS_RIGHT"``. The
            identifiers of series, study and patient follow from the folder and the description, so that
            writing twice gives the same bytes.

    Returns:
        the files, in the order of the slices.
    """
    affine = np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    folder.mkdir(parents=True, exist_ok=True)
    kind = np.uint16 if volume.dtype == np.uint16 else np.int16
    if not np.array_equal(volume.astype(kind), volume):
        raise ValueError(f"expected voxels that {kind.__name__} holds, got {volume.min()} to {volume.max()}")
    shared = _geometry(volume, affine) | _identity(folder, tags)
    count = volume.shape[2]
    return [
        _write_slice(
            folder / names.format(start + number),
            np.ascontiguousarray(volume[:, :, number].T.astype(kind)),
            shared
            | {"InstanceNumber": start + number, "ImagesInAcquisition": count}
            | {"ImagePositionPatient": _lps(affine @ [0, 0, number, 1])}
            | {name: value(number) if callable(value) else value for name, value in tags.items()},
        )
        for number in range(count)
    ]


def _geometry(volume: np.ndarray, affine: np.ndarray) -> dict[str, Tag]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / lengths
    return {
        "ImageOrientationPatient": [*_lps(axes[:, 0]), *_lps(axes[:, 1])],
        "PixelSpacing": [_decimal(lengths[1]), _decimal(lengths[0])],
        "SliceThickness": _decimal(lengths[2]),
        "SpacingBetweenSlices": _decimal(lengths[2]),
        "Rows": volume.shape[1],
        "Columns": volume.shape[0],
    }


def _identity(folder: Path, tags: dict[str, Tag]) -> dict[str, Tag]:
    patient = str(tags.get("PatientID", "9000001"))
    description = str(tags.get("SeriesDescription", "SAG_3D_DESS"))
    return {
        "PatientID": patient,
        "PatientName": "",
        "StudyDate": "20050302",
        "StudyInstanceUID": _uid("study", patient, tags.get("StudyDate", "")),
        "SeriesInstanceUID": _uid("series", patient, folder.parent.name, folder.name, description),
        "FrameOfReferenceUID": _uid("frame", patient, folder.name),
        "SeriesDescription": description,
        "SeriesNumber": 1,
        "AcquisitionNumber": 1,
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "BodyPartExamined": "KNEE",
        "EchoTime": "4.7",
        "ImageType": ["ORIGINAL", "PRIMARY"],
    }


def _write_slice(path: Path, pixels: np.ndarray, tags: dict[str, Tag]) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = _uid("slice", tags["SeriesInstanceUID"], path.name)
    data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for name, value in tags.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)
    data.save_as(path, enforce_file_format=True)
    return path


def _lps(ras: np.ndarray) -> list[str]:
    return [_decimal(value) for value in np.array([-1.0, -1.0, 1.0]) * ras[:3]]


def _decimal(value: float) -> str:
    """At most 16 characters, as DICOM's decimal strings allow."""
    text = f"{value + 0.0:.10g}"
    return text if len(text) <= 16 else f"{value:.8g}"


def _uid(*parts: object) -> UID:
    return generate_uid(entropy_srcs=[str(part) for part in parts])
