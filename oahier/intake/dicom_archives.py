"""Extraction of zip archives in a tree of DICOM files."""

from __future__ import annotations

from pathlib import Path

from oahier.images.dicom.walk import folders_in
from oahier.intake.archives import Archive, remove_others, size_words
from oahier.intake.candidate import LeftOut
from oahier.progress import announce
from oahier.zips import is_hidden

EXTRACTED = "dicom"
"""Folder of the destination that archives are extracted to, ``dicom/<path of the archive>/<member>``."""


def unzip_all(source: Path, destination: Path, progress: bool) -> tuple[Path, list[LeftOut]]:
    """Extract all archives of a tree, or the one that the source is; what was extracted once stays.

    Returns:
        the folder that they were extracted to, and archives and members that are damaged or unsafe.

    Raises:
        ValueError: the source is an archive that is damaged or unsafe.
        OSError: the destination cannot be written, or is too small.
    """
    target = destination / EXTRACTED
    found: dict[str, Path] = {source.name: source}
    if source.is_dir():
        files = (file for one in folders_in(source, apart=destination) for file in one.files)
        found = {file.relative_to(source).as_posix(): file for file in files if file.suffix.lower() == ".zip"}
    kept: set[Path] = set()
    left_out: list[LeftOut] = []
    for name, path in found.items():
        try:
            archive = Archive(path)
        except ValueError as error:
            if path == source:
                raise
            left_out.append(LeftOut(name, "", "", str(error).replace(str(path), name)))
            continue
        members = {member: target / name / member for member in archive.names if not is_hidden(member)}
        if waiting := archive.waiting(members, destination):
            announce(f"extracting {size_words(waiting)} from {name} to {target}", show=progress)
        lost = archive.extract(members, destination)
        left_out += [LeftOut(f"{name}/{member}", "", "", why) for member, why in lost.items()]
        kept |= {file for member, file in members.items() if member not in lost}
    remove_others(destination, target, kept)
    return target, left_out


def is_extracted(place: str) -> bool:
    """True for a folder, as people know it, that lies in an archive."""
    return any(part.lower().endswith(".zip") for part in place.split("/"))
