"""Checks that a folder or an archive of the OAI holds one whole volume."""

from __future__ import annotations

import tempfile
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.images import UnreadableImage
from oahier.images.dicom import find_series
from oahier.intake.oai_packed import ARCHIVE, state_of, unpack


def series_faults(folder: Path) -> str:
    """Errors that keep a folder from being one whole volume, empty if there are none."""
    try:
        found = find_series(folder, recursive=False)
    except UnreadableImage as error:
        return str(error)
    if len(found) != 1:
        return f"{len(found)} series in one folder"
    return "; ".join(found[0].problems)


def packed_faults(archive: Path, known: FileFacts) -> str:
    """Errors that keep an archive from being one whole volume, empty if there are none.

    Args:
        archive: a packed series.
        known: faults that were found before.

    Raises:
        OSError: the archive cannot be read, or the store not written.
    """
    key, state = str(archive.absolute()), state_of(archive)
    record = known.get(key)
    if record is None or record["archive"] != state:
        record = {"archive": state, "faults": _faults_within(archive)}
        known.add(key, record)
    return str(record["faults"])


def _faults_within(archive: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / archive.name[: -len(ARCHIVE)]
        try:
            unpack(archive, target)
        except ValueError as error:
            return str(error)
        return series_faults(target).replace(str(target), archive.name)
