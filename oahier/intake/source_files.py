"""Files of a source by their relative names: of a folder, a zip archive, or a folder of archives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from oahier.intake.archives import Archive, size_words
from oahier.progress import announce, bar
from oahier.zips import is_hidden

_IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".hdr", ".dcm", ".zip")


class SourceFiles:
    """Files of a source; hidden ones, links to folders and the destination are passed over.

    Args:
        source: folder or ``.zip`` file. A folder's own files come before those of archives in it.
        destination: folder of the import, which may lie in the source and is never part of it.

    Raises:
        ValueError: neither a folder nor a zip archive, or an unsafe archive.
        OSError: no such file or folder, or no permission.
    """

    def __init__(self, source: Path, destination: Path) -> None:
        if not source.exists():
            raise OSError(2, f"cannot read {source}: no such file or folder")
        if not source.is_dir() and source.suffix.lower() != ".zip":
            raise ValueError(f"{source}: expected a folder or a .zip archive")
        self.source, self.destination = source, destination
        self._files: dict[str, Path] = {}
        self._members: dict[str, tuple[Archive, str]] = {}
        if source.is_dir():
            _check_destination(source, destination)
            self._files = _walked(source, destination)
            archives = [path for path in self._files.values() if path.suffix.lower() == ".zip"]
        else:
            archives = [source]
        root = source if source.is_dir() else source.parent
        for path in archives:
            archive = Archive(path)
            prefix = path.relative_to(root).as_posix()
            for name in archive.names:
                if not is_hidden(name):
                    self._members[f"{prefix}/{name}"] = archive, name

    @property
    def names(self) -> list[str]:
        """All names, of the folder first; a member of an archive is called ``<archive>/<member>``."""
        return [*self._files, *self._members]

    def archived(self, name: str) -> bool:
        """True if it is a member of an archive."""
        return name not in self._files

    def read(self, name: str) -> bytes | None:
        """The bytes of a member of an archive; ``None`` for a file, which can be opened itself."""
        if name in self._files:
            return None
        archive, member = self._members[name]
        return archive.read(member)

    def path(self, name: str) -> Path:
        """The file, for members of archives a name for messages."""
        root = self.source if self.source.is_dir() else self.source.parent
        return self._files.get(name, root / name)

    def take(self, targets: Mapping[str, str], progress: bool) -> tuple[dict[str, Path], dict[str, str]]:
        """Paths of files that can be opened; members of archives are extracted, which is announced.

        Args:
            targets: for each name the file to make of it in the destination, if it is in an archive.
            progress: show a bar.

        Returns:
            the path for each name, and for names that are damaged the reason.

        Raises:
            OSError: the destination cannot be written, or is too small.
        """
        paths = {name: self._files[name] for name in targets if name in self._files}
        members = [name for name in targets if name not in self._files]
        grouped: dict[Path, tuple[Archive, dict[str, Path]]] = {}
        for name in members:
            archive, member = self._members[name]
            _, inner = grouped.setdefault(archive.path, (archive, {}))
            inner[member] = paths[name] = self.destination / targets[name]
        waiting = sum(archive.waiting(inner, self.destination) for archive, inner in grouped.values())
        if waiting:
            announce(f"extracting {size_words(waiting)} to {self.destination}", show=progress)
        lost: dict[str, str] = {}
        total = sum(archive.size(member) for archive, inner in grouped.values() for member in inner)
        with bar("extracting, MB", round(total / 1e6), show=progress and bool(waiting)) as advance:
            for archive, inner in grouped.values():
                problems = archive.extract(inner, self.destination, lambda size: advance(size / 1e6))
                lost |= {
                    name: problems[m] for name in members if (m := self._member(name, archive)) in problems
                }
        return {name: path for name, path in paths.items() if name not in lost}, lost

    def _member(self, name: str, archive: Archive) -> str:
        """The member's name, empty if it is one of another archive."""
        owner, member = self._members[name]
        return member if owner is archive else ""


def _check_destination(source: Path, destination: Path) -> None:
    """Refuse to import into a folder of the source's own images, whose files would be passed over."""
    here, own = source.resolve(), destination.resolve()
    if own == here or not own.is_relative_to(here) or not own.is_dir():
        return
    foreign = next((path for path in sorted(own.iterdir()) if path.name.lower().endswith(_IMAGES)), None)
    if foreign is not None:
        raise ValueError(
            f"{destination} is a folder of the source, with {foreign.name} in it; import to a new folder"
        )


def _walked(source: Path, destination: Path) -> dict[str, Path]:
    own, files = destination.resolve(), {}
    for folder, folders, names in os.walk(source, onerror=_refuse):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders if not is_hidden(name) and not (here / name).is_symlink()
            and (here / name).resolve() != own
        )  # fmt: skip
        for name in sorted(names):
            if not is_hidden(name):
                files[(here / name).relative_to(source).as_posix()] = here / name
    return files


def _refuse(error: OSError) -> None:
    raise OSError(error.errno, f"cannot read {error.filename}: {error.strerror}") from error
