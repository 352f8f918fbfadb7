"""Checks of the files of one knee, and the images that an import writes for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from oahier.files import feed_file
from oahier.images import Image, UnreadableImage, read_image, write_image
from oahier.images.errors import FORCED
from oahier.images.knee import label_findings, other_grid, volume_faults
from oahier.intake.candidate import Candidate
from oahier.intake.journal import Record

_FEW, _SHAPE = 12, 2
"""Different values up to which a volume is no image; two are a shape, which is allowed."""


def examine(candidate: Candidate, destination: Path, convert: bool) -> Record:
    """Open a knee, and write what has to be written.

    Raises:
        OSError: the destination cannot be written.
    """
    try:
        return _examined(candidate, destination, convert)
    except UnreadableImage as error:
        return Record(reason=str(error))


def _examined(candidate: Candidate, destination: Path, convert: bool) -> Record:
    image, side = _open(candidate)
    faults = volume_faults(image.data)
    few = _few_values(image.data)
    if few > _SHAPE:
        faults.append(f"expected an image, got only {few} different values: is it a label map?")
    if faults:
        raise UnreadableImage(f"{candidate.mri}: {faults[0]}")
    labels, notes = _labels(candidate, image)
    notes = [*(f"{candidate.mri.name}: {note}" for note in image.notes), *notes]
    if few == _SHAPE:
        notes = [f"{candidate.mri.name}: only two different values: a shape, or a mask?", *notes]
    written = {}
    if convert or _forced(image) or candidate.series is not None:
        written["mri"] = (f"images/{candidate.knee}.nii.gz", image.data)
    if labels is not None:
        written["cartilage"] = (f"cartilage/{candidate.knee}.nii.gz", labels)
    sizes = {}
    for name, voxels in written.values():
        path = write_image(destination / name, image.in_source_axes(voxels), image.source.affine)
        sizes[name] = path.stat().st_size
    return Record("", "", side, _hash(candidate), sizes, notes)


def _open(candidate: Candidate) -> tuple[Image, str]:
    """The image, and the side that its header says, if it is a DICOM series."""
    if candidate.series is None and not candidate.mri.is_dir():
        return read_image(candidate.mri, candidate.insist), ""
    from oahier.images.dicom import header_side, read_series, single_series

    series = candidate.series or single_series(candidate.mri, candidate.insist)
    return read_series(series), header_side(series)


def _labels(candidate: Candidate, image: Image) -> tuple[np.ndarray | None, list[str]]:
    """The label map to write, ``None`` if the one that exists can be used as it is."""
    path = candidate.cartilage
    if path is None:
        return None, []
    found = read_image(path, candidate.insist)
    notes = [f"{path.name}: {note}" for note in found.notes]
    if candidate.mask is not None:
        labels, done = candidate.mask(path, found, image)
        return labels, [*notes, *done, *_check_ids(path, labels)]
    notes += _check_ids(path, found.data)
    if not found.grid.same_as(image.grid):
        raise UnreadableImage(other_grid(candidate.mri, image, path, found))
    return found.data.astype(np.uint8) if _forced(found) else None, notes


def _forced(image: Image) -> bool:
    """Whether it was read in spite of an error, as nothing after the import would."""
    return any(note.startswith(FORCED) for note in image.notes)


def _check_ids(path: Path, labels: np.ndarray) -> list[str]:
    """Refuse ids that this library does not have; other findings are notes."""
    notes = []
    for finding in label_findings(path, labels):
        message = finding.message.replace(str(path), path.name)
        if finding.severity == "error":
            raise UnreadableImage(message)
        notes.append(message)
    return notes


def _few_values(data: np.ndarray) -> int:
    """Number of different values in a volume, 0 if there are many."""
    if len(np.unique(data[::3, ::3, ::3])) > _FEW or len(found := np.unique(data)) > _FEW:
        return 0
    return len(found)


def _hash(candidate: Candidate) -> str:
    """SHA-256 of the image's file; of several files, of their hashes in order."""
    hashes = [_file_hash(file) for file in candidate.image_files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        feed_file(digest, path)
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
