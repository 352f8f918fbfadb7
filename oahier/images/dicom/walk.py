"""Finding DICOM files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oahier.images.errors import UnreadableImage, reason


@dataclass(frozen=True)
class FolderListing:
    """What lies in a folder, each kind by name.

    Args:
        folder: the folder.
        files: regular files, but those that are no image in any archive's export.
        inner: folders.
        links: symbolic links.
        state: names, sizes and times of the last change in nanoseconds of the files.
    """

    folder: Path
    files: tuple[Path, ...]
    inner: tuple[Path, ...]
    links: tuple[Path, ...]
    state: tuple[tuple[str, int, int], ...]


def list_folder(folder: Path) -> FolderListing:
    """List one folder.

    Raises:
        UnreadableImage: it cannot be listed.
    """
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        links = [entry for entry in entries if entry.is_symlink()]
        others = [entry for entry in entries if not entry.is_symlink()]
        files = [entry for entry in others if entry.is_file() and not _ignored(entry.name)]
        states = [(entry.name, entry.stat()) for entry in files]
    except OSError as error:
        raise UnreadableImage(f"{folder} cannot be listed: {reason(error)}") from error
    return FolderListing(
        folder,
        tuple(Path(entry.path) for entry in files),
        tuple(Path(entry.path) for entry in others if entry.is_dir()),
        tuple(Path(entry.path) for entry in links),
        tuple((name, state.st_size, state.st_mtime_ns) for name, state in states),
    )


def folders_in(top: Path, *, recursive: bool = True, apart: Path | None = None) -> Iterator[FolderListing]:
    """A folder and all folders in it, by name, each before those in it; links are not followed.

    Args:
        top: the folder.
        recursive: also look into the folders in it.
        apart: a folder that is passed over, with everything in it.

    Raises:
        UnreadableImage: no folder, or one that cannot be listed.
    """
    if not top.is_dir():
        raise UnreadableImage(f"{top}: expected a folder of DICOM files, got no folder")
    skipped = None if apart is None else apart.resolve()
    waiting = [top]
    while waiting:
        here = waiting.pop()
        if skipped is not None and here.resolve().is_relative_to(skipped):
            continue
        listing = list_folder(here)
        yield listing
        if recursive:
            waiting.extend(reversed(listing.inner))


def files_in(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Regular files in a folder, by name, folders one after the other.

    Links to folders are not followed; a link to a file counts if that file is in the tree, once.

    Raises:
        UnreadableImage: no folder, or one that cannot be listed.
    """
    root, links = folder.resolve(), list[Path]()
    seen: set[Path] = set()
    for listing in folders_in(folder, recursive=recursive):
        links += listing.links
        yield from listing.files
    for link in links:
        target = _target(link, root)
        if target is None or target in seen:
            continue
        seen.add(target)
        if not (recursive or target.parent == root) or _ignored(target.name):
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
