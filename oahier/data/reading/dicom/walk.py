"""Finding DICOM files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from oahier.data.reading.errors import UnreadableImage, reason


def files_in(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Regular files in a folder, by name, folders one after the other.

    Links to folders are not followed; a link to a file counts if that file is in the tree, once.

    Raises:
        UnreadableImage: no folder, or one that cannot be listed.
    """
    if not folder.is_dir():
        raise UnreadableImage(f"{folder}: expected a folder of DICOM files, got no folder")
    root = folder.resolve()
    waiting, linked = [folder], []
    seen: set[Path] = set()
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise UnreadableImage(f"{here} cannot be listed: {reason(error)}") from error
        inner = []
        for entry in entries:
            if entry.is_symlink():
                linked.append(Path(entry.path))
            elif entry.is_dir():
                inner.append(Path(entry.path))
            elif entry.is_file() and not _ignored(entry.name):
                seen.add(Path(entry.path).resolve())
                yield Path(entry.path)
        if recursive:
            waiting.extend(reversed(inner))
    for link in linked:
        target = _target(link, root)
        if target is not None and target not in seen:
            seen.add(target)
            yield link


def _target(link: Path, root: Path) -> Path | None:
    """The file that a link leads to, if it is in the tree."""
    try:
        target = link.resolve(strict=True)
        return target if target.is_file() and target.is_relative_to(root) else None
    except (OSError, RuntimeError):  # broken, or a circle
        return None


def _ignored(name: str) -> bool:
    return name.upper() == "DICOMDIR" or name.startswith(("._", ".DS_Store"))
